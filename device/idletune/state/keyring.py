"""The keys of a home: the host's key wraps the data keys in the database, the newest of which encrypts.

Changing the key: one transaction wraps a new data key and encrypts every row with it. The files follow one by
one, each renamed into place; as they name the data key they were encrypted with, the old ones open until all
have followed, and only then the old data keys go. A kill anywhere is made good at the next start.
The first key of a plain home is the same change, from no key.
"""

import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DamagedDataError, IdleTuneError, UsageError
from ..small_files import decode, user_path
from . import private_settings
from .cipher import (
    ENCRYPTED_COLUMNS,
    KEY_BYTES,
    NONCE_BYTES,
    Cipher,
    NullCipher,
    aes_gcm,
    data_key_of,
    decrypt_row,
    encrypt_row,
    invalid_tag,
)
from .files import CHECKPOINT, Files

if TYPE_CHECKING:
    from .store import Store

PLAIN_HASHES = ("never_ask", "question_hash"), ("imported_exchanges", "digest")  # keyed from the first key on
LARGEST_KEY_FILE = 1024  # bytes; digits, line ends and a byte order mark
NOT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def read_key(path: Path) -> bytes:
    """The key in a file of 32 bytes, or of 64 hexadecimal digits, that only its owner can read."""
    path = user_path(path)
    try:
        _check_key_file(path, path.stat())  # before it is opened: opening a device or a FIFO may do things
        # Not blocking, and looked at again: another file may have taken its place meanwhile.
        with open(os.open(path, os.O_RDONLY | NOT_WAITING), "rb") as file:
            _check_key_file(path, os.fstat(file.fileno()))
            data = file.read(LARGEST_KEY_FILE + 1) or b""  # None where one of /proc has nothing to say yet
    except OSError as error:
        raise UsageError(f"cannot read the key file {path} ({error.strerror}); name one of yours") from None
    except ValueError as error:  # a zero byte or half a character in the name
        raise UsageError(f"{str(path)!r} cannot be the name of a key file ({error}); name one of yours") from None
    return checked_key(_key_in(data), f"the key file {path}")


def _check_key_file(path: Path, found: os.stat_result) -> None:
    """UsageError unless it is a regular file of this user's own, closed to others, and small."""
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"cannot read the key file {path} (it is no regular file); name one of yours")
    if os.name == "posix" and found.st_uid != os.geteuid():
        raise UsageError(f"the key file {path} belongs to another user ({found.st_uid}); name one of yours")
    mode = stat.S_IMODE(found.st_mode)
    if os.name == "posix" and mode & 0o077:
        raise UsageError(f"the key file {path} has mode {mode:04o}, others may read it; chmod 600 {path}")
    if found.st_size > LARGEST_KEY_FILE:
        raise UsageError(
            f"the key file {path} has {found.st_size} bytes, more than {LARGEST_KEY_FILE}; it holds {KEY_BYTES} random"
            " bytes, or as many in hexadecimal digits"
        )


def _key_in(data: bytes) -> bytes:
    """The bytes themselves, or those that hexadecimal digits stand for; an editor may have put a UTF-8 BOM before."""
    if len(data) != KEY_BYTES:
        with suppress(ValueError, DamagedDataError):
            return bytes.fromhex(decode(data, "the key"))
    return data


def make_key(path: Path) -> bytes:
    """Write a new random key to a file that does not exist yet, for its owner only; on the disk on return."""
    key = os.urandom(KEY_BYTES)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(f"cannot write the key file {path} ({error.strerror}); name another") from None
    return key


def checked_key(key: bytes, source: str = "the key") -> bytes:
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        size = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise UsageError(f"{source} holds {size}; a key is {KEY_BYTES} random bytes, or as many in hexadecimal digits")
    return key


def open_cipher(store: "Store", key: bytes | None) -> NullCipher | Cipher:
    """What encrypts and opens this home's values. A plain home is encrypted when it is first given a key.

    UsageError for a wrong key, for one that is missing, and without the cryptography package.
    """
    wrapped = store.rows("SELECT id, wrapped FROM data_keys")
    if key is None:
        if wrapped:
            raise UsageError(f"the state in {store.home} is encrypted; give its key: --key-file, or Runtime(key=...)")
        return NullCipher()
    checked_key(key)
    if not wrapped:
        return _replace_data_key(store, key, NullCipher())
    return Cipher({row["id"]: _unwrap(key, row["id"], row["wrapped"], store.home) for row in wrapped})


def check_key(store: "Store", key: bytes) -> None:
    """UsageError unless the home's next start with this key will do: it opens the home, or can encrypt a plain one."""
    aes_gcm(checked_key(key))
    for row in store.rows("SELECT id, wrapped FROM data_keys"):
        _unwrap(key, row["id"], row["wrapped"], store.home)


def rotate(store: "Store", key: bytes) -> None:
    """Encrypt everything with a new data key that only `key` unwraps.

    An error whose text begins with "the new key is in force" came afterwards: the next start does the rest.
    """
    checked_key(key)
    with store.transaction():
        cipher = _replace_data_key(store, key, store.cipher)
    store.cipher = cipher
    try:
        finish(store)
        private_settings.move(store)
        store.scrub()
    except IdleTuneError as error:
        rest = "what is of the old key may still be in a file, until the next start"
        raise type(error)(f"the new key is in force, keep it; {rest}: {error}") from None


def finish(store: "Store") -> None:
    """Bring the files up to the newest data key; then the older ones go, and what they left in the database."""
    cipher = store.cipher
    if not isinstance(cipher, Cipher):
        return
    files = Files(store)
    if store.counter("scrub_owed"):  # what was being written when the key came may be plain
        (store.home / CHECKPOINT).with_suffix(".part").unlink(missing_ok=True)
    with store.transaction():  # one process at a time
        for path in files.private():
            if data_key_of(path.read_bytes()) != cipher.newest:
                files.write(path, files.read(path, plain_too=True))
    if len(cipher.secrets) > 1:
        with store.transaction() as db:
            db.execute("DELETE FROM data_keys WHERE id != ?", (cipher.newest,))
        store.cipher = Cipher({cipher.newest: cipher.secrets[cipher.newest]})


def _replace_data_key(store: "Store", key: bytes, old: NullCipher | Cipher) -> Cipher:
    """In the caller's transaction: a new data key, every row encrypted with it, the old ones wrapped anew."""
    secrets = dict(old.secrets) if isinstance(old, Cipher) else {}
    digest_key = old.digest_key if isinstance(old, Cipher) else os.urandom(KEY_BYTES)
    secrets[old.newest + 1] = os.urandom(KEY_BYTES) + digest_key
    new = Cipher(secrets)
    with store.transaction() as db:
        db.execute("DELETE FROM data_keys")
        wrapped = [(number, _wrap(key, number, secret)) for number, secret in secrets.items()]
        db.executemany("INSERT INTO data_keys (id, wrapped) VALUES (?, ?)", wrapped)
        for table in ENCRYPTED_COLUMNS:
            _encrypt_anew(store, db, table, old, new)
        if not old.newest:
            for table, column in PLAIN_HASHES:
                hashes = [row[column] for row in store.rows(f"SELECT {column} FROM {table}")]
                sql = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"
                db.executemany(sql, [(new.digest(hash), hash) for hash in hashes])
            db.execute("DELETE FROM answer_losses")  # under plain hashes; they are measured again
        store.owe_scrub()
    return new


def _encrypt_anew(store: "Store", db: sqlite3.Connection, table: str, old: NullCipher | Cipher, new: Cipher) -> None:
    columns = ENCRYPTED_COLUMNS[table]
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    for row in store.rows(f"SELECT id, {', '.join(columns)} FROM {table}"):
        values = encrypt_row(new, table, row["id"], decrypt_row(old, table, row["id"], row))
        db.execute(f"UPDATE {table} SET {assignments} WHERE id = :id", values)


def _wrap(key: bytes, number: int, secret: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + aes_gcm(key).encrypt(nonce, secret, _place(number))


def _unwrap(key: bytes, number: int, wrapped: bytes, home: Path) -> bytes:
    cipher = aes_gcm(key)
    try:
        return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _place(number))
    except invalid_tag():
        raise UsageError(f"wrong key for the state in {home}; give the one it was encrypted with") from None


def _place(number: int) -> bytes:
    return f"idletune data key {number}".encode()
