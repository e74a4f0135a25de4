"""Commands that take conversations in, and give what was learned out: import, export."""

from argparse import Namespace

from ..chat_files import ChatFile, Source, open_chat_file
from ..errors import UsageError
from ..formats.gguf_file import model_paths, sha256
from ..learning.adapters import Adapters
from ..local_time import local_time
from ..plain_text import one_line
from ..progress import Progress
from ..runtime import Runtime
from ..runtime.importing import Imported, ImportPreview
from ..state.imports import imports
from ..state.private_settings import opened
from ..takeout import export_adapter, export_answers
from .options import model_of, open_runtime, settings_of, store_of
from .typed_text import read_line

SHOWN_CHARACTERS = 100


def import_files(arguments: Namespace) -> None:
    """Show what the files hold, ask, and import them; without a file, list what was imported."""
    if not arguments.files:
        list_imports(arguments)
        return
    files = [open_chat_file(Source.of(path), arguments.format or "") for path in arguments.files]
    with open_runtime(arguments) as runtime:
        # All of them first: where one is malformed, nothing of any is kept.
        previews = [runtime.preview_import(file, arguments.me, Progress) for file in files]
        for preview in previews:
            print(preview_text(preview))
        if not any(preview.to_read for preview in previews):
            print("nothing new to import")
            return
        _check_wanted(arguments.yes, arguments.mode)
        for file, preview in zip(files, previews):
            if preview.to_read:
                print(_told(_imported(runtime, file, preview, arguments)))


def list_imports(arguments: Namespace) -> None:
    """A line for each import: its number, when, how, and what is left of it."""
    with store_of(arguments) as store:
        for record in imports(store):
            unfinished = "" if record.finished else ", cut short"
            print(
                f"{record.id:4}  {local_time(record.started):%Y-%m-%d %H:%M}  {record.format:12} {record.mode:8}"
                f" {record.kept} kept of {record.taken}{unfinished}  {record.name}"
            )


def preview_text(preview: ImportPreview) -> str:
    """What a file holds, for a person: how many, from when to when, the first ones, what is skipped and why."""
    told = f"{preview.name}: {preview.format}, {preview.exchanges} exchanges that are new here"
    if preview.first is not None and preview.last is not None:
        told += f", from {local_time(preview.first):%Y-%m-%d} to {local_time(preview.last):%Y-%m-%d}"
    lines = [told]
    for example in preview.examples:
        lines += [f"  asked     {one_line(example.question, SHOWN_CHARACTERS)}"]
        lines += [f"  answered  {one_line(example.response, SHOWN_CHARACTERS)}"]
    lines += [f"  skipped   {n} x {reason}, first: {place or 'throughout'}" for reason, (n, place) in _skipped(preview)]
    if preview.to_read < preview.exchanges:
        lines.append(f"  the model reads {preview.to_read} of them, spread evenly (setting import_limit)")
    return "\n".join(lines)


def _skipped(preview: ImportPreview) -> list[tuple[str, tuple[int, str]]]:
    return sorted(preview.skipped.items(), key=lambda item: -item[1][0])


def _check_wanted(yes: bool, mode: str) -> None:
    if yes:
        return
    meant = "as your own answers" if mode == "answers" else "as a conversation"
    try:
        answer = read_line(f"import them {meant}? Type yes: ")
    except EOFError:
        answer = ""
    if answer.strip().casefold() != "yes":
        raise UsageError("nothing was imported; type yes, or give --yes")


def _imported(runtime: Runtime, file: ChatFile, preview: ImportPreview, arguments: Namespace) -> Imported:
    for done in runtime.import_conversations(file, preview, arguments.mode, arguments.me, Progress):
        pass
    return done


def _told(done: Imported) -> str:
    return (
        f"{done.name}: {done.taken} exchanges read, {done.kept} kept (import {done.id};"
        f" idletune forget --source {done.id} removes them)"
    )


def export(arguments: Namespace) -> None:
    """Write what was learned to a file outside of the home, which is recorded."""
    with store_of(arguments) as store:
        if arguments.what == "answers":
            count = export_answers(store, arguments.out, opened(store, settings_of(arguments)).system)
            print(f"{count} answers in {arguments.out}, not encrypted: keep it safe")
            return
        base = model_of(arguments)
        adapter = export_adapter(Adapters(store, sha256(*model_paths(base))), arguments.out, base, arguments.version)
        print(f"adapter {adapter.version} in {arguments.out}, not encrypted: it holds what it learned from")
