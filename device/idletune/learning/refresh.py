"""The buffer's embeddings brought up to an adapter that was promoted, set by set, in as many windows as it takes.

New exchanges are embedded while they are generated, by the adapted model; this keeps the older ones
comparable, paid once per adapter and not in the user's time.
"""

from collections.abc import Callable

from ..dialogue import DialogueSet, TokenEmbeddings
from ..progress import Bars
from ..selection.buffer import Buffer
from ..state.set_records import embeddings_due, record_embedded
from ..state.store import Store
from .cancellation import Cancellation


def refresh(
    store: Store,
    buffer: Buffer,
    embed: Callable[[DialogueSet], TokenEmbeddings],
    reading: str,
    cancellation: Cancellation,
    bars: Bars,
) -> bool:
    """Embed what is due with `embed(set) -> TokenEmbeddings`; False when cancelled, the rest stays due."""
    due = set(embeddings_due(store))
    sets = [(kept.id, kept) for kept in buffer.sets() if kept.id is not None and kept.id in due]
    with bars("embedding", len(sets)) as bar:
        for done, (id, kept) in enumerate(sets, start=1):
            if cancellation.requested():
                return False
            embedded = embed(kept)  # outside the transaction, or another process would wait for the model
            with store.transaction():
                if id in buffer:
                    buffer.refresh(id, embedded, reading)
                record_embedded(store, id)
            bar(done)
    return True
