"""What held-out loss pays for frozen layers in int8: the same training twice, once with their pass in float32.

Run: python benchmarks/frozen_loss.py MODEL [STREAM...], for example dolly/ or ubuntu_irc/irc_04; see
benchmarks/selection/streams.py. Each stream is trained with the default adapter on its own answers; the last fifth is
held out. Int8 products of the trained layers and of the head are in both, so the difference is the frozen layers'.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, stdev

from common import RESULTS, machine
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.model.base_model import BaseModel
from idletune.settings import Settings
from idletune.training.layers import Layers
from idletune.training.lora import Lora
from idletune.training.trainer import Trainer
from idletune.training.weights import Weights
from selection.streams import FEW, USERS, split_stream

STREAMS = tuple(dict.fromkeys((*FEW, *USERS)))
EXCHANGES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("streams", nargs="*", default=[s for s in STREAMS if not s.startswith("medquad")])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    found = {}
    for name in arguments.streams:
        found[name] = losses_of(arguments.model, name, arguments.threads)
        print(name, json.dumps(found[name]), flush=True)
    differences = [one["int8"] - one["float32"] for one in found.values()]
    summary = {"mean": mean(differences), "deviation": stdev(differences) if len(differences) > 1 else 0.0}
    print(json.dumps(summary))
    path = RESULTS / "scale_frozen.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    kept |= {"machine": machine(), arguments.model.stem: {"streams": found, **summary}}
    path.write_text(json.dumps(kept, indent=1) + "\n")


def losses_of(model: Path, stream: str, threads: int) -> dict[str, float]:
    """Held-out loss in nats per token before training, and after it in both ways."""
    settings = Settings(threads=threads)
    with BaseModel(model, context_tokens=512, threads=threads) as base:
        training, held_out = (
            [base.encode_exchange(e.question, e.response, max_tokens=200) for e in part]
            for part in split_stream(stream, EXCHANGES)
        )
    found = {}
    for name, int8_frozen in (("float32", False), ("int8", True)):
        trainer = Trainer(make_layers(model, settings, int8_frozen), training, settings)
        if "before" not in found:
            found["before"] = loss(trainer, held_out)
        trainer.run()
        found[name] = loss(trainer, held_out)
    return found


def make_layers(model: Path, settings: Settings, int8_frozen: bool) -> Layers:
    file = GgufFile(model)
    lora = Lora.from_settings(ModelShape.of(file), settings)
    weights = Weights(file, lora.shape, threads=settings.threads, resident=range(lora.shape.layers))
    on_int8 = {"int8": True, "int8_head": True, "int8_frozen": int8_frozen}
    return Layers(weights, lora, threads=settings.threads, recompute=0, **on_int8)


def loss(trainer: Trainer, held_out: list) -> float:
    total, count = trainer.evaluate(held_out)
    return total / count


if __name__ == "__main__":
    main()
