"""The same training in IdleTune and in torch + PEFT: same base, start, rows, schedule; where do the losses end?

Run: make bench-train, or python benchmarks/train_quality.py [--sets N] [--epochs N]
Both see the demo's exchanges, row by row in the same order; the last fifth is held out and measured by each
side's own forward pass. Compared is an adapter of rank 8 on all layers; IdleTune's own form (rank 16 on feed-forward
layers of the upper half, a higher learning rate) comes third on the same rows, to be held against both.
"""

import argparse
import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from common import make_layers, write_results
from idletune.chat_files import read_exchanges
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from idletune.settings import Settings
from idletune.training.lora import Lora
from idletune.training.optimizer import cosine
from idletune.training.trainer import Trainer
from idletune_export.hugging_face_folder import load_gguf_model
from idletune_export.peft_model import with_peft


def encoded(model: Path, sets: int):
    """Training and held-out examples of the demo's stream."""
    exchanges = read_exchanges(files("idletune") / "data" / "demo_stream.jsonl")
    with BaseModel(model, context_tokens=512) as base:
        made = [base.encode_exchange(e.question, e.response, max_tokens=256) for e in exchanges]
    return made[:sets], made[-30:]


def ours(model: Path, training, held_out, settings: Settings) -> dict:
    layers, _ = make_layers(model, settings.sequence_tokens, 1500, settings.threads, settings)
    trainer = Trainer(layers, training, settings)
    before = trainer.evaluate(held_out)
    with Progress("idletune", len(trainer.sequences)) as bar:
        outcome = trainer.run(progress=bar)
    after = trainer.evaluate(held_out)
    losses = {"before": before[0] / before[1], "after": after[0] / after[1]}
    return {**losses, "training": outcome.losses, "seconds": outcome.seconds, "rows": trainer.sequences}


def theirs(model: Path, training, held_out, settings: Settings, rows) -> dict:
    torch.set_num_threads(settings.threads)
    shape = ModelShape.of(GgufFile(model))
    peft = with_peft(load_gguf_model(model), Lora.from_settings(shape, settings))
    parameters = [p for p in peft.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def loss_of(example):
        logits = peft(input_ids=torch.from_numpy(example.tokens.astype(np.int64))[None]).logits[0]
        labels = torch.from_numpy(example.labels.astype(np.int64))
        return torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")

    def measured():
        with torch.no_grad():
            total = sum(loss_of(example).item() for example in held_out)
        return total / sum((example.labels >= 0).sum() for example in held_out)

    before, losses = measured(), []
    with Progress("torch + peft", len(rows)) as bar:
        for step, row in enumerate(rows):
            for group in optimizer.param_groups:
                group["lr"] = cosine(step, len(rows), settings.learning_rate)
            optimizer.zero_grad()
            loss = sum(loss_of(training[i]) for i in row) / sum((training[i].labels >= 0).sum() for i in row)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
            optimizer.step()
            losses.append(loss.item())
            bar(step + 1)
    return {"before": float(before), "after": float(measured()), "training": losses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    as_it_comes = Settings(epochs=arguments.epochs, min_steps=0, threads=arguments.threads)
    settings = replace(as_it_comes, targets="q,k,v,o", rank=8, alpha=16.0, top_share=1.0, learning_rate=5e-4)
    training, held_out = encoded(arguments.model, arguments.sets)
    mine = ours(arguments.model, training, held_out, settings)
    other = theirs(arguments.model, training, held_out, settings, mine.pop("rows"))
    default = ours(arguments.model, training, held_out, as_it_comes)
    del default["rows"]
    apart = abs(mine["after"] / other["after"] - 1)
    for name, side in (("idletune", mine), ("torch + peft", other), ("idletune as it comes", default)):
        print(f"{name:20} held-out loss {side['before']:.4f} -> {side['after']:.4f}")
    print(f"idletune and torch + peft are {apart:.3%} apart after {len(mine['training'])} steps")
    write_results("train_quality", {"idletune": mine, "torch_peft": other, "as_it_comes": default, "apart": apart})


if __name__ == "__main__":
    main()
