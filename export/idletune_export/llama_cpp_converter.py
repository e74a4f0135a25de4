"""Starts llama.cpp's own converter from a Hugging Face folder to GGUF, and reads what it says.

It comes out of the source package that llama-cpp-python is built from, so it writes what the engine reads.
"""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from idletune.errors import UsageError
from idletune.progress import Bars, no_bars

CONVERTERS = Path(".cache/llama.cpp-0.3.36")
PERCENT = re.compile(r"Writing:\s+(\d+)%")


def convert(folder: Path, path: Path, kind: str = "f16", bars: Bars = no_bars) -> None:
    """Write a Hugging Face folder's language model as a GGUF file of `kind`, f16 or f32.

    UsageError says what the converter said, or that it is not there; OSError when the disk is full.
    """
    with _started(folder, path, kind) as process:
        said = _watch(process.stderr, bars)
    if process.returncode:
        path.unlink(missing_ok=True)
        if "No space left" in said or " requested and " in said:
            raise OSError(errno.ENOSPC, said)
        raise UsageError(f"llama.cpp's converter cannot convert {folder.name}: {said}")


def _started(folder: Path, path: Path, kind: str) -> subprocess.Popen[str]:
    converters = Path(os.environ.get("IDLETUNE_LLAMA_CPP", CONVERTERS)).resolve()
    if not (converters / "conversion").is_dir():
        raise UsageError(
            f"llama.cpp's converters are not at {converters}; run make llama-cpp here, or name a checkout of llama.cpp "
            "in IDLETUNE_LLAMA_CPP"
        )
    paths = [converters / "gguf-py", converters, *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "HF_HUB_OFFLINE": "1"}
    command = [
        sys.executable,
        "-m",
        "idletune_export.converter_process",
        str(folder.resolve()),
        str(path.resolve()),
        kind,
    ]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def _watch(stream: IO[str] | None, bars: Bars) -> str:
    """Show how far it writes; returns the last line."""
    said, bar = "", None
    with ExitStack() as stack:
        for said in _lines(stream):
            if percent := PERCENT.match(said):
                bar = bar or stack.enter_context(bars("converting", 100))
                bar(int(percent[1]))
    return said


def _lines(stream: IO[str] | None) -> Iterator[str]:
    """What is written, line by line; a progress bar ends its lines with a carriage return, which text mode reads so."""
    for line in stream or ():
        if line.strip():
            yield line.strip()
