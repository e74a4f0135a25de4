"""Methods on what is kept of the user: forget, copies, export_my_data, rotate_key, erase."""

from contextlib import suppress

from ...errors import UsageError
from ...small_files import user_path
from ...state.reach import REACHES
from ..schema import array, boolean, identifier, integer, path, text
from .adapter_changes import adapter_changes_announced
from .declaration import Call, method
from .prompts import dismissals_announced

FORGOTTEN = (
    array("sets", "the dialogue sets that went, their ids"),
    array("replies", "dialogue sets with the user's own answer, of which the reply went"),
    array("dropped", "adapter versions that went with it"),
    array("prompts", "questions that are open no more"),
    array("copies", "files written before that may still hold it: kind, path, written, there"),
)


@method(
    "forget",
    (
        identifier("id", "the dialogue set"),
        text(
            "descendants",
            "which replies go with it: all written from it (as it comes); those it was shown for, not those an adapter"
            " that knew it wrote; or none",
            required=False,
            choices=REACHES,
        ),
        boolean("dry_run", "say what would go; change nothing", required=False),
    ),
    FORGOTTEN,
)
def forget(call: Call, id: int, descendants: str = REACHES[0], dry_run: bool = False) -> dict:
    """Remove a dialogue set and everything derived from it: replies, adapters. All conversations begin anew."""
    if dry_run:
        return call.shared.opened().preview_forget(id, descendants).to_dict()
    with (
        call.shared.model(call.client) as runtime,
        adapter_changes_announced(call, runtime),
        dismissals_announced(call, runtime),
    ):
        return runtime.forget(id, descendants).to_dict()


@method(
    "copies",
    (boolean("erase_record", "forget where they were written; the files stay", required=False),),
    (array("copies", "kind, path, written (seconds since 1970), there (whether a file is at the path)"),),
)
def copies(call: Call, erase_record: bool = False) -> dict:
    """List the files outside of the home that hold its data. With erase_record the record of them is erased."""
    from ...state import copies as record

    store = call.shared.opened().store
    found = [copy.to_dict() for copy in record.copies(store)]
    if erase_record:
        record.erase_record(store)
    return {"copies": found}


@method(
    "export_my_data",
    (
        path(
            "path",
            "a file that does not exist yet; for its owner only, not encrypted. Left out: data has the lines",
            required=False,
        ),
    ),
    (integer("records", "lines written"), text("data", "the lines, where no path was given", required=False)),
)
def export_my_data(call: Call, path: str | None = None) -> dict:
    """Write everything that is kept of the user as JSON lines, or give it to the caller to save."""
    from ...privacy import download_data, export_data

    store = call.shared.opened().store
    if path is not None:
        return {"records": export_data(store, user_path(path))}
    data = download_data(store)
    return {"records": data.count("\n"), "data": data}


@method(
    "rotate_key",
    (path("path", "the new key's file; made if there is none. Left out: beside the home", required=False),),
    (path("path", "the key's file: without it nothing can be read"),),
)
def rotate_key(call: Call, path: str | None = None) -> dict:
    """Encrypt all that is kept with the key in a file, for the first time or anew; from now on that file is used.

    Not where the host app keeps the key. For the host app and the page alone.
    """
    call.check_person()
    with call.shared.model(call.client) as runtime:
        home = runtime.store.home
        chosen = user_path(path) if path is not None else home.with_name(f"{home.name}.key")
        return {"path": str(runtime.rotate_key_file(chosen.absolute()))}


@method(
    "erase",
    (text("confirm", 'the word "erase"', choices=("erase",)),),
    (integer("files", "how many files of the home were erased"),),
)
def erase(call: Call, confirm: str) -> dict:
    """Erase everything that is kept, for good, and close the runtime: nothing is open afterwards.

    For the host app and the page alone.
    """
    call.check_person()
    from ... import telemetry
    from ...schedule import termux
    from ...state.home import erase as erase_home

    home = call.shared.opened().store.home
    call.shared.close()
    if termux.is_installed(home):
        with suppress(UsageError):  # that the jobs cannot be removed keeps nothing from going
            termux.remove(home)
    telemetry.remove_files()
    return {"files": len(erase_home(home))}
