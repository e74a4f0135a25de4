"""What a fleet came to: an adapter, and beside it a statement about it that whoever runs the fleet signed.

Two files: NAME.gguf and NAME.json. The statement names the adapter's SHA-256; the signature (Ed25519, RFC 8032) is of
the statement as canonical JSON, under the key that the user accepted at joining.
"""

import json
from pathlib import Path

from ..errors import DamagedDataError, UsageError
from ..formats.gguf_file import sha256
from ..small_files import read_json_object
from .terms import Terms


def canonical(statement: dict) -> bytes:
    """The bytes that are signed."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def check_result(adapter: Path, terms: Terms) -> dict:
    """The signed statement beside an adapter of this fleet. DamagedDataError for one that is not, UsageError where
    the signature cannot be checked here."""
    path = adapter.with_suffix(".json")
    found = read_json_object(path, "a fleet's signed statement", "fetch both files of the result again")
    statement, signature = found.get("statement"), found.get("signature")
    if not isinstance(statement, dict) or not isinstance(signature, str):
        raise DamagedDataError(f"{path} has no signed statement; fetch both files of the result again")
    _check_signature(path, canonical(statement), signature, terms.operator_key)
    if statement.get("terms") != terms.digest:
        raise UsageError(f"{path} is the result of a fleet on other terms than you joined")
    if statement.get("adapter_sha256") != sha256(adapter):
        raise DamagedDataError(f"{adapter} is not the adapter that its statement names; fetch both files again")
    return statement


def _check_signature(path: Path, signed: bytes, signature: str, key: str) -> None:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise UsageError("a signature is checked with cryptography; pip install 'idletune[encryption]'") from None
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError):
        raise DamagedDataError(f"{path} was not signed with the key of the fleet that you joined") from None
