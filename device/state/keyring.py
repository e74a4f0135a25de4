"""The keys of a home: the host's key wraps the data keys in the database, the newest of which seals.

Changing the key: one transaction wraps a new data key and seals every row with it. The files follow one by
one, each renamed into place; as they name the data key they were sealed with, the old ones open until all
have followed, and only then the old data keys go. A kill anywhere is made good at the next start.
The first key of a plain home is the same change, from no key.
"""

import os
from pathlib import Path

from ..errors import IdleTuneError, UsageError
from .files import CHECKPOINT, Files
from .sealing import (
    KEY_BYTES,
    NONCE_BYTES,
    SEALED_COLUMNS,
    Sealer,
    Unsealed,
    aes_gcm,
    data_key_of,
    invalid_tag,
    open_row,
    seal_row,
)


def read_key(path: Path) -> bytes:
    """The key in a file of 32 bytes, or of 64 hexadecimal digits, that only its owner can read."""
    path = Path(path)
    try:
        mode, data = path.stat().st_mode & 0o777, path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the key file {path} ({error.strerror}); name one of yours") from None
    if os.name == "posix" and mode & 0o077:
        raise UsageError(f"the key file {path} has mode {mode:04o}, others may read it; chmod 600 {path}")
    if len(data) != KEY_BYTES:
        try:
            data = bytes.fromhex(data.decode("ascii"))
        except ValueError:
            pass
    return checked_key(data, f"the key file {path}")


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


def open_sealer(store, key: bytes | None) -> Unsealed | Sealer:
    """What seals and opens this home's values. A plain home is encrypted when it is first given a key.

    UsageError for a wrong key, for one that is missing, and without the cryptography package.
    """
    wrapped = store.rows("SELECT id, wrapped FROM data_keys")
    if key is None:
        if wrapped:
            raise UsageError(f"the state in {store.home} is encrypted; give its key: --key-file, or Runtime(key=...)")
        return Unsealed()
    checked_key(key)
    if not wrapped:
        return _replace_data_key(store, key, Unsealed())
    return Sealer({row["id"]: _unwrap(key, row["id"], row["wrapped"], store.home) for row in wrapped})


def check_key(store, key: bytes) -> None:
    """UsageError unless the home's next start with this key will do: it opens the home, or can encrypt a plain one."""
    aes_gcm(checked_key(key))
    for row in store.rows("SELECT id, wrapped FROM data_keys"):
        _unwrap(key, row["id"], row["wrapped"], store.home)


def rotate(store, key: bytes) -> None:
    """Seal everything with a new data key that only `key` unwraps.

    An error whose text begins with "the new key is in force" came afterwards: the next start does the rest.
    """
    checked_key(key)
    with store.transaction():
        sealer = _replace_data_key(store, key, store.sealer)
    store.sealer = sealer
    try:
        finish(store)
        store.scrub()
    except IdleTuneError as error:
        rest = "what is of the old key may still be in a file, until the next start"
        raise type(error)(f"the new key is in force, keep it; {rest}: {error}") from None


def finish(store) -> None:
    """Bring the files up to the newest data key; then the older ones go, and what they left in the database."""
    sealer = store.sealer
    if not sealer.newest:
        return
    files = Files(store)
    if store.counter("scrub_owed"):  # what was being written when the key came may be plain
        (store.home / CHECKPOINT).with_suffix(".part").unlink(missing_ok=True)
    with store.transaction():  # one process at a time
        for path in files.private():
            if data_key_of(path.read_bytes()) != sealer.newest:
                files.write(path, files.read(path, plain_too=True))
    if len(sealer.secrets) > 1:
        with store.transaction() as db:
            db.execute("DELETE FROM data_keys WHERE id != ?", (sealer.newest,))
        store.sealer = Sealer({sealer.newest: sealer.secrets[sealer.newest]})


def _replace_data_key(store, key: bytes, old: Unsealed | Sealer) -> Sealer:
    """In the caller's transaction: a new data key, every row sealed with it, the old ones wrapped anew."""
    secrets = dict(getattr(old, "secrets", {}))
    digest_key = old.digest_key if secrets else os.urandom(KEY_BYTES)
    secrets[old.newest + 1] = os.urandom(KEY_BYTES) + digest_key
    new = Sealer(secrets)
    with store.transaction() as db:
        db.execute("DELETE FROM data_keys")
        wrapped = [(number, _wrap(key, number, secret)) for number, secret in secrets.items()]
        db.executemany("INSERT INTO data_keys (id, wrapped) VALUES (?, ?)", wrapped)
        for table in SEALED_COLUMNS:
            _seal_anew(store, db, table, old, new)
        if not old.newest:
            hashes = [row["question_hash"] for row in store.rows("SELECT question_hash FROM never_ask")]
            sql = "UPDATE never_ask SET question_hash = ? WHERE question_hash = ?"
            db.executemany(sql, [(new.digest(hash), hash) for hash in hashes])
            db.execute("DELETE FROM answer_losses")  # under plain hashes; they are measured again
        store.owe_scrub()
    return new


def _seal_anew(store, db, table: str, old: Unsealed | Sealer, new: Sealer) -> None:
    columns = SEALED_COLUMNS[table]
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    for row in store.rows(f"SELECT id, {', '.join(columns)} FROM {table}"):
        values = seal_row(new, table, row["id"], open_row(old, table, row["id"], row))
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
