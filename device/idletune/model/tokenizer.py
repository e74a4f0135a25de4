"""Text to tokens and back from a tokenizer.json, in plain Python: for phones without llama.cpp.

Byte-pair encoding (Sennrich et al. 2016) in its two forms: over bytes, word by word (GPT-2), and over characters, with
bytes as the fallback for unknown ones (SentencePiece). Python's `re` has no \\p{L}: classes of general categories are
written out as ranges, from `unicodedata`. What cannot be written out refuses the model by name.
"""

import heapq
import json
import re
import sys
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

from ..errors import DamagedDataError, UsageError
from ..small_files import read_json_object

SPACE = "▁"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Unicode's White_Space; Python's \s also takes four control characters.
CLASS = re.compile(r"\\p\{(Lu|Lt|Lm|Lo|Ll|[LMNPSZ])\}|\\.|.", re.DOTALL)
WHITE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


class Tokenizer:
    """Raises UsageError for a kind of tokenizer that is not known, DamagedDataError for a malformed file."""

    def __init__(self, path: Path):
        try:
            description = read_json_object(Path(path), "a BPE tokenizer file", "copy the bundle again")
            model = description["model"]
            self._ids: dict[str, int] = model["vocab"]
            merges = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DamagedDataError(f"{path} is not a BPE tokenizer file; copy the bundle again") from None
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._texts = {id: text for text, id in self._ids.items()}
        added = description.get("added_tokens") or []
        self._texts |= {token["id"]: token["content"] for token in added}
        self._special = {token["content"]: token["id"] for token in added if token.get("special")}
        self._plain = {token["content"]: token["id"] for token in added if not token.get("special")}
        self._byte_level = not model.get("byte_fallback", False)
        self._prefix = not self._byte_level and "Prepend" in json.dumps(description.get("normalizer"))
        self._patterns = _pre_tokenizer(description.get("pre_tokenizer")) if self._byte_level else []
        # A word that is a token as a whole is not put together by merges, as in Llama 3's and Mistral's files.
        self._whole_words = self._byte_level and bool(model.get("ignore_merges"))
        self._unknown = self._ids.get(model.get("unk_token"))
        self._word = lru_cache(maxsize=20_000)(self._merge)

    @property
    def special(self) -> dict[str, int]:
        """Text -> id of the control tokens."""
        return self._special

    @property
    def user_defined(self) -> dict[str, int]:
        """Text -> id of the tokens that were added by hand and are read in any text."""
        return self._plain

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
        for pattern in self._patterns:
            words = [piece for word in words for piece in _isolated(pattern, word)]
        printable = _to_printable()
        texts = ("".join(printable[byte] for byte in word.encode("utf-8", "replace")) for word in words)
        pieces = (piece for text in texts for piece in self._pieces(text))
        return [self._ids[piece] for piece in pieces if piece in self._ids]

    def _pieces(self, word: str) -> list[str]:
        return [word] if self._whole_words and word in self._ids else self._word(word)

    def _encode_pieces(self, text: str) -> list[int]:
        text = (" " if self._prefix else "") + text  # also behind a control token, as at the beginning
        ids = []
        for piece in self._merge(text.replace(" ", SPACE)):
            if piece in self._ids:
                ids.append(self._ids[piece])
            else:
                ids += [self._ids.get(f"<0x{byte:02X}>", self._unknown) for byte in piece.encode("utf-8", "replace")]
        return ids

    def _merge(self, text: str) -> list[str]:
        """Merge neighbouring pieces, the pair of the lowest rank first, the leftmost among equals."""
        pieces: list[str | None] = [*text]
        following = [*range(1, len(text)), -1]
        before = list(range(-1, len(text) - 1))
        pairs = enumerate(zip(text, text[1:]))
        queue = [(rank, i) for i, pair in pairs if (rank := self._ranks.get(pair)) is not None]
        heapq.heapify(queue)
        while queue:
            rank, i = heapq.heappop(queue)
            j = following[i]
            first, second = pieces[i], pieces[j]
            if first is None or second is None or j < 0 or self._ranks.get((first, second)) != rank:
                continue  # one of the two was merged with another meanwhile
            pieces[i], pieces[j] = first + second, None
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
    """Matches and the text between them, in order."""
    parts, at = [], 0
    for match in pattern.finditer(text):
        parts += [text[at : match.start()], match.group()]
        at = match.end()
    return [part for part in (*parts, text[at:]) if part]


def _pre_tokenizer(description: dict | None) -> list[re.Pattern]:
    """The patterns by which text is split into words, one after the other."""
    steps = (description or {}).get("pretokenizers", [description] if description else [])
    patterns = []
    for step in steps:
        kind = step.get("type")
        if kind == "Digits" and step.get("individual_digits"):
            patterns.append(r"\p{N}")
        elif kind == "Split" and "Regex" in step.get("pattern", {}) and _isolates(step):
            patterns.append(step["pattern"]["Regex"])
        elif kind == "ByteLevel":
            patterns += [GPT2] if step.get("use_regex", True) else []
        else:
            raise UsageError(f"the tokenizer cuts text by {kind!r}, which is not known here; use the llama.cpp backend")
    return [_compiled(pattern) for pattern in patterns]


def _isolates(step: dict) -> bool:
    """Whether a step keeps its matches as words of their own."""
    return step.get("behavior", "Isolated") == "Isolated" and not step.get("invert", False)


def _compiled(pattern: str) -> re.Pattern:
    try:
        return re.compile(_spelled_out(pattern))
    except (re.error, OverflowError) as error:
        raise UsageError(
            f"the tokenizer cuts text by {pattern[:80]!r}, which cannot be read here ({error}); "
            "use the llama.cpp backend"
        ) from None


def _spelled_out(pattern: str) -> str:
    """A pattern whose \\p{...}, \\s and \\S are ranges. re.error for a class that is not known."""
    out, inside = [], False
    for match in CLASS.finditer(pattern):
        part, category = match.group(), match[1]
        intersection = inside and pattern.startswith("&&", match.start())
        if part in (r"\p", r"\P", r"\X") or (inside and part == r"\S") or intersection:
            raise re.error(f"the class {pattern[match.start() : match.start() + 10]!r} is not known")
        inside = part == "[" or (inside and part != "]")
        ranges = _characters(category) if category else WHITE if part in (r"\s", r"\S") else None
        if ranges is None:
            out.append(part)
        else:
            out.append(ranges if inside else f"[{'^' if part == chr(92) + 'S' else ''}{ranges}]")
    return "".join(out)


@cache
def _characters(category: str) -> str:
    """All characters of a general category (L, N, Lu ...), as ranges for a character class."""
    ranges, start = [], None
    for code in range(sys.maxunicode + 2):
        member = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(category)
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
