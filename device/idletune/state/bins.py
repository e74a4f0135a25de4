"""Bins: the bytes that one dialogue set may take on the disk."""

from ..errors import UsageError

BIN_BYTES = 22 * 1024  # as in the paper


def size_of_embeddings(hidden: int) -> int:
    """Bytes of a set's embeddings: the exchange's in float32, the question's in float16."""
    return 6 * hidden


def check_bin(texts: tuple[str, ...], embedding_bytes: int, limit: int) -> None:
    """Raise UsageError unless the texts, as UTF-8, and the embedding fit one bin of `limit` bytes."""
    try:
        text_bytes = sum(len(text.encode("utf-8")) for text in texts)
    except UnicodeEncodeError as error:  # JSON can smuggle half a character in, as \ud83d
        raise UsageError(f"half a character at position {error.start}; send whole Unicode text") from None
    size = text_bytes + embedding_bytes
    if size > limit:
        raise UsageError(
            f"{size} bytes ({text_bytes} of text, {embedding_bytes} of embedding) are more than"
            f" the {limit} bytes of a bin; shorten the text or raise the limit"
        )
