"""Commands that replay conversations, or a made-up phone, in a home of their own: demo, replay, simulate."""

import json
import os
import tempfile
from argparse import Namespace
from importlib.resources import as_file, files
from pathlib import Path

from ..chat_files import read_exchanges
from ..dialogue import Exchange
from ..errors import UsageError
from ..progress import ProgressOrLines
from ..replay import Calendar, replay
from ..runtime import Runtime
from ..simulation.simulation import simulate
from ..simulation.timeline import draw_timeline
from . import show
from .options import model_of, settings_of
from .picture import draw

DEMO_CAPACITY = 64  # the story is short: with a capacity of 128 nothing would ever be replaced
DEMO_MEASURED = 7  # of its 30 held-out exchanges: measuring all takes longer than what is measured


def demo(arguments: Namespace) -> None:
    """The embedded story, from first exchange to better answers."""
    with as_file(files("idletune") / "data" / "demo_stream.jsonl") as path:
        print(show.DEMO_OPENING)
        arguments.set.insert(0, f"buffer_capacity={DEMO_CAPACITY}")
        _replay(arguments, read_exchanges(path), arguments.picture or Path("idletune-demo.png"), DEMO_MEASURED)


def replay_file(arguments: Namespace) -> None:
    exchanges = read_exchanges(arguments.file, arguments.user, arguments.limit)
    _replay(arguments, exchanges, arguments.picture)


def _replay(arguments: Namespace, exchanges: list[Exchange], picture: Path | None, measured: int | None = None) -> None:
    settings, model = settings_of(arguments), model_of(arguments)
    _check_places(arguments.json, picture)
    with tempfile.TemporaryDirectory(prefix="idletune-") as scratch:
        home = arguments.home or Path(scratch)  # a replay is not the user's life: it gets a home of its own

        def runtime_of(calendar: Calendar) -> Runtime:
            return Runtime(home, model, settings, calendar, backend=arguments.backend)

        report = replay(runtime_of, exchanges, ProgressOrLines, arguments.per_day, measured)
    print(show.replay_table(report))
    if arguments.json:
        _write(arguments.json, json.dumps(report.to_dict(), indent=1) + "\n")
    if picture:
        drawn = draw(report, picture)
        print(f"picture: {picture}" if drawn else "no picture: matplotlib is not installed (idletune[plots])")


def simulate_month(arguments: Namespace) -> None:
    _check_places(None, arguments.picture)
    with tempfile.TemporaryDirectory(prefix="idletune-") as scratch:
        result = simulate(Path(scratch), arguments.days, arguments.seed, settings_of(arguments))
    print(result.summary())
    if arguments.picture:
        drawn = draw_timeline(result, arguments.picture)
        print(f"picture: {arguments.picture}" if drawn else "no picture: matplotlib is not installed (idletune[plots])")


def _check_places(report: Path | None, picture: Path | None) -> None:
    """UsageError for a file that could not be written in the end: rather before the work than after it."""
    if picture and picture.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--picture {picture} ends in neither .png nor .svg; name it with one of them")
    for path in filter(None, (report, picture)):
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise UsageError(f"cannot write {path}; name a file in a folder that exists and is yours")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); name another file") from None
