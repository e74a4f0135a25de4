"""Methods that take in what people have: upload, import_preview, import, imports, forget_import."""

from typing import TYPE_CHECKING

from ...chat_files import FORMATS, ChatFile, Source, open_chat_file
from ...small_files import user_path
from ...state.reach import REACHES
from ..errors import CANCELLED, INVALID_PARAMS, RpcError
from ..schema import Field, array, boolean, identifier, integer, number, path, text
from ..uploads import LARGEST_PIECE, LONGEST_NAME
from .adapter_changes import adapter_changes_announced
from .declaration import Call, method
from .privacy import FORGOTTEN
from .prompts import announce_prompt, dismissals_announced

if TYPE_CHECKING:  # loads numerical libraries
    from ...runtime.importing import Imported

STEP_SECONDS = 0.5  # how long whoever chats may wait for an import
FILE: tuple[Field, ...] = (
    path("path", "a file that another program exported, or a zip archive of one; or else upload", required=False),
    Field("upload", "integer", "the number of a file that was uploaded", required=False, least=1),
    text("format", "the format; left out: it is recognized by content", required=False, choices=tuple(FORMATS)),
    text("me", "the user's name in the file, where it has people", required=False, longest=LONGEST_NAME),
)


@method(
    "upload",
    (
        text("data", "the next piece of the file, in Base64", longest=LARGEST_PIECE),
        Field("upload", "integer", "the number of the file; left out: a new one", required=False, least=1),
        text("name", "the new file's name, for people", required=False, longest=LONGEST_NAME),
    ),
    (integer("upload", "the file's number, for this client alone"), integer("bytes", "what is there of it")),
)
def upload(call: Call, data: str, upload: int | None = None, name: str = "") -> dict:
    """Send a file in pieces, for import. It is held in memory until it is imported or the client leaves."""
    number, size = call.dispatcher.uploads.add(call.client, upload, data, name)
    return {"upload": number, "bytes": size}


@method(
    "import_preview",
    FILE,
    (
        text("name", "the file's name"),
        text("format", "what it is, in words"),
        integer("exchanges", "how many of it are new here"),
        integer("to_read", "how many of these the model would read (setting import_limit)"),
        number("first", "when the first was, in seconds since 1970", nullable=True),
        number("last", "when the last was", nullable=True),
        array("examples", "the first three: question, response, at"),
        array("skipped", "what is not imported: reason, count, first (where)"),
        array("people", "where it needs `me` and that was left out: the names that it may be; else empty"),
    ),
)
def import_preview(
    call: Call, path: str | None = None, upload: int | None = None, format: str = "", me: str = ""
) -> dict:
    """Say what a file of conversations holds; nothing is kept."""
    file, runtime = _file(call, path, upload, format), call.shared.opened()
    if not me and (people := file.people()):
        from ...runtime.importing import ImportPreview

        return {**ImportPreview(file.source.name, file.format.title).to_dict(), "people": people}
    return {**runtime.preview_import(file, me).to_dict(), "people": []}


@method(
    "import",
    (
        *FILE,
        text(
            "mode",
            "answers: the responses are the user's own (as it comes); stream: a conversation that may be asked about",
            required=False,
            choices=("answers", "stream"),
        ),
    ),
    (
        integer("id", "the import's number; 0 where nothing was new"),
        text("name", "the file's name"),
        integer("taken", "exchanges that were read"),
        integer("kept", "of them, those that are in the buffer"),
        boolean("finished", "false where cancel ended it; what was taken is kept"),
    ),
)
def import_(
    call: Call,
    path: str | None = None,
    upload: int | None = None,
    format: str = "",
    me: str = "",
    mode: str = "answers",
) -> dict:
    """Import a file of conversations: each exchange once, within a share of the buffer (settings import_share, -limit).

    It takes as long as the model reads, tells its progress as event.import, and lets other calls go first; cancel
    stops it. A file that is imported again goes on where it stood.
    """
    file, runtime = _file(call, path, upload, format), call.shared.opened()
    preview = runtime.preview_import(file, me)
    steps = runtime.import_conversations(file, preview, mode, me)
    done: "Imported | None" = None
    with call.shared.importing(call.client) as run:
        more = True
        while more:
            found, more = run(runtime, steps, STEP_SECONDS)
            done = found or done
            if done is not None:
                call.dispatcher.announce("event.import", done.id, done=done.taken, total=preview.to_read)
    steps.close()
    if done is None:
        raise RpcError(CANCELLED, "the import was cancelled before it began; nothing of it is kept")
    if upload is not None and done.finished:
        call.dispatcher.uploads.drop(call.client, upload)
    announce_prompt(call, runtime)
    return done.to_dict()


@method(
    "imports",
    result=(
        array(
            "imports",
            "all, oldest first: id, name, format, mode, started, finished (null: cut short), taken, kept (still there)",
        ),
    ),
)
def imports(call: Call) -> dict:
    """The files that were imported."""
    from ...state.imports import imports as records

    return {"imports": [record.to_dict() for record in records(call.shared.opened().store)]}


@method(
    "forget_import",
    (
        identifier("id", "the import's number"),
        text("descendants", "which replies go with it, as with forget", required=False, choices=REACHES),
        boolean("dry_run", "say what would go; change nothing", required=False),
    ),
    FORGOTTEN,
)
def forget_import(call: Call, id: int, descendants: str = REACHES[0], dry_run: bool = False) -> dict:
    """Forget all that came of an imported file, and that it was imported."""
    from ...privacy import preview_import
    from ...state.imports import find

    find(call.shared.opened().store, str(id))
    if dry_run:
        return preview_import(call.shared.opened().store, id, descendants).to_dict()
    with (
        call.shared.model(call.client) as runtime,
        adapter_changes_announced(call, runtime),
        dismissals_announced(call, runtime),
    ):
        return runtime.forget_import(id, descendants).to_dict()


def _file(call: Call, path: str | None, upload: int | None, format: str) -> ChatFile:
    """The file that a call names. RpcError where it names none, or two."""
    if (path is None) == (upload is None):
        raise RpcError(INVALID_PARAMS, "give either parameter path or parameter upload")
    if path is not None:
        return open_chat_file(Source.of(user_path(path)), format)
    assert upload is not None
    return open_chat_file(call.dispatcher.uploads.source(call.client, upload), format)
