"""Seeded damage: of bytes, of JSON, of a GGUF's header."""

import copy
import json
import random
import struct

ODD_VALUES = (
    None,
    "",
    "x" * 100_000,
    "../../victim.txt",
    "/etc/passwd",
    "a\0b",
    "\ud83d",
    "२",
    [],
    {},
    [None],
    {"": None},
    [[[[[[[[[[1]]]]]]]]]],
    True,
    0,
    -1,
    1 << 31,
    1 << 63,
    1 << 64,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("-inf"),
)
ODD_TEXTS = (
    b"",
    b"\0" * 64,
    b"null",
    b"[]",
    b'"x"',
    b"[" * 100_000,
    b'{"a":' * 20_000,
    b"\xff\xfe{\0}\0",
    b"\xef\xbb\xbf{}",
    b"{} {}",
    b'{"a": 1, "a": 2}',
    b'{"a": ' + b"9" * 10_000 + b"}",
    b'{"\\ud83d": 1}',
    b"{'a': 1}",
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Flipped bits, zeros, huge lengths, a cut, a piece twice or missing, or other bytes altogether."""
    kind = chance.choice((_flip, _flip, _overwrite, _lengths, _cut, _twice, _missing, _other))
    return kind(data, chance)


def damaged_json(text: bytes, chance: random.Random) -> bytes:
    """A value or a key of a JSON document replaced by an odd one; now and then the whole text, or some bytes."""
    if chance.random() < 0.25:
        return chance.choice(ODD_TEXTS)
    if chance.random() < 0.15:
        return damaged(text, chance)
    value = copy.deepcopy(json.loads(text))
    for _ in range(chance.randint(1, 2)):
        places = list(_places(value))
        if not places:
            break
        holder, key = chance.choice(places)
        if isinstance(holder, dict) and chance.random() < 0.2:
            holder[chance.choice(("", "x" * 300, "../x", "\ud83d", "a\0"))] = holder.pop(key)
        elif chance.random() < 0.1:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(chance.choice(ODD_VALUES))  # a list of them may be damaged next
    return json.dumps(value).encode()


def damaged_gguf(data: bytes, keys: list[str], chance: random.Random) -> bytes:
    """Mostly in the header: what stands behind a key, or names a tensor; else anywhere."""
    if chance.random() < 0.3:
        return damaged(data, chance)
    key = chance.choice(keys).encode()
    at = data.find(struct.pack("<Q", len(key)) + key)
    if at < 0:
        return damaged(data, chance)
    at += 8 + len(key) + chance.choice((0, 4, 4, 4, 8, 12))  # the value's kind, the value, a string's text
    put = chance.choice(
        (
            struct.pack("<I", chance.choice((0, 1, 2, 3, 7, 31, 255, 1 << 16, 1 << 31, 0xFFFFFFFF))),
            struct.pack("<Q", chance.choice((0, 1, 1 << 20, 1 << 40, (1 << 63) - 1, (1 << 64) - 1))),
            struct.pack("<f", chance.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))),
            bytes([chance.randrange(256)]),
        )
    )
    return data[:at] + put + data[at + len(put) :]


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 4, 32)) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    at, n = chance.randrange(len(data) + 1), chance.choice((1, 4, 8, 64, 512, 4096))
    put = chance.choice((bytes(n), b"\xff" * n, chance.randbytes(n)))
    return data[:at] + put[: max(0, len(data) - at)] + data[at + n :]


def _lengths(data: bytes, chance: random.Random) -> bytes:
    """A huge number where lengths tend to stand: aligned, and in the beginning."""
    at = chance.randrange(0, max(1, min(len(data), chance.choice((64, 512, len(data) or 1)))), 4)
    put = chance.choice((b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0\0\0\0\xff\xff\0\0", b"\0\0\0\x80"))
    return data[:at] + put + data[at + len(put) :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _twice(data: bytes, chance: random.Random) -> bytes:
    at, n = chance.randrange(len(data) + 1), chance.choice((1, 16, 512, 4096))
    return data[: at + n] + data[at : at + n] + data[at + n :]


def _missing(data: bytes, chance: random.Random) -> bytes:
    at, n = chance.randrange(len(data) + 1), chance.choice((1, 16, 512, 4096))
    return data[:at] + data[at + n :]


def _other(data: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"", bytes(len(data)), chance.randbytes(min(len(data), 5000)), b"GGUF" + data[4:][::-1]))


def _places(value):
    """Every (holder, key) of a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)
