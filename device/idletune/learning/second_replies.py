"""Second replies to the next questions of the day, written in the idle window (state/second_replies.py)."""

from collections.abc import Callable

from ..dialogue import UNKNOWN, DialogueSet
from ..errors import UsageError
from ..model.reply import Reply
from ..progress import Bars
from ..selection.buffer import Buffer
from ..settings import Settings
from ..state import provenance, second_replies
from ..state.bins import check_bin, size_of_embeddings
from ..state.second_replies import SecondReply
from ..state.store import Store
from .cancellation import Cancellation
from .rouge import rouge1

TRIES = 3  # replies drawn until one differs
NONE_FOUND = SecondReply("", UNKNOWN)
Write = Callable[[DialogueSet, int, Callable[[], bool]], Reply]  # to a set's question, by number; until asked to stop


def write_second_replies(
    store: Store, buffer: Buffer, settings: Settings, write: Write, cancellation: Cancellation, bars: Bars
) -> bool:
    """Write what is due; False when cancelled, the rest stays due."""
    due = second_replies.due(store, settings.ask_choices, settings.daily_limit)
    with bars("second replies", len(due)) as bar:
        for done, id in enumerate(due, start=1):
            if id not in buffer:  # another process removed it
                continue
            found = _differing(buffer.get(id), buffer.bin_bytes, settings, write, cancellation)
            if found is None:
                return False
            with store.transaction():
                if not provenance.is_forgotten(store, found.provenance):  # else it is written anew in the next slice
                    second_replies.record(store, id, *found)
            bar(done)
    return True


def _differing(
    kept: DialogueSet, bin_bytes: int, settings: Settings, write: Write, cancellation: Cancellation
) -> SecondReply | None:
    """A reply that says something else than the set's own, and fits its bin beside it; None when cancelled."""
    for number in range(1, TRIES + 1):
        if cancellation.requested():
            return None
        reply = write(kept, number, cancellation.requested)
        if reply.stop == "asked":
            return None
        text = reply.text.strip()
        if text and not _is_copy(text, kept.reply, settings.rouge_most) and _fits(kept, text, bin_bytes):
            return SecondReply(text, reply.provenance)
    return NONE_FOUND


def _is_copy(text: str, other: str, most: float) -> bool:
    return text == other.strip() or rouge1(text, other) > most


def _fits(kept: DialogueSet, text: str, bin_bytes: int) -> bool:
    try:
        check_bin((kept.question, kept.reply, text), size_of_embeddings(len(kept.embedding)), bin_bytes)
    except UsageError:
        return False
    return True
