"""Calls of every kind on the C library from 8 threads, under AddressSanitizer and UndefinedBehaviorSanitizer.

Run: make fuzz-bridge, or python benchmarks/fuzz_bridge.py [--calls N]
Several processes one after the other: what leaks is looked for at the end of each. Memory that Python and its own
libraries keep until the process ends is not counted.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path

from common import write_results
from idletune.progress import Progress

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "build" / "native-SANITIZE" / "fuzz"
PYTHONS_OWN = ("libpython", "site-packages", "lib-dynload", "libcrypto", "libssl")
ROUND = 50_000


def run(folder: Path, calls: int, seed: int) -> dict:
    """What was counted; SystemExit with the sanitizer's report when something was found."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    library = Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("LDLIBRARY")
    done = subprocess.run(
        [str(PROGRAM), str(library), "", os.pathsep.join([str(folder), *packages]), str(calls), str(seed)],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "ASAN_OPTIONS": "detect_leaks=1",
            "LSAN_OPTIONS": f"suppressions={folder / 'leaks.txt'}:print_suppressions=0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise SystemExit(f"seed {seed} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    arguments = parser.parse_args()
    total, start = Counter(), time.monotonic()
    with tempfile.TemporaryDirectory() as name, Progress("fuzzing", arguments.calls) as bar:
        folder = Path(name)
        (folder / "idletune").symlink_to(ROOT / "device")
        (folder / "leaks.txt").write_text("".join(f"leak:{part}\n" for part in PYTHONS_OWN))
        for seed in range(-(-arguments.calls // ROUND)):
            total.update(run(folder, min(ROUND, arguments.calls - total["calls"]), seed))
            bar(total["calls"])
    found = {**total, "seconds": round(time.monotonic() - start)}
    write_results("fuzz_bridge", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
