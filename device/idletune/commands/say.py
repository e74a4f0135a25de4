"""Telling what happens while work goes on: it may fail (a full disk, a reader that left), the work does not."""


def say(line: str, stream=None) -> None:
    """Print a line at once (to standard output); where nobody can be told, nobody is."""
    try:
        print(line, file=stream, flush=True)
    except (OSError, ValueError):  # ValueError: the stream is closed
        pass
