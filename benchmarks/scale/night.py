"""What a night costs: the processor's seconds for 60 answers, from the steps that `benchmarks/scale` measured.

Run: python benchmarks/scale/night.py, after make bench-scale. Measured: seconds of a step, of a frozen pass and of a
loss. Derived: their number, from the settings' defaults and sequences that are full.
"""

import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import RESULTS
from idletune.settings import Settings

ANSWERS, HELD_OUT = 60, 12
ANSWER_TOKENS = 100  # of question and answer, without the prefix that all share
PROBE_SEQUENCES = 6  # of general_probe.txt, 256 tokens each
LOSSES = 2  # of held-out answers and probe: before training and after it


def night(found: dict) -> dict[str, float]:
    """Packed sequences and seconds of the processor, by stage and for each answer learned."""
    settings = Settings()
    sequences = math.ceil((ANSWERS - HELD_OUT) * ANSWER_TOKENS / settings.sequence_tokens)
    steps = max(settings.epochs * sequences, settings.min_steps * settings.gradient_accumulation_steps)
    measured = math.ceil(HELD_OUT * ANSWER_TOKENS / settings.sequence_tokens) + PROBE_SEQUENCES
    seconds = {
        "training": steps * found["ours"]["cpu_seconds"],
        "frozen layers": sequences * found["frozen_int8"]["cpu_seconds"],
        "losses": LOSSES * measured * found["loss"]["cpu_seconds"],
    }
    total = sum(seconds.values())
    return {"steps": steps, **seconds, "all": total, "for each answer": total / (ANSWERS - HELD_OUT)}


def main() -> None:
    for name, found in json.loads((RESULTS / "scale.json").read_text())["models"].items():
        if "loss" not in found:
            print(f"{name}: measured before losses were; run make bench-scale")
            continue
        print(name, ", ".join(f"{what} {value:.0f}" for what, value in night(found).items()))


if __name__ == "__main__":
    main()
