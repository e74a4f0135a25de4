"""Nothing leaves the device: the whole loop runs in a process that may not make a socket, and a minute longer."""

import platform
import subprocess
import sys

import pytest
import silent as processes
from idletune.telemetry import FIRST_WITH_TELEMETRY

SIGSYS = 31

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in processes.SOCKET_CALLS, reason="needs Linux's seccomp"
)


def test_a_socket_ends_the_process():
    code = "import silent, socket; silent.deny_sockets(); socket.socket(); print('done')"
    done = subprocess.run([sys.executable, "-c", code], cwd=processes.HERE, capture_output=True, text=True)
    assert done.returncode == -SIGSYS and not done.stdout


@pytest.mark.parametrize("kind", ["loop", "library", "oldest"])
def test_nothing_makes_a_socket_up_to_a_minute_later(silent, kind):
    code, printed = silent.ended(kind)
    if kind == "oldest" and code == processes.NO_NETWORK:
        pytest.skip(f"onnxruntime {processes.OLDEST} can be had from no package index here: {printed}")
    assert code == 0 and printed.endswith("left []\n"), (code, printed)
    assert kind != "oldest" or f"version {processes.OLDEST}" in printed


def test_with_telemetry_on_the_same_process_is_ended(silent):
    """So the tests above can fail."""
    import onnxruntime

    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < FIRST_WITH_TELEMETRY:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} has no telemetry to switch on")
    code, printed = silent.ended("on")
    assert code == -SIGSYS and "version" in printed and "left" not in printed, (code, printed)
