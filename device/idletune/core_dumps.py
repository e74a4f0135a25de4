"""No core dumps of a process that holds the user's words.

- RLIMIT_CORE 0 keeps the kernel from writing a core file.
- It does not reach a core_pattern that pipes to a program (systemd-coredump, apport); PR_SET_DUMPABLE 0 does. It also
  keeps other programs of the same user from reading the process's memory (ptrace, /proc/PID/mem).
- A process that is not dumpable may still open its own /proc/self/fd, from which encrypted adapters are loaded
  (state/files.py): the kernel lets a thread group look at itself. Tried as another user than root.
"""

import ctypes
import sys
from contextlib import suppress

PR_SET_DUMPABLE = 4  # <linux/prctl.h>


def disable_core_dumps() -> None:
    """For this process, where the system can. Programs it starts inherit the limit, not the flag."""
    with suppress(ImportError):  # not every Python has it
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform in ("linux", "android"):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
