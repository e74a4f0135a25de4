"""The demo, measured: its report, its seconds and what it prints go to results/demo.json, its picture to docs/demo.png.

Run: make bench-demo. README.md shows these figures and this transcript (see evidence.py).
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import RESULTS, write_results

PICTURE = RESULTS.parents[1] / "docs" / "demo.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        report, start = Path(folder) / "report.json", time.monotonic()
        command = [sys.executable, "-m", "idletune.commands.cli", "demo", "--json", report, "--picture", PICTURE]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        wall = time.monotonic() - start
        facts = json.loads(report.read_text(encoding="utf-8"))
    print(printed)
    shown = printed[printed.index("  asked") : printed.index("picture:")]  # the answers before and after
    write_results("demo", {"wall_seconds": round(wall, 1), "answers": shown.rstrip(), **facts})


if __name__ == "__main__":
    main()
