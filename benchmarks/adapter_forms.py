"""Is the default form of an adapter right: rank 16 on the feed-forward of the upper half, beside smaller ones.

Run: python benchmarks/adapter_forms.py MODEL [STREAM...], as benchmarks/frozen_loss.py. For each form the held-out loss
after the same training, its parameters and its optimizer's memory. Streams and forms that were measured at this commit
are skipped.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
from common import RESULTS, machine
from frozen_loss import EXCHANGES, STREAMS, loss, make_layers
from idletune.model.base_model import BaseModel
from idletune.settings import Settings
from idletune.training.trainer import Trainer
from selection.streams import split_stream

RESULT = RESULTS / "adapter_forms.json"
BYTES = 4 * 4  # of a parameter: it, both moments and the gradient, in float32
FORMS: dict[str, dict] = {
    "default": {},
    "rank 8": {"rank": 8, "alpha": Settings().alpha / 2},
    "upper quarter": {"top_share": 0.25},
    "down alone": {"targets": "down"},
    "A frozen": {},
}


class FrozenA(Trainer):
    """Trains B alone; A stays as it began (LoRA-FA, Zhang et al. 2023, arXiv 2308.03303)."""

    def _gradients(self, sequence, keep, scale: float) -> float:
        total = super()._gradients(sequence, keep, scale)
        for views in self.lora.views(self.gradient):
            for name, view in views.items():
                if name.endswith("lora_a"):
                    view[...] = 0
        return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("streams", nargs="*", default=[s for s in STREAMS if not s.startswith("medquad")])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    kept["machine"] = machine()
    commit, name = kept["machine"]["commit"], arguments.model.stem
    if kept.get(name, {}).get("commit") != commit:
        kept[name] = {"commit": commit, "forms": {}}
    forms = kept[name]["forms"]
    for stream in arguments.streams:
        for form in FORMS:
            if stream not in forms.setdefault(form, {}):
                forms[form][stream] = measure(arguments.model, stream, form, arguments.threads)
                RESULT.write_text(json.dumps(kept, indent=1) + "\n")
                print(stream, form, json.dumps(forms[form][stream]), flush=True)
    for form, streams in forms.items():
        print(f"{form:14} falls by {mean(one['before'] - one['after'] for one in streams.values()):.4f} nats per token")


def measure(path: Path, stream: str, form: str, threads: int) -> dict[str, float]:
    """Held-out loss in nats per token before and after training; parameters that are trained, and MB of their state."""
    settings = replace(Settings(threads=threads), **FORMS[form])
    with BaseModel(path, context_tokens=512, threads=threads) as base:
        training, held_out = (
            [base.encode_exchange(e.question, e.response, max_tokens=200) for e in part]
            for part in split_stream(stream, EXCHANGES)
        )
    trainer = (FrozenA if form == "A frozen" else Trainer)(make_layers(path, settings, True), training, settings)
    before = loss(trainer, held_out)
    trainer.run()
    trained = int(np.count_nonzero(trainer.optimizer.second)) if form == "A frozen" else trainer.lora.size
    after = loss(trainer, held_out)
    return {"before": before, "after": after, "parameters": trained, "state_mb": trained * BYTES / 1e6}


if __name__ == "__main__":
    main()
