"""The dispatcher on a Unix socket: one JSON message a line, for several clients at once.

- The file system is the lock: a folder of ours that nobody else can enter (0700), a socket with mode 0600.
- A client may send a request while another one of its own is running (`stop` during `tick`), so answers come in
  the order they are ready. What is under way is bounded: then the server reads no further from this client.
- A client that does not read blocks nobody else: events wait for it merged, and its own next requests wait.
"""

import fcntl
import os
import signal
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UsageError
from . import messages
from .dispatcher import Dispatcher
from .errors import BUSY, TOO_LARGE, RpcError
from .events import EventQueue

MOST_CLIENTS = 16
MOST_REQUESTS = 8  # of one client, under way
GOODBYE_SECONDS = 2.0  # for the last answers, when the server stops


class Outbox(EventQueue):
    """What goes to one client: events, and the answers after them."""

    def __init__(self):
        super().__init__()
        self._answers: deque[bytes] = deque()

    def answer(self, line: bytes) -> None:
        with self._changed:
            self._answers.append(line)
            self._changed.notify()

    def next(self) -> tuple[bytes, bool]:
        """The next message, as soon as there is one, and whether it is an answer; b"" when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._answers or self._closed)
            if self._waiting:
                return messages.write(self._waiting.popitem(last=False)[1]), False
            return (self._answers.popleft(), True) if self._answers else (b"", False)


class Client:
    """One connection: a thread reads, a few handle, one writes."""

    def __init__(self, connection: socket.socket, dispatcher: Dispatcher):
        self.connection, self.dispatcher = connection, dispatcher
        self.outbox, self.room = Outbox(), threading.Semaphore(MOST_REQUESTS)
        self.writer = threading.Thread(target=self._write, name="idletune-writer", daemon=True)

    def serve(self) -> None:
        """Until the client hangs up, or `hang_up`; returns when its last answer was sent."""
        self.writer.start()
        with ThreadPoolExecutor(MOST_REQUESTS, "idletune-call") as pool:
            for line in lines(self.connection):
                self.room.acquire()
                pool.submit(self._handle, line)
        self.dispatcher.unsubscribe(self.outbox)
        self.outbox.close()
        self.writer.join(GOODBYE_SECONDS)
        self.hang_up(socket.SHUT_RDWR)  # wakes a writer whose client does not read
        self.connection.close()

    def hang_up(self, how: int = socket.SHUT_RD) -> None:
        """Read nothing more; what was asked is still answered. With SHUT_RDWR it is not."""
        with suppress(OSError):  # it has gone already
            self.connection.shutdown(how)

    def _handle(self, line: bytes | None) -> None:
        if line is None:
            problem = RpcError(TOO_LARGE, f"a line has more than {messages.LARGEST_REQUEST} bytes")
            answer = messages.write(messages.failure(None, problem))
        else:
            answer = self.dispatcher.handle(line, self.outbox)
        if answer:
            self.outbox.answer(answer)  # the writer makes room when it has gone out
        else:
            self.room.release()

    def _write(self) -> None:
        gone = False
        while (message := self.outbox.next())[0]:
            try:
                if not gone:
                    self.connection.sendall(message[0] + b"\n")
            except OSError:
                gone = True  # go on taking, so that nobody waits for room
            if message[1]:
                self.room.release()


class Server:
    """Listens on `path` until `stop`; to be used in a `with` block, whose end puts everything away.

    UsageError for a place others can reach, or where another one serves.
    """

    def __init__(self, dispatcher: Dispatcher, path: Path):
        self.dispatcher, self.path = dispatcher, Path(path)
        self._clients: dict[Client, threading.Thread] = {}
        self._stopping = False
        check_folder(self.path.parent)
        self._lock = _lock(self.path)
        try:
            self._listener = _listen(self.path)
        except BaseException:
            os.close(self._lock)
            raise

    def run(self) -> None:
        """Accept clients; returns after `stop`."""
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                raise
            self._welcome(connection)

    def stop(self) -> None:
        """End `run`; from a signal handler or another thread."""
        self._stopping = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept

    def _welcome(self, connection: socket.socket) -> None:
        self._clients = {client: thread for client, thread in self._clients.items() if thread.is_alive()}
        if len(self._clients) >= MOST_CLIENTS:
            problem = RpcError(BUSY, f"{MOST_CLIENTS} clients are connected, which is the limit; close one")
            connection.settimeout(GOODBYE_SECONDS)
            with connection, suppress(OSError):
                connection.sendall(messages.write(messages.failure(None, problem)) + b"\n")
            return
        client = Client(connection, self.dispatcher)
        thread = threading.Thread(target=client.serve, name="idletune-client", daemon=True)
        self._clients[client] = thread
        thread.start()

    def close(self) -> None:
        """Stop the dispatcher, answer what was asked, hang up and remove the socket."""
        self._listener.close()
        self.dispatcher.close()
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):  # first in order, then those that do not read either
            for client in self._clients:
                client.hang_up(how)
            end = time.monotonic() + GOODBYE_SECONDS
            for thread in self._clients.values():
                thread.join(max(0.0, end - time.monotonic()))
        self.path.unlink(missing_ok=True)
        os.close(self._lock)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.close()


@contextmanager
def stopped_by_signals(server: Server) -> Iterator[None]:
    """SIGTERM and Ctrl-C stop the server in order; a second one ends the process as usual."""
    def stop(number, _) -> None:
        signal.signal(number, before[number])
        server.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lines(connection: socket.socket) -> Iterator[bytes | None]:
    """The lines that come, without their ends and without empty ones; None stands for one that is too long.

    The last one needs no end.
    """
    held, too_long = bytearray(), False
    while part := _received(connection):
        *ends, rest = part.split(b"\n")
        for end in ends:
            held += end
            if too_long or len(held) > messages.LARGEST_REQUEST:
                yield None
            elif held.strip():
                yield bytes(held)
            held, too_long = bytearray(), False
        held += rest
        if len(held) > messages.LARGEST_REQUEST:
            held, too_long = bytearray(), True
    if too_long:
        yield None
    elif held.strip():
        yield bytes(held)


def check_folder(folder: Path) -> None:
    """Make the folder for its owner alone, or see that it is that; UsageError otherwise."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise UsageError(f"cannot use {folder} for the socket ({error.strerror}); name a folder of yours") from None
    if found.st_uid != os.geteuid():
        raise UsageError(f"{folder} belongs to another user; name a folder of yours for the socket")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise UsageError(f"{folder} has mode {mode:04o}, others can reach a socket in it; chmod 700 {folder}")


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


def _lock(path: Path) -> int:
    """A lock that ends with the process, so that a socket found beside it is known to be a dead one's."""
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"cannot make {path}.lock ({error.strerror}); a socket's path has at most 107 bytes") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"another IdleTune serves on {path}; use that one, or name another socket") from None
    return descriptor


def _listen(path: Path) -> socket.socket:
    if path.exists() and not path.is_socket():
        raise UsageError(f"{path} is a file; name a place for the socket where there is none")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {path} ({error}); a socket's path has at most 107 bytes") from None
    os.chmod(path, 0o600)
    listener.listen(MOST_CLIENTS)
    return listener
