"""Text of a person's or a model's, made safe to show: in a terminal, a notification, a table.

What is taken out is named by category and by name. Joiners and variation selectors stay: Persian is spelled with
ZWNJ, emoji of several parts are held together by ZWJ. `str.isprintable` and `repr` know no difference.
"""

import unicodedata

# Control characters, surrogates, private use, unassigned, line and paragraph separators.
UNSAFE = frozenset(("Cc", "Cs", "Co", "Cn", "Zl", "Zp"))
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # embeddings, overrides, isolates
EMOJI = range(0x1F000, 0x1FB00)  # reserved for emoji as a whole: those newer than this Python's tables stay


def is_safe(character: str) -> bool:
    if character in BIDI_CONTROLS:
        return False
    return unicodedata.category(character) not in UNSAFE or ord(character) in EMOJI


def safe_text(text: str) -> str:
    """The text with its lines and tabs, and no other unsafe character."""
    return text if text.isprintable() else "".join(c for c in text if c in "\n\t" or is_safe(c))


def one_line(text: str, most: int | None = None) -> str:
    """The text as one line of at most `most` characters; where unsafe characters stood is a space."""
    line = " ".join("".join(c if is_safe(c) else _stand_in(c) for c in text).split())
    if most is None or len(line) <= most:
        return line
    return line[: most - 3].rstrip("\u200d") + "..."


def _stand_in(character: str) -> str:
    """Nothing for what has no width, so that no word falls apart."""
    return "" if character in BIDI_CONTROLS else " "
