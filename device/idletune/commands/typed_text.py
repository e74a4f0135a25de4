"""What a person types: one message or command at a time, and each of them whole.

- On a terminal prompt_toolkit edits the line: arrow keys, a history of this run (in memory, never on the disk), wide
  characters, any length. A pasted text of several lines is one message, since the terminal brackets it; Enter sends,
  Alt-Enter begins a new line. Where prompt_toolkit is missing, the readline of Python does most of this.
- From a pipe or a file, a line is a message.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

BRACKETED_PASTE_ON, BRACKETED_PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"


def make_reader() -> Callable[[str], str]:
    """A function like `input`: takes the prompt; raises EOFError at the end of input, KeyboardInterrupt on Ctrl-C."""
    if not _on_terminal():
        return read_line
    try:
        return _prompt_toolkit_reader()
    except ImportError:
        return _readline_reader()


@contextmanager
def held_input() -> Iterator[None]:
    """Inside the block the terminal keeps what is typed, unseen, for the next prompt.

    Else a line typed ahead would be cut at 4,095 bytes, and a paste taken for a message a line.
    """
    if not _on_terminal():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    held = [*before[:3], before[3] & ~(termios.ICANON | termios.ECHO), *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSANOW, held)
    sys.stdout.write(BRACKETED_PASTE_ON)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
        sys.stdout.write(BRACKETED_PASTE_OFF)
        sys.stdout.flush()


def _prompt_toolkit_reader() -> Callable[[str], str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(), key_bindings=_key_bindings(), multiline=True, enable_suspend=True
    )
    return lambda question: _valid(session.prompt(question))


def _key_bindings():
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def new_line(event) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    def clear(event) -> None:
        """As in a shell: what was typed goes; on an empty line it is an interrupt."""
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return bindings


def _readline_reader() -> Callable[[str], str]:
    with suppress(ImportError):
        import readline  # input() edits lines by it; a history file is written only where one is named

        readline.parse_and_bind("set enable-bracketed-paste on")
        for name, value in (("input-meta", "on"), ("output-meta", "on"), ("convert-meta", "off")):
            readline.parse_and_bind(f"set {name} {value}")  # in the C locale letters would be taken for Alt with a key
    return read_line


def read_line(question: str) -> str:
    """`input`, for which every input that cannot be read is at its end."""
    try:
        return _valid(input(question))
    except (OSError, ValueError, RuntimeError):  # a terminal that hung up, a stream that is closed, or none at all
        raise EOFError from None


def _valid(text: str) -> str:
    """Bytes that are no UTF-8 come as halves of surrogates; what is stored must be text."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _on_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # closed, or none at all
        return False
