"""Methods on what it has learned from: sets, forget_all."""

from collections import Counter
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...selection.search import WHICH, search
from ...state.reach import REACHES
from ..errors import INVALID_PARAMS, RpcError
from ..schema import LARGEST_ID, array, boolean, integer, object_, text
from .adapter_changes import adapter_changes_announced
from .declaration import Call, method
from .privacy import FORGOTTEN
from .prompts import dismissals_announced

if TYPE_CHECKING:  # loads numerical libraries
    from ...dialogue import DialogueSet

MOST_AT_ONCE = 100
MOST_FORGOTTEN = 10_000


@method(
    "sets",
    (
        text("search", "only those that hold all these words", required=False, longest=1000),
        text("which", "all, or those with or without the user's answer", required=False, choices=WHICH),
        integer("skip", "leave out so many of the newest", required=False, least=0, most=LARGEST_ID),
        integer("limit", "at most so many; as it comes the most", required=False, least=1, most=MOST_AT_ONCE),
    ),
    (
        integer("found", "how many there are"),
        array("ids", f"the ids of all that were found, the newest first, at most {MOST_FORGOTTEN}"),
        array(
            "sets",
            "the newest first: id, question, reply, response (the user's answer or null), created, answered_at, domain,"
            " origin and answer_origin (who asked and who answered), learned_in (the adapter that learned it, or null)",
        ),
        object_("counts", "of all sets: total, answered, learned, and domains (sets by domain)"),
    ),
)
def sets(call: Call, search: str = "", which: str = WHICH[0], skip: int = 0, limit: int = MOST_AT_ONCE) -> dict:
    """The dialogue sets that are kept, all or those found by a search."""
    kept = call.shared.opened().buffer.sets()
    found = _found(kept, search, which)
    return {
        "found": len(found),
        "ids": [each.id for each in found[:MOST_FORGOTTEN]],
        "sets": [_described(each) for each in found[skip : skip + limit]],
        "counts": _counts(kept),
    }


@method(
    "forget_all",
    (
        array("ids", f"the dialogue sets, at most {MOST_FORGOTTEN}"),
        text("descendants", "as for forget", required=False, choices=REACHES),
        boolean("dry_run", "say what would go; change nothing", required=False),
    ),
    FORGOTTEN,
)
def forget_all(call: Call, ids: list, descendants: str = REACHES[0], dry_run: bool = False) -> dict:
    """Remove several dialogue sets at once, as forget does one: all of them or none."""
    _check_ids(ids)
    if dry_run:
        return call.shared.opened().preview_forget_all(ids, descendants).to_dict()
    with (
        call.shared.model(call.client) as runtime,
        adapter_changes_announced(call, runtime),
        dismissals_announced(call, runtime),
    ):
        return runtime.forget_all(ids, descendants).to_dict()


def _found(kept: "list[DialogueSet]", words: str, which: str) -> "list[DialogueSet]":
    """Newest first."""
    return search(reversed(kept), words, which)


def _described(kept: "DialogueSet") -> dict:
    return {
        "id": kept.id,
        "question": kept.question,
        "reply": kept.reply,
        "response": kept.response,
        "created": kept.created,
        "answered_at": kept.tags["answered_at"],
        "domain": kept.domain,
        "origin": kept.origin,
        "answer_origin": kept.answer_origin,
        "learned_in": kept.tags["learned_in"],
    }


def _counts(kept: "list[DialogueSet]") -> dict:
    return {
        "total": len(kept),
        "answered": sum(each.response is not None for each in kept),
        "learned": sum(each.tags["learned_in"] is not None for each in kept),
        "domains": dict(Counter(each.domain for each in kept).most_common()),
    }


def _check_ids(ids: list) -> None:
    if not all(type(id) is int and 0 < id <= LARGEST_ID for id in ids):
        raise RpcError(INVALID_PARAMS, "parameter ids takes whole numbers from 1 up")
    if len(ids) > MOST_FORGOTTEN:
        raise UsageError(f"{len(ids)} dialogue sets are named; forget at most {MOST_FORGOTTEN} at once")
