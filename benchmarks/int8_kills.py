"""Kills while int8 files are made and trained from; between two lives the files may go, be cut short or change a byte.

Run: make bench-int8-kills, or python benchmarks/int8_kills.py [--kills N] [--seed S]
The model is tiny and random. Each run is killed a few times at random moments, in the making and in training, and then
ends: its adapter must have the bits of a run that had its int8 weights in memory and was never killed.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "device" / "training")]

from common import write_results  # noqa: E402
from test_int8_files import make_files, make_trainer  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402

KILLS_A_RUN = 5
LIFE = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from test_int8_files import make_files, make_trainer
model, folder = Path(sys.argv[1]), Path(sys.argv[2])
print("begun", flush=True)
files, _ = make_files(model, folder)
list(files.make_all(files.missing()))
print("made", flush=True)
trainer = make_trainer(model, folder, folder.with_suffix(".kept"))
trainer.resume()
trainer.run(checkpoint_seconds=0, progress=lambda done, _: print(done, flush=True))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance, did, same, runs = random.Random(arguments.seed), Counter(), 0, arguments.kills // KILLS_A_RUN
    with tempfile.TemporaryDirectory() as scratch:
        model = write_tiny_model(Path(scratch) / "deep.gguf", layers=4)
        whole = make_trainer(model)
        whole.run()
        for number in range(runs):
            folder = Path(scratch) / str(number)
            for _ in range(KILLS_A_RUN):
                did[f"killed {killed_life(model, folder, chance)}"] += 1
                did[f"then {harm(folder, chance)}"] += 1
            same += ended(model, folder) == whole.lora.flat.tobytes()
            print(f"{same} of {number + 1} runs bit-identical", dict(did), flush=True)
    write_results("int8_kills", {"kills": runs * KILLS_A_RUN, "runs": runs, "bit_identical": same, "did": dict(did)})
    sys.exit(same != runs)


def killed_life(model: Path, folder: Path, chance: random.Random) -> str:
    """Where the life was when it was killed."""
    command = [sys.executable, "-c", LIFE, str(model), str(folder), *sys.path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = process.stdout.readline().strip()
    wanted = chance.choice(["begun", "made", "1", "3"])
    while said not in (wanted, ""):
        said = process.stdout.readline().strip()
    time.sleep(chance.uniform(0, 0.05 if wanted == "begun" else 0.02))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return (
        "while files are made" if wanted == "begun" else "before the first step" if wanted == "made" else "in training"
    )


def harm(folder: Path, chance: random.Random) -> str:
    """What happens to the files while nobody looks."""
    files, what = (
        sorted(folder.glob("*.int8")),
        chance.choice(["nothing", "all went", "one was cut", "one byte changed"]),
    )
    if not files or what == "nothing":
        return "nothing"
    victim = chance.choice(files)
    content = bytearray(victim.read_bytes())
    if what == "all went":
        for path in files:
            path.unlink()
    elif what == "one was cut":
        victim.write_bytes(content[: chance.randrange(len(content))])
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        victim.write_bytes(content)
    return what


def ended(model: Path, folder: Path) -> bytes:
    """The run gone on with to its end; its adapter."""
    trainer = make_trainer(model, folder, folder.with_suffix(".kept"))
    trainer.resume()
    assert trainer.run().finished or trainer.done == len(trainer.sequences)
    assert not make_files(model, folder)[0].missing()
    return trainer.lora.flat.tobytes()


if __name__ == "__main__":
    main()
