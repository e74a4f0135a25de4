"""Mutated files of every format: each is read, or ends in one line; nothing else ever escapes."""

import random
import zlib

import pytest
from chat_samples import ME, SAMPLES, zipped
from idletune.chat_files import Skipped, Source, open_chat_file
from idletune.dialogue import Exchange
from idletune.errors import DamagedDataError, UsageError

TRIES = 150  # of each format; benchmarks/fuzz_imports.py makes 100,000
ODD = (b"null", b"-1", b"1e999", b"[]", b"{}", b'""', b'"\\ud83d"', b"\xff", b"\0", b"[[[[", b"true", b"9" * 400)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few bytes removed, doubled, swapped for others or for an odd value; or the end cut off."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((0, 1, 4, 40)))
        new = rng.choice((b"", data[at:end] * 2, bytes([rng.randrange(256)]), rng.choice(ODD)))
        data = data[:at] if rng.random() < 0.1 else data[:at] + new + data[end:]
    return data


def outcome(data: bytes, name: str, forced: bool) -> str:
    """What a file ends in: "read", or the error's class. Anything but a line of text is a fault."""
    try:
        file = open_chat_file(Source("talk", data=data), name if forced else "")
        for found in file.read(ME.get(name, "")):
            assert isinstance(found, (Exchange, Skipped))
            if isinstance(found, Exchange):
                assert (found.question + found.response).encode() and "\0" not in found.question + found.response
        return "read"
    except (UsageError, DamagedDataError) as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return type(error).__name__


@pytest.mark.parametrize("name", SAMPLES)
def test_mutated_files_are_read_or_end_in_one_line(name):
    rng, data = random.Random(zlib.crc32(name.encode())), SAMPLES[name][0]
    seen = {outcome(mutated(data, rng), name, forced=number % 2 == 0) for number in range(TRIES)}
    assert {"read", "DamagedDataError"} <= seen


def test_mutated_archives_as_well():
    rng, data = random.Random(1), zipped(conversations_json=SAMPLES["chatgpt"][0])
    assert {"DamagedDataError"} <= {outcome(mutated(data, rng), "chatgpt", False) for _ in range(TRIES)}
