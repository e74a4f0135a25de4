"""Wrong device states and hostile notification replies, in numbers.

Run: make bench-fuzz, or python benchmarks/fuzz_windows.py [--states N] [--replies N] [--seed S]
Each state goes through the parser and the policy, whose decision is held against an independent opinion
formed before the JSON was written. Each reply is spliced into the notification's action as Termux:API does
it and run by the shell; it must arrive on standard input unchanged, and nothing may appear in the folder.
Exits with 1 when anything went wrong.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from common import machine  # noqa: E402
from fuzzed_states import fuzzed_states  # noqa: E402
from hostile_replies import hostile_replies  # noqa: E402
from idletune.clock import Moment  # noqa: E402
from idletune.progress import Progress  # noqa: E402
from idletune.schedule import termux  # noqa: E402
from idletune.schedule.device_state import DeviceState, parse_state, parse_termux  # noqa: E402
from idletune.schedule.state_sources import completed  # noqa: E402
from idletune.schedule.windows import History, WindowPolicy  # noqa: E402
from idletune.settings import Settings  # noqa: E402
from idletune.state.annotation import Prompt  # noqa: E402
from termux_programs import press  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "fuzz_windows.json"
NIGHT = Moment(datetime(2026, 3, 2, 1, 0).timestamp(), 50_000.0, "boot")
PLENTY = DeviceState(free_memory_mb=4000, free_disk_mb=9000)
# As the real answer script, without the seconds that Python takes to start.
RECORDER = '#!/bin/sh\n/bin/cat > "${0%/*}/input"\n'


def fuzz_states(count: int, seed: int) -> dict:
    """Decisions on `count` states; `wrongly_open` and `wrongly_shut` by the independent opinion."""
    policy, found, codes = WindowPolicy(Settings()), Counter(), Counter()
    with Progress("states", count) as bar:
        for number, (text, from_termux, may_open) in enumerate(fuzzed_states(count, seed), start=1):
            try:
                state = completed(parse_termux(text), PLENTY) if from_termux else parse_state(text)
                decision = policy.decide(state, NIGHT, History())
            except Exception:  # whatever it is, it is a crash, and counted
                found["crashed"] += 1
                continue
            codes[decision.code] += 1
            found["wrongly_open"] += decision.open and not may_open
            found["wrongly_shut"] += may_open and not decision.open
            bar(number)
    wrong = {name: found[name] for name in ("crashed", "wrongly_open", "wrongly_shut")}
    return {"states": count, **wrong, "decisions": dict(codes.most_common())}


def fuzz_replies(count: int, seed: int) -> dict:
    """`count` replies through the notification's Edit button; `executed` left a file behind."""
    found = Counter()
    with tempfile.TemporaryDirectory() as scratch, Progress("replies", count) as bar:
        home, empty = Path(scratch) / "home", Path(scratch) / "empty"
        empty.mkdir()
        script = termux.scripts_folder(home) / "answer"
        script.parent.mkdir(parents=True)
        script.write_text(RECORDER)
        script.chmod(0o700)
        for number, reply in enumerate(hostile_replies(count, seed), start=1):
            input = script.with_name("input")
            input.unlink(missing_ok=True)
            done = press(
                termux.action(home, "edit", Prompt(number, number, "", "", "shown", 0.0, "0" * 16, 0)), reply, cwd=empty
            )
            left = list(empty.iterdir())
            found["executed"] += bool(left)
            for path in left:
                path.unlink()
            found["failed"] += done.returncode != 0
            # As idletune itself reads it: what is no UTF-8 any more is a change, not a crash.
            typed = input.read_bytes().decode("utf-8", "replace") if input.exists() else ""
            found["changed"] += not done.returncode and termux.typed_text(typed) != reply
            bar(number)
    return {"replies": count, **{name: found[name] for name in ("executed", "failed", "changed")}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--replies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.monotonic()
    states = fuzz_states(arguments.states, arguments.seed)
    replies = fuzz_replies(arguments.replies, arguments.seed)
    found = {"machine": machine(), **states, **replies, "seconds": round(time.monotonic() - start, 1)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    wrong = sum(found[name] for name in ("crashed", "wrongly_open", "wrongly_shut", "executed", "failed", "changed"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
