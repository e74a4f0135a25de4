"""llama.cpp's own converter of PEFT folders, in a process of its own, for it brings its own gguf package.

Run: python -m families.lora_converter BASE ADAPTER TARGET.gguf [BASE ADAPTER TARGET.gguf ...]
"""

import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

from families.made import CONVERTERS, HERE

SCRIPT = CONVERTERS / "convert_lora_to_gguf.py"


def convert_all(wanted: list[tuple[Path, Path, Path]]) -> None:
    """Write each (base's Hugging Face folder, PEFT folder, GGUF file to make)."""
    paths = [CONVERTERS / "gguf-py", CONVERTERS, HERE.parent]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "families.lora_converter", *(str(path) for each in wanted for path in each)]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-6000:]


if __name__ == "__main__":
    logging.disable(logging.INFO)
    given = sys.argv[1:]
    for base, adapter, target in zip(given[::3], given[1::3], given[2::3]):
        sys.argv = [str(SCRIPT), "--base", base, "--outfile", target, "--outtype", "f32", adapter]
        runpy.run_path(str(SCRIPT), run_name="__main__")
