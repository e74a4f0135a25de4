"""Commands on the home's own runtime: chat, status, adapters, and the jobs of a phone."""

import json
from argparse import Namespace

from ..schedule import termux
from . import device_commands, show
from .chat_loop import ChatLoop
from .options import home_of, model_of, open_runtime, options_of, private_settings_of, settings_of


def chat(arguments: Namespace) -> None:
    with open_runtime(arguments) as runtime:
        try:
            ChatLoop(runtime).run()
        finally:  # its question may have been answered or forgotten here
            termux.dismiss(runtime.store.home)


def status(arguments: Namespace) -> None:
    with open_runtime(arguments) as runtime:
        facts, jobs = runtime.status(), termux.last_runs(runtime.store.home)
    print(json.dumps({**facts, "jobs": jobs}, indent=1) if arguments.json else show.status_page(facts, jobs))


def tick(arguments: Namespace) -> None:
    device_commands.tick(home_of(arguments), model_of(arguments), settings_of(arguments), arguments.backend)


def watch(arguments: Namespace) -> None:
    device_commands.watch_device(home_of(arguments), model_of(arguments), settings_of(arguments), arguments.backend)


def ask(arguments: Namespace) -> None:
    page, shown = arguments.page, arguments.shown
    device_commands.ask(home_of(arguments), settings_of(arguments), arguments.notify, page, shown)


def answer(arguments: Namespace) -> None:
    device_commands.answer(
        home_of(arguments),
        settings_of(arguments),
        arguments.verdict,
        arguments.prompt,
        arguments.notify,
        arguments.shown,
    )


def termux_jobs(arguments: Namespace) -> None:
    if arguments.action == "install":
        with open_runtime(arguments) as runtime:  # what does not start now would not start at night, unseen
            if private := private_settings_of(arguments):
                runtime.change_settings(private)
        print(termux.install(home_of(arguments), options_of(arguments)))
    else:
        termux.remove(home_of(arguments))


def adopt(arguments: Namespace) -> None:
    with open_runtime(arguments) as runtime:
        adapter = runtime.adopt(arguments.adapter)
    print(f"serving adapter {adapter.version} ({adapter.reason}); training starts from it")
    known = f"it is adapter {adapter.parent_version} of this home" if adapter.parent_version else ""
    print(known or "what it was trained on is unknown here, so forget cannot reach it")


def promote(arguments: Namespace) -> None:
    """Serve an adapter that the gate held back for a look."""
    with open_runtime(arguments) as runtime:
        adapter = runtime.promote(arguments.version)
    print(f"serving adapter {adapter.version} ({adapter.reason})")
