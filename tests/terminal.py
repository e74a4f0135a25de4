"""A person at a pseudo-terminal: starts a program, types as a keyboard does, and reads the screen."""

import os
import pty
import select
import signal
import struct
import time
from fcntl import ioctl
from termios import TIOCSWINSZ

PATIENCE = 120.0  # seconds; a machine with other work may be slow
UP, LEFT, CTRL_C, CTRL_D, ALT_ENTER, ENTER = "\x1b[A", "\x1b[D", "\x03", "\x04", "\x1b\r", "\r"


def pasted(text: str) -> str:
    """As a terminal sends it that was told to bracket what is pasted."""
    return "\x1b[200~" + text.replace("\n", "\r") + "\x1b[201~"


class Terminal:
    def __init__(self, command: list[str], **environment: str):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **environment})
            try:
                os.execvp(command[0], command)
            finally:
                os._exit(127)
        ioctl(self.fd, TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.screen, self.read_up_to = "", 0

    def wait_for(self, expected: str) -> None:
        """Read the screen until `expected` appears behind what was waited for before."""
        end = time.monotonic() + PATIENCE
        while (at := self.screen.find(expected, self.read_up_to)) < 0:
            assert time.monotonic() < end and self._read(), f"no {expected!r} in {self.screen[self.read_up_to :]!r}"
        self.read_up_to = at + len(expected)

    def type(self, *keys: str) -> None:
        """Send keys; the screen is read meanwhile, for the program stops when nobody does."""
        data = "".join(keys).encode("utf-8", "surrogateescape")
        while data:
            readable, writable, _ = select.select([self.fd], [self.fd], [], PATIENCE)
            if readable:
                self._read()
            if writable:
                data = data[os.write(self.fd, data[:512]) :]

    def end(self) -> int:
        """Read to the end; the program's exit code, or minus the signal that ended it. One that waits on is killed."""
        while self._read():
            pass
        if select.select([self.fd], [], [], 0)[0] == []:  # it says nothing and has not gone
            os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)

    def _read(self) -> bool:
        if not select.select([self.fd], [], [], PATIENCE)[0]:
            return False
        try:
            part = os.read(self.fd, 1 << 16)
        except OSError:  # the program has gone
            return False
        self.screen += part.decode("utf-8", "replace")
        return bool(part)
