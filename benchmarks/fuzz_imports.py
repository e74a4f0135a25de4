"""100,000 mutated files of conversations: each is read, or ends in one line.

Run: make bench-import, or python benchmarks/fuzz_imports.py [TRIES]
"""

import random
import sys
from collections import Counter
from pathlib import Path

from common import write_results

sys.path.append(str(Path(__file__).parents[1] / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "tests" / "device" / "chat_files"))

from chat_samples import SAMPLES, zipped  # noqa: E402
from idletune.progress import Progress  # noqa: E402
from test_fuzz import mutated, outcome  # noqa: E402


def main() -> None:
    tries, rng, ends = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, random.Random(0), Counter()
    names = list(SAMPLES)
    with Progress("files", tries) as bar:
        for number in range(tries):
            name = names[number % len(names)]
            data = SAMPLES[name][0]
            data = mutated(zipped(talk_json=data) if rng.random() < 0.1 else data, rng)
            ends[outcome(data, name, forced=number % 2 == 0)] += 1
            bar(number)
    write_results("fuzz_imports", {"files": tries, "ends": dict(ends)})
    print(dict(ends))


if __name__ == "__main__":
    main()
