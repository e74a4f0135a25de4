"""The buffer's embeddings brought up to an adapter that was promoted, set by set, in as many windows as it takes.

New exchanges are embedded while they are generated, by the adapted model; this keeps the older ones
comparable, paid once per adapter and not in the user's time.
"""

from collections.abc import Callable

from ..selection.buffer import Buffer
from ..state.store import Store

LAST, DONE = "embeddings due up to", "embeddings refreshed up to"  # counters holding ids of dialogue sets


def embeddings_due(store: Store) -> range:
    """Ids among which are the sets that still carry an earlier model's embeddings."""
    return range(store.counter(DONE) + 1, store.counter(LAST) + 1)


def mark_due(store: Store) -> None:
    """All sets there are have to be embedded anew."""
    newest = store.row("SELECT coalesce(max(id), 0) AS id FROM dialogue_sets")["id"]
    _put(store, LAST, newest)
    _put(store, DONE, 0)


def refresh(store: Store, buffer: Buffer, embed: Callable, reading: str, should_stop: Callable[[], bool], bars) -> bool:
    """Embed what is due with `embed(set) -> TokenEmbeddings`; False when stopped, the rest stays due."""
    due = embeddings_due(store)
    sets = [kept for kept in buffer.sets() if kept.id in due]
    with bars("embedding", len(sets)) as bar:
        for done, kept in enumerate(sets, start=1):
            if should_stop():
                return False
            embedded = embed(kept)  # outside the transaction, or another process would wait for the model
            with store.transaction():
                if kept.id in buffer:
                    buffer.refresh(kept.id, embedded, reading)
                _put(store, DONE, kept.id)
            bar(done)
    _put(store, DONE, store.counter(LAST))
    return True


def _put(store: Store, name: str, value: int) -> None:
    with store.transaction():
        store.count(name, value - store.counter(name))
