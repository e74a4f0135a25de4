"""Labels of the situation in which something was said, as the host app knows it: {"place": "office"}.

What they mean is the host's affair; here two are the same or not.
"""

from collections.abc import Mapping

from .errors import UsageError

MOST, LONGEST = 8, 64  # labels, and characters of a name or a value


def checked(given: Mapping) -> dict[str, str]:
    """The labels, ordered by name. UsageError for too many, and for what is no short printable text."""
    if len(given) > MOST:
        raise UsageError(f"{len(given)} labels; {MOST} are the limit")
    for text in (*given, *given.values()):
        if not (isinstance(text, str) and 0 < len(text) <= LONGEST and text.isprintable()):
            raise UsageError(f"a label's name and value are printable texts of 1 to {LONGEST} characters")
    return dict(sorted(given.items()))
