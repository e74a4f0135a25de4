"""Running small programs that may hang: with a time limit that also reaches their children."""

import os
import signal
import subprocess

from ..errors import UsageError

SECONDS = 10.0


def output_of(command: list[str], input: str = "", seconds: float = SECONDS) -> str | None:
    """What a program wrote to standard output; None when it is not there, failed, or took too long."""
    try:
        # A session of its own, so that a child of the program is ended with it: it would hold the pipe open.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    try:
        output, _ = process.communicate(input.encode("utf-8", "replace"), timeout=seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return None
    except KeyboardInterrupt:
        _end(process)
        raise
    return output.decode("utf-8", "replace") if process.returncode == 0 else None


def _end(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def run(command: list[str], input: str = "") -> str:
    """The same, for a program that is needed; UsageError when it did not do its work."""
    output = output_of(command, input)
    if output is None:
        raise UsageError(
            f"{command[0]} did not work within {SECONDS:.0f} s; install the Termux:API app and `pkg install termux-api`"
        )
    return output
