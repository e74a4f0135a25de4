"""ChatterUI's export: one chat (Chatlogs-NAME-ID.json) with `messages`, each with `swipes`, of which one was kept.

Rows of its database as JSON: a message has `is_user`, `name`, `order` and `swipe_id`, a swipe `swipe` (its text) and
`send_date`. Source: github.com/Vali-98/ChatterUI, db/schema.ts and the chat drawer's export.
"""

from collections.abc import Iterator

from .format import RecordFormat
from .messages import Malformed, Message, Skipped, field
from .times import moment


class ChatterUi(RecordFormat):
    name, title = "chatterui", "a ChatterUI chat"

    def fits(self, record: dict) -> bool:
        messages = record.get("messages")
        return isinstance(messages, list) and any(isinstance(m, dict) and "swipes" in m for m in messages)

    def messages(self, record: dict) -> Iterator[Message | Skipped]:
        entries = field(record, "messages", list)
        for entry in sorted(entries, key=lambda entry: field(entry, "order", int, 0)):
            swipes, chosen = field(entry, "swipes", list), field(entry, "swipe_id", int, 0)
            if not swipes:
                continue
            if not 0 <= chosen < len(swipes):
                raise Malformed("a message keeps an answer that is not there")
            text = field(swipes[chosen], "swipe", str)
            yield Message(not field(entry, "is_user", bool), text, moment(swipes[chosen].get("send_date")))
