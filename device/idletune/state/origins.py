"""Where an exchange or an answer came from, in a few words that `status` can show.

An origin names the door and who stood behind it, as far as that can be known; it holds none of the user's words.
"" is what an earlier version kept: not known.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from ..errors import UsageError
from .store import Store

HOUR = 3600.0  # seconds
TERMINAL = "terminal"  # idletune chat, idletune answer
HOST = "app"  # the program that has the runtime in its own process: an Android app, a Python program
TERMUX = "Termux notification"
REPLAY = "replay"
WEB_PAGE = "web page"
HTTP_CLIENT = "HTTP client"  # any program that has the token: what it calls itself would be its own choice
IMPORT = "import"  # a file of conversations; imports.py knows which
OBSERVED = ", observed"
MOST_KEPT = 20  # pairs of doors recorded with an adapter
LONGEST_NAME = 40  # characters of a client's name


def client(name: str) -> str:
    """The origin of what a client of the socket sends; its name is cut, and cleared of what is not printed."""
    plain = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", name))
    return f"client {' '.join(plain.split())[:LONGEST_NAME] or 'unnamed'}"


def observed(origin: str) -> str:
    """That of an exchange which another model or a person answered, given over `observe`."""
    return f"{origin}{OBSERVED}"


def is_chat(origin: str) -> bool:
    """Whether an exchange was had with the model here; of one observed or imported, the words may be another's."""
    return not origin.startswith(IMPORT) and not origin.endswith(OBSERVED)


def notified(origin: str) -> str:
    """That of an answer given on a notification which a program of this origin put up."""
    return f"{origin}, notification"


def shares(sets: Iterable) -> list[dict]:
    """From which doors dialogue sets came and were answered, the most frequent first: asked, answered, sets, share."""
    found = Counter((s.origin, s.answer_origin) for s in sets)
    whole = found.total()
    return [
        {"asked": asked, "answered": answered, "sets": count, "share": round(count / whole, 3)}
        for (asked, answered), count in found.most_common(MOST_KEPT)
    ]


def told(origins: list[dict]) -> str:
    """The same in words."""
    return ", ".join(f"{part['share']:.0%} {_pair(part['asked'], part['answered'])}" for part in origins)


def _pair(asked: str, answered: str) -> str:
    asked, answered = asked or "not known", answered or "not known"
    return asked if asked == answered else f"{asked} answered by {answered}"


def count_observed(store: Store, origin: str, limit: int) -> None:
    """Count an exchange that is given to `observe`; UsageError when its origin gave `limit` of them this hour.

    An hour begins with the first exchange after the last one's end, or when the clock was put back.
    """
    now = store.clock()
    with store.transaction() as db:
        row = store.row("SELECT since, count FROM observed WHERE origin = ?", origin)
        since, count = row if row and 0 <= now - row["since"] < HOUR else (now, 0)
        if count >= limit:
            minutes = int((since + HOUR - now) // 60) + 1
            raise UsageError(
                f"{count} exchanges came from {origin} within the hour, {limit} is the limit (observe_hour);"
                f" give more in {minutes} minutes"
            )
        db.execute("INSERT OR REPLACE INTO observed VALUES (?, ?, ?)", (origin, since, count + 1))
