"""idletune: the command line.

Exit codes: 0 done, 2 wrong use or input, 1 a fault of ours.
"""

import argparse
import io
import json
import os
import sys
import tempfile
from dataclasses import fields
from importlib.resources import as_file, files
from pathlib import Path

from .. import __version__
from ..dialogue import read_exchanges
from ..errors import IdleTuneError, UsageError
from ..model.engines import BACKENDS
from ..progress import Progress
from ..replay import EXCHANGES_A_DAY, replay
from ..rpc import Dispatcher
from ..rpc.server import Server, stopped_by_signals
from ..runtime import Runtime
from ..schedule import termux
from ..settings import Settings
from ..simulation.simulation import simulate
from ..simulation.timeline import draw_timeline
from . import device_commands, home_commands, show
from .chat_loop import ChatLoop
from .given import home_of, model_of, open_runtime, options_of, settings_of
from .picture import draw

DEMO_BINS = 64  # the story is short: with 128 bins nothing would ever be replaced


def main(argv: list[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    _forgive_characters()
    try:
        arguments.run(arguments)
    except IdleTuneError as error:
        print(f"idletune: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stdout = None  # nobody reads on; not an error of anyone's
    except KeyboardInterrupt:
        print("\nidletune: stopped; what was answered and learned is kept", file=sys.stderr)
        return 130
    return 0


def _forgive_characters() -> None:
    """A character that the terminal cannot show, or bytes that are none, are replaced instead of ending the program."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "replace":
            stream.reconfigure(errors="replace")


def demo(arguments) -> None:
    """The embedded story, from first exchange to better answers."""
    with as_file(files("idletune") / "data" / "demo_stream.jsonl") as path:
        print(show.DEMO_OPENING)
        arguments.set.insert(0, f"bins={DEMO_BINS}")
        _replay(arguments, read_exchanges(path), arguments.picture or Path("idletune-demo.png"))


def replay_file(arguments) -> None:
    exchanges = read_exchanges(arguments.file, arguments.user, arguments.limit)
    _replay(arguments, exchanges, arguments.picture)


def _replay(arguments, exchanges, picture: Path | None) -> None:
    settings, model = settings_of(arguments), model_of(arguments)
    _check_places(arguments.json, picture)
    with tempfile.TemporaryDirectory(prefix="idletune-") as scratch:
        home = arguments.home or Path(scratch)  # a replay is not the user's life: it gets a home of its own

        def runtime_of(calendar):
            return Runtime(home, model, settings, calendar, backend=arguments.backend)

        report = replay(runtime_of, exchanges, Progress, arguments.per_day)
    print(show.replay_table(report))
    if arguments.json:
        _write(arguments.json, json.dumps(report.to_dict(), indent=1) + "\n")
    if picture:
        drawn = draw(report, picture)
        print(f"picture: {picture}" if drawn else "no picture: matplotlib is not installed (idletune[plots])")


def chat(arguments) -> None:
    with open_runtime(arguments) as runtime:
        try:
            ChatLoop(runtime).run()
        finally:  # its question may have been answered or forgotten here
            termux.take_down(runtime.store.home)


def serve(arguments) -> None:
    home, model, settings, dispatcher = home_of(arguments), model_of(arguments), settings_of(arguments), Dispatcher()
    with Server(dispatcher, arguments.socket) as server, stopped_by_signals(server):
        dispatcher.session.open(lambda: Runtime(home, model, settings, backend=arguments.backend))
        print(f"serving on {arguments.socket}; SIGTERM or Ctrl-C ends it", flush=True)
        server.run()


def status(arguments) -> None:
    with open_runtime(arguments) as runtime:
        facts = {**runtime.status(), "jobs": termux.last_runs(runtime.store.home)}
    print(json.dumps(facts, indent=1) if arguments.json else show.status_page(facts))


def tick(arguments) -> None:
    device_commands.tick(home_of(arguments), model_of(arguments), settings_of(arguments), arguments.backend)


def watch(arguments) -> None:
    device_commands.watch_device(home_of(arguments), model_of(arguments), settings_of(arguments), arguments.backend)


def ask(arguments) -> None:
    device_commands.ask(home_of(arguments), settings_of(arguments), arguments.notify)


def answer(arguments) -> None:
    device_commands.answer(
        home_of(arguments), settings_of(arguments), arguments.verdict, arguments.prompt, arguments.notify
    )


def termux_jobs(arguments) -> None:
    if arguments.action == "install":
        open_runtime(arguments).close()  # what does not start now would not start at night, unseen
        print(termux.install(home_of(arguments), options_of(arguments)))
    else:
        termux.remove(home_of(arguments))


def simulate_month(arguments) -> None:
    _check_places(None, arguments.picture)
    with tempfile.TemporaryDirectory(prefix="idletune-") as scratch:
        result = simulate(Path(scratch), arguments.days, arguments.seed, settings_of(arguments))
    print(result.summary())
    if arguments.picture:
        drawn = draw_timeline(result, arguments.picture)
        print(f"picture: {arguments.picture}" if drawn else "no picture: matplotlib is not installed (idletune[plots])")


def adopt(arguments) -> None:
    with open_runtime(arguments) as runtime:
        adapter = runtime.adopt(arguments.adapter)
    print(f"serving adapter {adapter.version} ({adapter.reason}); training starts from it")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="idletune", description="A small LLM that learns from its one user, on this device.",
    )
    parser.add_argument("--version", action="version", version=f"idletune {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = _command(commands, "demo", demo, "the embedded story: replay, learn, compare")
    _replay_options(command)

    command = _command(commands, "replay", replay_file, "the same on a conversation file")
    command.add_argument("file", type=Path, help="JSONL: question, response and optionally user on each line")
    command.add_argument("--user", help="only this user's exchanges")
    command.add_argument("--limit", type=_count, help="only the first N exchanges")
    command.add_argument("--policy", help="selection policy (short for --set policy=NAME)")
    _replay_options(command)

    _command(commands, "chat", chat, "talk to it; /help lists what can be done between turns")
    command = _command(commands, "adopt", adopt, "serve an adapter made elsewhere, and let training start from it")
    command.add_argument("adapter", type=Path, help="GGUF LoRA; idletune-export adapter makes one from PEFT")
    command = _command(commands, "serve", serve, "answer JSON-RPC on a Unix socket, for other programs of this user")
    command.add_argument("--socket", type=Path, required=True, help="where; its folder must be closed to others")
    command = _command(commands, "status", status, "what it knows, serves and waits for")
    command.add_argument("--json", action="store_true", help="as JSON")
    _device_commands(commands)
    _privacy_commands(commands)
    return parser


def _device_commands(commands) -> None:
    _command(commands, "tick", tick, "learn for one slice if the device may now; say why not otherwise")
    _command(commands, "watch", watch, "the same every minute, until interrupted")
    command = _command(commands, "ask", ask, "the question to the user, if there is one now")
    command.add_argument("--notify", action="store_true", help="as an Android notification (Termux)")
    command = _command(commands, "answer", answer, "answer a question; `edit` reads from standard input")
    command.add_argument("verdict", choices=("good", "edit", "skip", "never"))
    command.add_argument("prompt", type=_count, help="the question's number")
    command.add_argument("--notify", action="store_true", help="from an Android notification's button (Termux)")
    command = _command(commands, "termux", termux_jobs, "set up the jobs in Termux, with these options, or remove them")
    command.add_argument("action", choices=("install", "remove"))
    command = _command(commands, "simulate", simulate_month, "a month of a made-up phone: windows, slices, questions")
    command.add_argument("--days", type=_count, default=30, help="how many days (default 30)")
    command.add_argument("--seed", type=int, default=0, help="of the phone and its user (default 0)")
    command.add_argument("--picture", type=Path, help="draw the timeline to this PNG or SVG file")


def _privacy_commands(commands) -> None:
    command = _command(commands, "forget", home_commands.forget_set, "remove a dialogue set and what was made of it")
    command.add_argument("id", type=_count, help="the number of the dialogue set")
    command = _command(commands, "export-my-data", home_commands.export_my_data, "everything it keeps of you, readable")
    command.add_argument("out", type=Path, help="JSONL file to write")
    command = _command(commands, "erase", home_commands.erase_home, "remove everything it keeps")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = _command(
        commands, "rotate-key", home_commands.rotate_key, "encrypt the state with another key, or for the first time"
    )
    command.add_argument("--new-key-file", type=Path, required=True, help="the new key; made if there is no such file")


def _command(commands, name: str, run, help: str) -> argparse.ArgumentParser:
    names = ", ".join(spec.name for spec in fields(Settings))
    command = commands.add_parser(name, help=help, description=help, epilog=f"settings: {names}")
    command.add_argument("--home", type=Path, help="where state lives (default: IDLETUNE_HOME or the data folder)")
    command.add_argument(
        "--model", type=Path, help="base model, a GGUF file or a bundle's folder (default: IDLETUNE_MODEL)"
    )
    command.add_argument(
        "--backend", choices=BACKENDS, default=BACKENDS[0], help="what answers: llama.cpp, or a bundle's ONNX model"
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; may be repeated"
    )
    command.add_argument(
        "--key-file", type=Path, metavar="FILE", help="key of an encrypted home (short for --set key_file=FILE)"
    )
    command.set_defaults(run=run)
    return command


def _replay_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", type=Path, metavar="OUT", help="write the report as JSON")
    command.add_argument("--picture", type=Path, help="draw buffer and loss to this PNG or SVG file")
    command.add_argument(
        "--per-day", type=_count, default=EXCHANGES_A_DAY, metavar="N",
        help=f"exchanges a day of the replayed calendar (default {EXCHANGES_A_DAY})",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


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


if __name__ == "__main__":
    sys.exit(main())
