"""What a night costs: the processor's seconds for 60 answers, and the nights that a phone takes for them.

Run: make bench-scale, or python benchmarks/scale/night.py [--model NAME]... [--rounds N] [--again]
Measured here: a held-out sequence's losses in the trainer, for the base model through all layers and for the adapter
above the frozen ones, and in llama.cpp. A step of training and the frozen pass are those that benchmarks/scale
measured. Derived: how many of each a night has, from the settings' defaults and sequences that are full. Simulated:
phones that begin with these answers (idletune.simulation), with two cores as fast as this machine's and SLOWER times
slower, until they are learned. What the frozen layers give is kept in memory, so each slice begins with them anew. The
phone's battery, its heat and its user are assumptions. Measured models are skipped as in bench-scale.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import mean, median, quantiles

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import RESULTS, machine
from idletune.settings import Settings
from idletune.simulation.simulation import START, Simulated, Simulation, Work
from turns import RANDOM, REAL, in_turns, model_file

ANSWERS, HELD_OUT = 60, 12
ANSWER_TOKENS = 100  # of question and answer, without the prefix that all share
PROBE_SEQUENCES = 6  # of general_probe.txt, 256 tokens each
ENGINE_LOSSES = 3  # of the held-out answers in llama.cpp: of the base model, of what serves, of the candidate
SIDES = ("loss", "loss_above", "engine")
SLOWER, PHONES, LONGEST_DAYS, CORES = (1, 4), 50, 30, 2
DAY = 24 * 3600.0
RESULT = RESULTS / "night.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=[*RANDOM, *REAL], help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--free-mb", type=float, default=4000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    arguments = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.is_file() else {"models": {}}
    found["machine"], scaled = machine(), json.loads((RESULTS / "scale.json").read_text())["models"]
    commit, load = found["machine"]["commit"], os.getloadavg()[0]  # later on it counts the models before
    for name in arguments.model or [*RANDOM, *REAL]:
        kept = found["models"].get(name, {})
        if kept.get("commit") != commit or arguments.again:
            kept = {"commit": commit, "load": load, **measure(name, arguments)}
        sides = {**scaled[name], **kept}
        found["models"][name] = {**kept, "night": night(sides), "phones": phones(sides)}
        print(name, json.dumps(found["models"][name], indent=1), flush=True)
        RESULT.write_text(json.dumps(found, indent=1) + "\n")


def measure(name: str, arguments) -> dict[str, dict]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("IDLETUNE_SCRATCH")) as folder:
        return in_turns(SIDES, model_file(name, Path(folder)), Path(folder) / "files", arguments)


def night(sides: dict) -> dict[str, float]:
    """Steps, and seconds of the processor: by stage, all together, and for each answer learned."""
    stages = stage_seconds(sides)
    total = sum(stages.values())
    return {"steps": steps(), **stages, "all": total, "for each answer": total / (ANSWERS - HELD_OUT)}


def stage_seconds(sides: dict) -> dict[str, float]:
    """Seconds of the processor by stage of a night."""
    held_out = HELD_OUT * ANSWER_TOKENS / Settings().sequence_tokens
    measured = math.ceil(held_out) + PROBE_SEQUENCES
    cpu = {name: side["cpu_seconds"] for name, side in sides.items() if isinstance(side, dict)}
    return {
        "training": steps() * cpu["ours"],
        "frozen layers": sequences() * cpu["frozen_int8"],
        "losses in the trainer": measured * (cpu["loss"] + cpu["loss_above"]),
        "losses in llama.cpp": held_out * ENGINE_LOSSES * cpu["engine"],
    }


def sequences() -> int:
    """Packed sequences of an epoch."""
    return math.ceil((ANSWERS - HELD_OUT) * ANSWER_TOKENS / Settings().sequence_tokens)


def steps() -> int:
    s = Settings()
    return max(s.epochs * sequences(), s.min_steps * s.gradient_accumulation_steps)


def phones(sides: dict) -> dict[str, dict]:
    """What becomes of such a night on simulated phones with CORES busy cores, by how many times slower they are."""
    stages = {name: seconds / CORES for name, seconds in stage_seconds(sides).items()}
    losses = stages["losses in the trainer"] + stages["losses in llama.cpp"]
    step, frozen = (sides[name]["cpu_seconds"] / CORES for name in ("ours", "frozen_int8"))
    found = {}
    for slower in SLOWER:
        each, first_epoch = slower * stages["training"] / ANSWERS, slower * sequences() * (step + frozen)
        work = Work(0, each, slower * losses, first_epoch=first_epoch, first_epoch_share=step / (step + frozen))
        found[str(slower)] = summary([lived(work, seed) for seed in range(PHONES)])
    return found


def lived(work: Work, seed: int) -> Simulated:
    """A phone's life until the answers that it begins with are learned."""
    with tempfile.TemporaryDirectory() as home:
        life = Simulation(Path(home), LONGEST_DAYS, seed, work=work)
        life.answer_at_once(ANSWERS)
        return life.run(lambda result: bool(verdicts(result)))


def verdicts(result: Simulated) -> list[float]:
    return result.promoted + result.rejected


def summary(lives: list[Simulated]) -> dict[str, float]:
    """Nights and slices until the answers were learned. A look at the device that came in time, on a charged phone
    with something to learn, found it too warm or led to a slice; a slice was ended by heat or by something else."""
    nights = [math.ceil((verdicts(life)[0] - START.timestamp()) / DAY) for life in lives if verdicts(life)]
    slices = [len(life.slices) for life in lives]
    ends = sum((Counter(one.stopped_by or "finished" for one in life.slices) for life in lives), Counter())
    warm = sum(too_warm(life.reasons) - too_warm(Counter(s.stopped_by for s in life.slices)) for life in lives)
    return {
        "phones": len(lives),
        "learned": len(nights),
        "nights": median(nights),
        "nights_95": quantiles(nights, n=20)[-1],
        "nights_longest": max(nights),
        "slices": mean(slices),
        "minutes": mean(sum(one.seconds for one in life.slices) for life in lives) / 60,
        "slices_ended_by": dict(ends),
        "looks_too_warm": warm,
        "share_too_warm": warm / (warm + sum(slices)),
        "phones_too_warm": sum(too_warm(life.reasons) > 0 for life in lives),
    }


def too_warm(counts: dict[str, int]) -> int:
    return counts.get("temperature", 0) + counts.get("thermal", 0)


if __name__ == "__main__":
    main()
