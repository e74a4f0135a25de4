"""Opens and uses a model file once in a process of its own, for llama.cpp's asserts end the process that meets them.

Design choices:
- known assertions are checked first (gguf_checks.py); where no Python can be started, as in an app, that is all;
- what a child process reports of a file counts only when the child died of it, or computed NaN: every other error
  comes again in this process, with its own message.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from ..errors import DamagedDataError, UsageError
from ..formats.gguf_checks import check_metadata, check_tokens
from ..formats.gguf_file import GgufFile
from .engine import Engine

TIMEOUT_SECONDS = 300  # of a trial: the file may be read from a slow memory card
OPENING = "opening\n"  # printed by the child before it opens the file: what ends it earlier is not the file
NONSENSE = 3  # exit code of a child whose standard output says what is wrong
FAULTS = {
    getattr(signal, name): name
    for name in ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
    if hasattr(signal, name)
}
CHECKS = 1  # counts up with what is checked or tried; earlier trials are repeated then


def survives(path: Path, cells: int, sequences: int) -> bool:
    """Whether the model opens and answers in a process of its own; true as well where none can be started.

    DamagedDataError for a model that llama.cpp does not survive, UsageError for one that takes too long. False where
    it is refused with an error that comes again when it is opened here.
    """
    gguf = GgufFile(path)
    check_metadata(gguf)
    check_tokens(gguf)
    python = _python()
    return python is None or _opens(python, path, cells, sequences)


def _python() -> str | None:
    """The interpreter to start; None in an app, whose executable is something else."""
    path = Path(sys.executable or "")
    return str(path) if path.name.startswith("python") and os.access(path, os.X_OK) else None


def _opens(python: str, path: Path, cells: int, sequences: int) -> bool:
    """Whether a process of its own opens and uses the model. DamagedDataError when that ends it."""
    command = [python, "-m", __name__, str(path), str(cells), str(sequences)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GGML_NO_BACKTRACE": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, env=environment, stdin=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{path.name} did not open within {TIMEOUT_SECONDS} s; use a smaller model") from None
    except OSError:  # no process can be started, or not now
        return False
    _, opening, said = done.stdout.decode("utf-8", "replace").partition(OPENING)
    if done.returncode == NONSENSE:
        raise DamagedDataError(f"{path.name}: {said.strip()}; use another model")
    if opening and (name := FAULTS.get(-done.returncode)):
        reason = _last_line(done.stderr.decode("utf-8", "replace")) or name
        raise DamagedDataError(
            f"llama.cpp does not survive {path.name} ({reason}); fetch it again, or use another model"
        )
    return done.returncode == 0


def _last_line(text: str) -> str:
    """The assertion in what llama.cpp printed at its end, without the path of the source file."""
    lines = [line for line in text.splitlines() if "GGML_" in line or "what():" in line or "error" in line.lower()]
    return lines[-1].rpartition("/")[2][:200].strip() if lines else ""


def use(engine: Engine) -> None:
    """What the runtime does with a model, once. DamagedDataError where the results are of no use."""
    import numpy as np

    from .engine import BatchToken

    if engine.end_of_text < 0:
        raise DamagedDataError("it names no token that ends a text")
    for text in ("a Text", " naïve 日本 🐕\n\t" + "".join(map(chr, range(1, 256))), *engine.control_texts[:4]):
        tokens = [t for special in (False, True) for t in engine.tokenize(text, special=special, begin=True)]
    for token in range(engine.vocabulary):
        engine.piece(token)
    tokens = tokens[:4] or [engine.end_of_text]
    for embeddings in (True, False):
        engine.clear()
        batch = [BatchToken(token, position, 0, True) for position, token in enumerate(tokens)]
        engine.decode(batch, embeddings=embeddings)
    if not np.isfinite(engine.logits(len(tokens) - 1)).all():
        raise DamagedDataError("it computes no finite numbers")
    for temperature in (0.0, 0.7):
        sampler = engine.sampler(temperature, 0.9, 0)
        engine.sample(sampler, len(tokens) - 1)
        engine.free_sampler(sampler)
    engine.clear()


def main(arguments: list[str]) -> int:
    """Open and use a model. Exit code 0, NONSENSE with a reason, or 2 for an error that comes again in the parent."""
    _leave_no_core()
    from ..errors import IdleTuneError
    from .llama_engine import LlamaEngine

    path, cells, sequences = arguments
    print(OPENING, end="", flush=True)
    try:
        engine = LlamaEngine(Path(path), cells=int(cells), sequences=int(sequences), threads=1)
    except IdleTuneError:
        return 2
    try:
        use(engine)
    except IdleTuneError as error:
        print(error)
        return NONSENSE
    return 0


def _leave_no_core() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
