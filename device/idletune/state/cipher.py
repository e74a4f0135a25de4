"""Encryption at rest: values and files encrypted with AES-256-GCM, each bound to its place.

Design choices:
- What is encrypted names the data key it was encrypted with; the host's key only wraps data keys (keyring.py), so a
  change of keys can be interrupted anywhere.
- The place (table, column and row, or the file's name) is associated data: what was moved does not open.
- Without a key an `NullCipher` stands in and everything stays as it is, readable with any SQLite or GGUF tool.
"""

import hashlib
import hmac
import os
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import DamagedDataError, UsageError

KEY_BYTES = 32  # AES-256
NONCE_BYTES, TAG_BYTES = 12, 16
PART_BYTES = 1 << 20  # of a file, encrypted at once
MAGIC = b"ITS1"
HEADER = struct.Struct(f"<4sI{NONCE_BYTES}s")  # magic, data key, nonce
# The columns that tell what the user talks of, or where he keeps it; the rest is numbers and times.
ENCRYPTED_COLUMNS = {
    "dialogue_sets": ("domain", "embedding", "question_embedding", "question", "reply", "response"),
    "synthetic_sets": ("question", "response"),
    "private_settings": ("value",),
    "copies": ("path",),
    "imports": ("name",),
    "choices": ("rejected",),
    "second_replies": ("reply",),
    "set_labels": ("labels",),
}
BINARY_COLUMNS = ("embedding", "question_embedding")
KEY_CHANGED = "its key was changed by another IdleTune; open it again, with the new key"
Row = sqlite3.Row | dict[str, Any]  # as it is stored, or any part of it


class NullCipher:
    """No key: values pass as they are."""

    newest = 0  # no data key
    overhead = 0

    def encrypt(self, data: bytes, place: str) -> bytes:
        return data

    def parts(self, data: bytes | memoryview, place: str) -> list[bytes | memoryview]:
        return [data]

    def decrypt(self, data: bytes, place: str) -> bytes:
        if data_key_of(data):
            raise UsageError(f"{place} is encrypted: {KEY_CHANGED}")
        return data

    def encrypt_value(self, value: Any, place: str) -> Any:
        return value

    def decrypt_value(self, value: Any, place: str, binary: bool) -> Any:
        if isinstance(value, bytes) and not binary:
            raise UsageError(f"{place} is encrypted: {KEY_CHANGED}")
        return value

    def digest(self, plain_hash: str) -> str:
        return plain_hash


class Cipher:
    """Encrypts with the newest of `secrets` (data key number to 64 bytes), opens with any of them.

    A secret is the data key and, the same in all of them, the key of `digest`.
    """

    overhead = HEADER.size + TAG_BYTES  # bytes an encrypted value is longer

    def __init__(self, secrets: dict[int, bytes]):
        self.secrets, self.newest = secrets, max(secrets)
        self._ciphers = {number: aes_gcm(secret[:KEY_BYTES]) for number, secret in secrets.items()}

    @property
    def digest_key(self) -> bytes:
        return self.secrets[self.newest][KEY_BYTES:]

    def encrypt(self, data: bytes, place: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        encrypted = self._ciphers[self.newest].encrypt(nonce, data, place.encode())
        return HEADER.pack(MAGIC, self.newest, nonce) + encrypted

    def parts(self, data: bytes | memoryview, place: str) -> "EncryptedParts":
        """What `encrypt` gives, in parts: a large file takes no memory for a second and third copy of it."""
        return EncryptedParts(self.secrets[self.newest][:KEY_BYTES], self.newest, data, place)

    def decrypt(self, data: bytes, place: str) -> bytes:
        """The plain bytes. DamagedDataError when they were changed or moved, UsageError for a key not held."""
        number = data_key_of(data)
        if number and number not in self._ciphers:
            raise UsageError(f"{place} does not open: {KEY_CHANGED}")
        try:
            if not number:
                raise ValueError
            return self._ciphers[number].decrypt(HEADER.unpack_from(data)[2], data[HEADER.size :], place.encode())
        except (ValueError, invalid_tag()):
            raise DamagedDataError(f"{place} was changed since it was encrypted; delete it") from None

    def encrypt_value(self, value: str | bytes | None, place: str) -> bytes | None:
        if value is None:
            return None
        return self.encrypt(value.encode() if isinstance(value, str) else value, place)

    def decrypt_value(self, value: bytes | None, place: str, binary: bool) -> str | bytes | None:
        if value is None:
            return None
        data = self.decrypt(value if isinstance(value, bytes) else value.encode(), place)
        return data if binary else data.decode()

    def digest(self, plain_hash: str) -> str:
        """A keyed hash of a hash: short questions cannot be guessed from it."""
        return hmac.new(self.digest_key, plain_hash.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class EncryptedParts:
    """The encrypted bytes of `data` in order; each time they are asked for with a nonce of their own."""

    key: bytes = field(repr=False)
    number: int  # of the data key
    data: bytes | memoryview = field(repr=False)
    place: str

    def __iter__(self) -> Iterator[bytes]:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        nonce = os.urandom(NONCE_BYTES)
        encryptor = Cipher(algorithms.AES(self.key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(self.place.encode())
        yield HEADER.pack(MAGIC, self.number, nonce)
        for start in range(0, len(self.data), PART_BYTES):
            yield encryptor.update(self.data[start : start + PART_BYTES])
        yield encryptor.finalize()
        yield encryptor.tag


def encrypt_row(cipher: NullCipher | Cipher, table: str, id: int, values: dict[str, Any]) -> dict[str, Any]:
    """A row's values with its private columns encrypted; of the others none is touched."""
    columns = ENCRYPTED_COLUMNS[table]
    return {
        name: cipher.encrypt_value(value, f"{table} {id} {name}") if name in columns else value
        for name, value in values.items()
    }


def decrypt_row(cipher: NullCipher | Cipher, table: str, id: int, row: Row) -> dict[str, Any]:
    """The inverse of `encrypt_row`, for a row or any part of it."""
    columns = ENCRYPTED_COLUMNS[table]
    return {
        name: cipher.decrypt_value(row[name], f"{table} {id} {name}", name in BINARY_COLUMNS)
        if name in columns
        else row[name]
        for name in row.keys()
    }


def data_key_of(data: bytes) -> int:
    """The number of the data key some bytes were encrypted with; 0 for plain ones."""
    if len(data) < HEADER.size + TAG_BYTES or data[: len(MAGIC)] != MAGIC:
        return 0
    return HEADER.unpack_from(data)[1]


def aes_gcm(key: bytes):
    """AES-GCM of the `cryptography` package; UsageError where it is not installed."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise UsageError(
            "encryption needs the cryptography package; pip install cryptography"
            " (Termux: pkg install python-cryptography)"
        ) from None
    return AESGCM(key)


def invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
