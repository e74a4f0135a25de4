import pytest
from idletune.errors import UsageError
from idletune.state.bins import BIN_BYTES, check_bin


def test_a_bin_is_counted_in_utf8_bytes():
    check_bin(("é" * 5, "a" * 6), embedding_bytes=4, limit=20)
    with pytest.raises(UsageError, match=r"21 bytes \(17 of text, 4 of embedding\) .* 20 bytes of a bin"):
        check_bin(("é" * 5, "a" * 7), embedding_bytes=4, limit=20)


def test_half_a_character_is_refused():
    with pytest.raises(UsageError, match="half a character at position 2"):
        check_bin(("ab\ud83d",), 0, BIN_BYTES)
