"""Text to tokens and back from a tokenizer.json, in plain Python: for phones without llama.cpp.

Byte-pair encoding (Sennrich et al. 2016) in its two forms: over bytes, word by word (GPT-2), and over
characters with bytes for those no piece has (SentencePiece). Python's `re` knows no \\p{L}, so the
character classes are spelled out from `unicodedata`.
"""

import heapq
import json
import re
import sys
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

from ..errors import DamagedDataError, UsageError

SPACE = "▁"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Unicode's White_Space; Python's \s also takes four control characters.
WHITE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


class Tokenizer:
    """Raises UsageError for a kind of tokenizer that is not known, DamagedDataError for a malformed file."""

    def __init__(self, path: Path):
        try:
            description = json.loads(Path(path).read_text(encoding="utf-8"))
            model = description["model"]
            self._ids: dict[str, int] = model["vocab"]
            merges = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise DamagedDataError(f"{path} is not a BPE tokenizer file; copy the bundle again") from None
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._texts = {id: text for text, id in self._ids.items()}
        added = description.get("added_tokens") or []
        self._texts |= {token["id"]: token["content"] for token in added}
        self._special = {token["content"]: token["id"] for token in added if token.get("special")}
        self._plain = {token["content"]: token["id"] for token in added if not token.get("special")}
        self._byte_level = not model.get("byte_fallback", False)
        self._prefix = not self._byte_level and "Prepend" in json.dumps(description.get("normalizer"))
        self._cuts = _cuts(description.get("pre_tokenizer")) if self._byte_level else []
        self._unknown = self._ids.get(model.get("unk_token"))
        self._word = lru_cache(maxsize=20_000)(self._merge)

    @property
    def special(self) -> dict[str, int]:
        """Text -> id of the control tokens."""
        return self._special

    def encode(self, text: str, special: bool) -> list[int]:
        """Token ids; with `special`, the text of control tokens becomes those tokens."""
        known = self._plain | self._special if special else self._plain
        ids = []
        for part in _split(text, known):
            if part in known:
                ids.append(known[part])
            elif part:
                ids += self._encode_words(part) if self._byte_level else self._encode_pieces(part)
        return ids

    def piece(self, token: int) -> bytes:
        """A token's bytes; nothing for a control token."""
        text = self._texts.get(token, "")
        if text in self._special:
            return b""
        if self._byte_level:
            return text.encode() if text in self._plain else bytes(_from_printable().get(c, 32) for c in text)
        if re.fullmatch("<0x[0-9A-F]{2}>", text):
            return bytes([int(text[3:5], 16)])
        return text.replace(SPACE, " ").encode()

    def text(self, token: int) -> str:
        return self._texts.get(token, "")

    def _encode_words(self, text: str) -> list[int]:
        words = [text]
        for pattern in self._cuts:
            words = [piece for word in words for piece in _isolated(pattern, word)]
        printable = _to_printable()
        return [
            self._ids[piece] for word in words
            for piece in self._word("".join(printable[byte] for byte in word.encode("utf-8", "replace")))
        ]

    def _encode_pieces(self, text: str) -> list[int]:
        text = (" " if self._prefix else "") + text  # after every token that was cut out, as at the beginning
        ids = []
        for piece in self._merge(text.replace(" ", SPACE)):
            if piece in self._ids:
                ids.append(self._ids[piece])
            else:
                ids += [self._ids.get(f"<0x{byte:02X}>", self._unknown) for byte in piece.encode("utf-8", "replace")]
        return ids

    def _merge(self, text: str) -> list[str]:
        """Merge neighbours, the pair that was learned first before all others, leftmost among equals."""
        pieces, following = list(text), [*range(1, len(text)), -1]
        before = list(range(-1, len(text) - 1))
        pairs = enumerate(zip(text, text[1:]))
        queue = [(rank, i) for i, pair in pairs if (rank := self._ranks.get(pair)) is not None]
        heapq.heapify(queue)
        while queue:
            rank, i = heapq.heappop(queue)
            j = following[i]
            if pieces[i] is None or j < 0 or self._ranks.get((pieces[i], pieces[j])) != rank:
                continue  # one of the two was merged with another meanwhile
            pieces[i], pieces[j] = pieces[i] + pieces[j], None
            following[i] = following[j]
            if following[i] >= 0:
                before[following[i]] = i
            for left in (before[i], i):
                right = following[left] if left >= 0 else -1
                if right >= 0 and (rank := self._ranks.get((pieces[left], pieces[right]))) is not None:
                    heapq.heappush(queue, (rank, left))
        return [piece for piece in pieces if piece is not None]


def _split(text: str, known: dict[str, int]) -> list[str]:
    """The text cut at known tokens, the longest first; they stay as parts of their own."""
    if not known:
        return [text]
    return re.split("(" + "|".join(re.escape(t) for t in sorted(known, key=len, reverse=True)) + ")", text)


def _isolated(pattern: re.Pattern, text: str) -> list[str]:
    """Matches and what lies between them, in order."""
    parts, at = [], 0
    for match in pattern.finditer(text):
        parts += [text[at : match.start()], match.group()]
        at = match.end()
    return [part for part in (*parts, text[at:]) if part]


def _cuts(description: dict | None) -> list[re.Pattern]:
    steps = (description or {}).get("pretokenizers", [description] if description else [])
    patterns = []
    for step in steps:
        kind = step.get("type")
        if kind == "Digits" and step.get("individual_digits"):
            patterns.append(r"\p{N}")
        elif kind == "Split" and "Regex" in step.get("pattern", {}):
            patterns.append(step["pattern"]["Regex"])
        elif kind == "ByteLevel":
            patterns += [GPT2] if step.get("use_regex", True) else []
        else:
            raise UsageError(f"the tokenizer cuts text by {kind!r}, which is not known here; use the llama.cpp backend")
    return [re.compile(_spelled_out(pattern)) for pattern in patterns]


def _spelled_out(pattern: str) -> str:
    """A pattern whose \\p{L}, \\p{N}, \\s and \\S are ranges."""
    out, inside = [], False
    for part in re.findall(r"\\p\{[LN]\}|\\.|.", pattern, re.DOTALL):
        inside = part == "[" or (inside and part != "]")
        ranges = _letters_or_numbers(part[3]) if part.startswith("\\p") else WHITE if part in (r"\s", r"\S") else None
        if ranges is None:
            out.append(part)
        else:
            out.append(ranges if inside else f"[{'^' if part == chr(92) + 'S' else ''}{ranges}]")
    return "".join(out)


@cache
def _letters_or_numbers(which: str) -> str:
    """All characters of a general category (L or N), as ranges for a character class."""
    ranges, start = [], None
    for code in range(sys.maxunicode + 2):
        member = code <= sys.maxunicode and unicodedata.category(chr(code))[0] == which
        if member and start is None:
            start = code
        elif not member and start is not None:
            ranges.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    return "".join(ranges)


@cache
def _to_printable() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


@cache
def _from_printable() -> dict[str, int]:
    return {text: byte for byte, text in enumerate(_to_printable())}
