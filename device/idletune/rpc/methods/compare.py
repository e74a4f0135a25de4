"""The method that shows what was learned: compare."""

from ..errors import CANCELLED, RpcError
from ..schema import integer, text
from .adapter_changes import adapter_changes_announced
from .declaration import Call, method


@method(
    "compare",
    (text("text", "a message"),),
    (
        text("base", "what the base model alone answers"),
        text("learned", "what it answers with the adapter and the user's nearest answers"),
        integer("adapter", "the version that took part, or null", nullable=True),
        integer("shown", "how many of the user's answers it was shown"),
    ),
)
def compare(call: Call, text: str) -> dict:
    """Answer a message twice, with what was learned and without, each without chance.

    Nothing of it is observed or remembered. It is cancelled as a chat is.
    """
    with call.shared.chatting(call.client) as (runtime, should_stop), adapter_changes_announced(call, runtime):
        found = call.shared.compute(lambda: runtime.compare(text, should_stop))
    if "asked" in (found.base.stop, found.learned.stop):
        raise RpcError(CANCELLED, "the comparison was cancelled; nothing of it is kept")
    return {
        "base": found.base.text,
        "learned": found.learned.text,
        "adapter": found.adapter,
        "shown": found.few_shot,
    }
