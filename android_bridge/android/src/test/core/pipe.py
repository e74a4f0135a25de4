"""The dispatcher on a pipe: a request a line in; responses and events, a line each, out."""

import sys
import threading

from idletune.rpc import Dispatcher

dispatcher, writing = Dispatcher(), threading.Lock()


def write(message: bytes) -> None:
    with writing:
        sys.stdout.buffer.write(message + b"\n")
        sys.stdout.buffer.flush()


def tell_events() -> None:
    while True:
        if event := dispatcher.next_event(1.0):
            write(event)


threading.Thread(target=tell_events, daemon=True).start()
for line in sys.stdin.buffer:
    threading.Thread(target=lambda request=line: write(dispatcher.handle(request)), daemon=True).start()
dispatcher.close()
