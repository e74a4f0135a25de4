"""idletune: the command line.

Exit codes: 0 done, 2 wrong use or input, 1 a fault of ours.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import fields, replace
from importlib.resources import as_file, files
from pathlib import Path

from .. import __version__
from ..dialogue import read_exchanges
from ..errors import IdleTuneError, UsageError
from ..learning.adapters import Adapters
from ..model.engine import BACKENDS
from ..replay import EXCHANGES_A_DAY, replay
from ..rpc import Dispatcher
from ..rpc.server import Server, stopped_by_signals
from ..runtime import Runtime, default_home
from ..schedule import termux
from ..settings import Settings, load_settings, parse_setting
from ..simulation.simulation import simulate
from ..simulation.timeline import draw_timeline
from ..state.home import erase
from ..state.keyring import make_key, read_key
from ..state.privacy import export_data, forget
from ..state.store import FILE_NAME, Store, open_store
from . import device_commands, show
from .chat_loop import ChatLoop
from .picture import draw
from .progress import Progress

DEMO_BINS = 64  # the story is short: with 128 bins nothing would ever be replaced
DEFAULT_MODEL = Path(".cache/models/smollm2-135m-instruct-q4_1.gguf")


def main(argv: list[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
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
    settings, model = _settings(arguments), _model(arguments)
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
    with Runtime(_home(arguments), _model(arguments), _settings(arguments), backend=arguments.backend) as runtime:
        ChatLoop(runtime).run()


def serve(arguments) -> None:
    home, model, settings, dispatcher = _home(arguments), _model(arguments), _settings(arguments), Dispatcher()
    with Server(dispatcher, arguments.socket) as server, stopped_by_signals(server):
        dispatcher.session.open(lambda: Runtime(home, model, settings, backend=arguments.backend))
        print(f"serving on {arguments.socket}; SIGTERM or Ctrl-C ends it", flush=True)
        server.run()


def status(arguments) -> None:
    with Runtime(_home(arguments), _model(arguments), _settings(arguments), backend=arguments.backend) as runtime:
        facts = runtime.status()
    print(json.dumps(facts, indent=1) if arguments.json else show.status_page(facts))


def tick(arguments) -> None:
    device_commands.tick(_home(arguments), _model(arguments), _settings(arguments))


def watch(arguments) -> None:
    device_commands.watch_device(_home(arguments), _model(arguments), _settings(arguments))


def ask(arguments) -> None:
    device_commands.ask(_home(arguments), _settings(arguments), arguments.notify)


def answer(arguments) -> None:
    device_commands.answer(
        _home(arguments), _settings(arguments), arguments.verdict, arguments.prompt, arguments.notify
    )


def termux_jobs(arguments) -> None:
    if arguments.action == "install":
        print(termux.install(_home(arguments)))
    else:
        termux.remove(_home(arguments))


def simulate_month(arguments) -> None:
    with tempfile.TemporaryDirectory(prefix="idletune-") as scratch:
        result = simulate(Path(scratch), arguments.days, arguments.seed, _settings(arguments))
    print(result.summary())
    if arguments.picture:
        drawn = draw_timeline(result, arguments.picture)
        print(f"picture: {arguments.picture}" if drawn else "no picture: matplotlib is not installed (idletune[plots])")


def forget_set(arguments) -> None:
    with _store(arguments) as store:
        dropped = forget(store, Adapters(store, base_sha256=""), arguments.id)
    versions = f", and adapter {', '.join(map(str, dropped))} with it; the rest is learned anew" if dropped else ""
    print(f"forgotten{versions}")


def export_my_data(arguments) -> None:
    with _store(arguments) as store:
        lines = export_data(store, arguments.out)
    print(f"{lines} records in {arguments.out}, not encrypted: keep it safe")


def erase_home(arguments) -> None:
    home = _home(arguments)
    if not arguments.yes:
        try:
            answer = input(f"erase everything IdleTune keeps in {home}, for good? Type erase: ")
        except EOFError:
            answer = ""
        if answer.strip() != "erase":
            raise UsageError("nothing was erased; type erase, or give --yes")
    print(f"erased {len(erase(home))} files in {home}")


def rotate_key(arguments) -> None:
    new, settings = arguments.new_key_file, _settings(arguments)
    with _store(arguments) as store:  # first of all the old key must be right
        store.rotate_key(read_key(new) if new.exists() else make_key(new))
    print(f"encrypted with the key in {new}; without it nothing can be read: keep a copy elsewhere")
    if settings.key_file != str(new):
        print(f"from now on give --key-file {new}, or put key_file into {_home(arguments) / 'settings.json'}")


def adopt(arguments) -> None:
    with Runtime(_home(arguments), _model(arguments), _settings(arguments), backend=arguments.backend) as runtime:
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


def _privacy_commands(commands) -> None:
    command = _command(commands, "forget", forget_set, "remove a dialogue set and all that was made of it")
    command.add_argument("id", type=_count, help="the number of the dialogue set")
    command = _command(commands, "export-my-data", export_my_data, "everything it keeps of you, readable")
    command.add_argument("out", type=Path, help="JSONL file to write")
    command = _command(commands, "erase", erase_home, "remove everything it keeps")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = _command(commands, "rotate-key", rotate_key, "encrypt the state with another key, or for the first time")
    command.add_argument("--new-key-file", type=Path, required=True, help="the new key; made if there is no such file")


def _device_commands(commands) -> None:
    _command(commands, "tick", tick, "learn for one slice if the device may now; say why not otherwise")
    _command(commands, "watch", watch, "the same every minute, until interrupted")
    command = _command(commands, "ask", ask, "the question to the user, if there is one now")
    command.add_argument("--notify", action="store_true", help="as an Android notification (Termux)")
    command = _command(commands, "answer", answer, "answer a question; `edit` reads from standard input")
    command.add_argument("verdict", choices=("good", "edit", "skip", "never"))
    command.add_argument("prompt", type=_count, help="the question's number")
    command.add_argument("--notify", action="store_true", help="from an Android notification's button (Termux)")
    command = _command(commands, "termux", termux_jobs, "set up, or remove, the jobs in Termux")
    command.add_argument("action", choices=("install", "remove"))
    command = _command(commands, "simulate", simulate_month, "a month of a made-up phone: windows, slices, questions")
    command.add_argument("--days", type=_count, default=30, help="how many days (default 30)")
    command.add_argument("--seed", type=int, default=0, help="of the phone and its user (default 0)")
    command.add_argument("--picture", type=Path, help="draw the timeline to this PNG or SVG file")


def _privacy_commands(commands) -> None:
    command = _command(commands, "forget", forget_set, "remove a dialogue set and all that was made of it")
    command.add_argument("id", type=_count, help="the number of the dialogue set")
    command = _command(commands, "export-my-data", export_my_data, "everything it keeps of you, readable")
    command.add_argument("out", type=Path, help="JSONL file to write")
    command = _command(commands, "erase", erase_home, "remove everything it keeps")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = _command(commands, "rotate-key", rotate_key, "encrypt the state with another key, or for the first time")
    command.add_argument("--new-key-file", type=Path, required=True, help="the new key; made if there is no such file")


def _command(commands, name: str, run, help: str) -> argparse.ArgumentParser:
    names = ", ".join(spec.name for spec in fields(Settings))
    command = commands.add_parser(name, help=help, description=help, epilog=f"settings: {names}")
    command.add_argument("--home", type=Path, help="where state lives (default: IDLETUNE_HOME or the data folder)")
    command.add_argument("--model", type=Path, help="base model, a GGUF file (default: IDLETUNE_MODEL)")
    command.add_argument(
        "--backend", choices=BACKENDS, default=BACKENDS[0], help="what answers: llama.cpp, or a bundle's ONNX model"
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; may be repeated"
    )
    command.add_argument("--key-file", metavar="FILE", help="key of an encrypted home (short for --set key_file=FILE)")
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


def _settings(arguments) -> Settings:
    """Defaults, then the home's settings.json, then the command line."""
    settings = Settings(**load_settings(_home(arguments) / "settings.json"))
    changes = dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in arguments.set)
    if getattr(arguments, "policy", None):
        changes["policy"] = arguments.policy
    if arguments.key_file:
        changes["key_file"] = arguments.key_file
    return replace(settings, **{name: parse_setting(name, text) for name, text in changes.items()})


def _store(arguments) -> Store:
    """The state alone, for what needs no model; UsageError where there is none."""
    home, settings = _home(arguments), _settings(arguments)
    if not (home / FILE_NAME).is_file():
        raise UsageError(f"no state in {home}; name the home with --home")
    return open_store(home, settings)


def _home(arguments) -> Path:
    return arguments.home or default_home()


def _model(arguments) -> Path:
    path = arguments.model or Path(os.environ.get("IDLETUNE_MODEL", DEFAULT_MODEL))
    if not path.is_file():
        raise UsageError(f"no base model at {path}; run make model, or name a GGUF file with --model")
    return path


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); name another file") from None


if __name__ == "__main__":
    sys.exit(main())
