"""What can be given on the command line: a parser for each command, and the function that runs it."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from .. import __version__
from ..chat_files import FORMATS
from ..model.engines import BACKENDS
from ..replay import EXCHANGES_A_DAY
from ..settings import Settings
from ..small_files import user_path
from ..state.reach import REACHES
from . import fleet_commands, home_commands, import_commands, replay_commands, runtime_commands, serving
from .check_command import check

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="idletune",
        description="A small LLM that learns from its one user, on this device.",
    )
    parser.add_argument("--version", action="version", version=f"idletune {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = _command(
        commands, "demo", replay_commands.demo, "replay a built-in story, learn from it, and compare before and after"
    )
    _replay_options(command)

    command = _command(commands, "replay", replay_commands.replay_file, "the same with the exchanges of a file")
    command.add_argument("file", type=user_path, help="conversations, in any format that import reads")
    command.add_argument("--user", help="only this user's exchanges; of a WhatsApp chat, whose replies are the answers")
    command.add_argument("--limit", type=_count, help="only the first N exchanges")
    command.add_argument("--policy", help="selection policy (short for --set policy=NAME)")
    _replay_options(command)

    _command(commands, "chat", runtime_commands.chat, "chat with the model; /help lists the commands of the chat")
    command = _command(
        commands, "adopt", runtime_commands.adopt, "serve an adapter made elsewhere, and let training start from it"
    )
    command.add_argument("adapter", type=user_path, help="GGUF LoRA; idletune-export adapter makes one from PEFT")
    command = _command(
        commands, "promote", runtime_commands.promote, "serve an adapter that the gate held back for a look"
    )
    command.add_argument("version", type=_count, help="the adapter's number, as status shows it")
    _serving_commands(commands)
    command = _command(
        commands, "status", runtime_commands.status, "show what is kept, which adapter serves, and when it learns"
    )
    command.add_argument("--json", action="store_true", help="as JSON")
    command = _command(commands, "check", check, "say whether a model can be trained on this device, by a short probe")
    command.add_argument("file", type=user_path, nargs="?", help="GGUF file or bundle (default: the base model)")
    command.add_argument("--json", action="store_true", help="as JSON")
    _import_commands(commands)
    _fleet_command(commands)
    _device_commands(commands)
    _privacy_commands(commands)
    return parser


def _serving_commands(commands: Commands) -> None:
    command = _command(commands, "serve", serving.serve, "answer other programs of this user, on a socket or over HTTP")
    command.add_argument("--socket", type=user_path, help="path of the socket; its folder must have mode 0700")
    command.add_argument(
        "--fleet-socket", type=user_path, help="a socket that makes updates for the fleet you joined, and nothing else"
    )
    command.add_argument("--http", action="store_true", help="serve OpenAI's API and the page over HTTP")
    _http_options(command)
    command = _command(commands, "web", serving.web, "serve the page over HTTP, and show the link that opens it")
    command.add_argument("--no-open", action="store_true", help="only show the link (Termux opens it otherwise)")
    _http_options(command)


def _http_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--port", type=int, default=serving.PORT, help=f"port for HTTP, 0 for any free one (default {serving.PORT})"
    )
    command.add_argument(
        "--address", default=serving.LOOPBACK, help="address to listen on (default 127.0.0.1: this machine alone)"
    )
    command.add_argument(
        "--unencrypted-on-the-network",
        action="store_true",
        help="let other machines in, although whoever is on the network can then read the conversations and the token",
    )


def _fleet_command(commands: Commands) -> None:
    command = _command(
        commands, "fleet", fleet_commands.fleet, "join a fleet of phones, leave it, or take what it came to"
    )
    does = command.add_mutually_exclusive_group()
    does.add_argument("--join", type=user_path, metavar="TERMS", help="show the terms in a JSON file, ask, and join")
    does.add_argument("--leave", action="store_true", help="leave at once")
    does.add_argument(
        "--take", type=user_path, metavar="ADAPTER", help="serve the fleet's adapter, if it helps your own answers"
    )
    command.add_argument("--yes", action="store_true", help="join without being asked")


def _import_commands(commands: Commands) -> None:
    command = _command(
        commands,
        "import",
        import_commands.import_files,
        "import conversations from other programs; without a file, list",
    )
    command.add_argument("files", type=user_path, nargs="*", metavar="FILE", help="exported file or zip archive")
    command.add_argument("--format", choices=FORMATS, help="format of the files (default: recognized by content)")
    command.add_argument(
        "--me", default="", metavar="NAME", help="your name in a WhatsApp chat: your replies are learned"
    )
    modes = command.add_mutually_exclusive_group()
    modes.add_argument(
        "--answers", dest="mode", action="store_const", const="answers", help="the responses are your answers (default)"
    )
    modes.add_argument(
        "--stream",
        dest="mode",
        action="store_const",
        const="stream",
        help="as a conversation that you may be asked about",
    )
    command.set_defaults(mode="answers")
    command.add_argument("--yes", action="store_true", help="do not ask")

    command = _command(
        commands, "export", import_commands.export, "write the answers, or an adapter, in a form that others read"
    )
    command.add_argument("what", choices=("answers", "adapter"), help="OpenAI's JSONL; a GGUF or a PEFT folder")
    command.add_argument("out", type=user_path, help="the file; of an adapter NAME.gguf, else a PEFT folder is made")
    command.add_argument("--version", type=_count, help="the adapter's number (default: the one that serves)")


def _device_commands(commands: Commands) -> None:
    _command(commands, "tick", runtime_commands.tick, "learn for one slice if the device allows it now, or say why not")
    _command(commands, "watch", runtime_commands.watch, "do the same every minute, until interrupted")
    command = _command(
        commands, "ask", runtime_commands.ask, "show the question to the user that is due, if there is one"
    )
    command.add_argument("--notify", action="store_true", help="show it as an Android notification (Termux)")
    command.add_argument("--page", type=_count, default=1, help="which page of a long question to show")
    command.add_argument("--shown", default="", help="digest of the question that the page belongs to")
    command = _command(
        commands,
        "answer",
        runtime_commands.answer,
        "answer a question; with `edit` the better answer is read from standard input, `first` and `second` say which"
        " of two is better",
    )
    command.add_argument("verdict", choices=("good", "edit", "first", "second", "skip", "never"))
    command.add_argument("prompt", type=_count, help="the question's number")
    command.add_argument("--notify", action="store_true", help="the answer comes from a notification's button (Termux)")
    command.add_argument("--shown", help="digest of the question as it was shown; an answer to another text is refused")
    command = _command(
        commands,
        "termux",
        runtime_commands.termux_jobs,
        "install the jobs in Termux, with these options, or remove them",
    )
    command.add_argument("action", choices=("install", "remove"))
    command = _command(
        commands, "simulate", replay_commands.simulate_month, "simulate a month of a phone: windows, slices, questions"
    )
    command.add_argument("--days", type=_count, default=30, help="how many days (default 30)")
    command.add_argument("--seed", type=int, default=0, help="random seed of the phone and its user (default 0)")
    command.add_argument("--picture", type=user_path, help="draw the timeline to this PNG or SVG file")


def _privacy_commands(commands: Commands) -> None:
    command = _command(
        commands, "forget", home_commands.forget_set, "remove a dialogue set and everything derived from it"
    )
    command.add_argument("id", type=_count, nargs="?", help="the number of the dialogue set")
    command.add_argument("--source", metavar="IMPORT", help="instead, all of an import: its number, or its file's name")
    command.add_argument("--dry-run", action="store_true", help="say what would be removed; change nothing")
    command.add_argument(
        "--descendants",
        choices=REACHES,
        default=REACHES[0],
        help="which replies to remove with it: all that were written from it; only those it was shown for, not those"
        " that an adapter trained on it wrote; or none (default all)",
    )
    command = _command(
        commands, "copies", home_commands.list_copies, "list the files outside of the home that hold its data"
    )
    command.add_argument("--erase-record", action="store_true", help="erase the list; the files stay")
    command = _command(
        commands,
        "export-my-data",
        home_commands.export_my_data,
        "write everything that is kept of you to a readable file",
    )
    command.add_argument("out", type=user_path, help="JSONL file to write")
    command = _command(commands, "erase", home_commands.erase_home, "remove everything that is kept")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = _command(
        commands, "rotate-key", home_commands.rotate_key, "encrypt the state with a new key, or for the first time"
    )
    command.add_argument(
        "--new-key-file", type=user_path, required=True, help="file of the new key; made if it does not exist"
    )


def _command(commands: Commands, name: str, run: Callable[[Namespace], None], help: str) -> argparse.ArgumentParser:
    names = ", ".join(spec.name for spec in fields(Settings))
    command = commands.add_parser(
        name, help=help, description=f"{help[0].upper()}{help[1:]}.", epilog=f"Settings for --set: {names}"
    )
    shared = command.add_argument_group("options of all commands")
    shared.add_argument(
        "--home", type=user_path, help="folder of the state (default: IDLETUNE_HOME or the data folder)"
    )
    shared.add_argument(
        "--model", type=user_path, help="base model, a GGUF file or a bundle's folder (default: IDLETUNE_MODEL)"
    )
    shared.add_argument(
        "--backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="engine that answers: llama.cpp, or a bundle's ONNX model",
    )
    shared.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; may be repeated"
    )
    shared.add_argument(
        "--key-file", type=user_path, metavar="FILE", help="key of an encrypted home (short for --set key_file=FILE)"
    )
    command.set_defaults(run=run)
    return command


def _replay_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", type=user_path, metavar="OUT", help="write the report as JSON")
    command.add_argument("--picture", type=user_path, help="draw buffer and loss to this PNG or SVG file")
    command.add_argument(
        "--per-day",
        type=_count,
        default=EXCHANGES_A_DAY,
        metavar="N",
        help=f"exchanges a day of the replayed calendar (default {EXCHANGES_A_DAY})",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
