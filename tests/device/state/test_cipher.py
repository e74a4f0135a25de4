"""Encrypted values: what opens, what does not, and what each says."""

import builtins

import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.state.cipher import HEADER, PART_BYTES, Cipher, NullCipher, data_key_of, decrypt_row, encrypt_row

SECRET, OTHER = bytes(range(64)), bytes(64)
ROW = {
    "id": 3,
    "eoe": 0.5,
    "domain": "work",
    "question": "what is žluťoučký?",
    "response": None,
    "embedding": b"\0\1",
}


@pytest.fixture
def cipher():
    return Cipher({1: SECRET})


def test_a_row_comes_back_and_only_its_private_columns_change(cipher):
    encrypted = encrypt_row(cipher, "dialogue_sets", 3, ROW)
    assert (encrypted["id"], encrypted["eoe"], encrypted["response"]) == (3, 0.5, None)
    assert all(data_key_of(encrypted[name]) == 1 for name in ("domain", "question", "embedding"))
    assert decrypt_row(cipher, "dialogue_sets", 3, encrypted) == ROW


def test_without_a_key_nothing_changes():
    plain = NullCipher()
    assert encrypt_row(plain, "dialogue_sets", 3, ROW) == ROW == decrypt_row(plain, "dialogue_sets", 3, ROW)


def test_the_same_value_is_never_encrypted_to_the_same_bytes(cipher):
    assert cipher.encrypt(b"yes", "here") != cipher.encrypt(b"yes", "here")
    assert len(cipher.encrypt(b"yes", "here")) == 3 + cipher.overhead


@pytest.mark.parametrize("table, id", [("dialogue_sets", 4), ("synthetic_sets", 3)])
def test_a_value_moved_elsewhere_does_not_open(cipher, table, id):
    encrypted = encrypt_row(cipher, "dialogue_sets", 3, {"question": "secret"})
    with pytest.raises(DamagedDataError, match=f"{table} {id} question was changed"):
        decrypt_row(cipher, table, id, encrypted)


def test_a_changed_byte_or_a_plain_value_is_not_taken(cipher):
    encrypted = bytearray(cipher.encrypt(b"a secret", "here"))
    for position in range(8, len(encrypted)):
        changed = bytes(encrypted[:position] + bytes([encrypted[position] ^ 1]) + encrypted[position + 1 :])
        with pytest.raises(DamagedDataError):
            cipher.decrypt(changed, "here")
    for foreign in (b"", b"plain", bytes(encrypted[:30]), "plain text"):
        with pytest.raises(DamagedDataError):
            cipher.decrypt_value(foreign, "here", binary=True)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 3])
def test_in_parts_it_is_encrypted_as_whole(cipher, size):
    plain = bytes(range(256)) * (size // 256 + 1)
    with memoryview(plain)[:size] as data:
        parts = cipher.parts(data, "training.npz")
        one, two = b"".join(parts), b"".join(parts)
        assert max(map(len, parts)) <= max(PART_BYTES, HEADER.size)
    assert one != two and len(one) == size + cipher.overhead
    assert cipher.decrypt(one, "training.npz") == cipher.decrypt(two, "training.npz") == plain[:size]
    with pytest.raises(DamagedDataError):
        cipher.decrypt(one, "adapter.gguf")


def test_a_value_of_another_key_says_so(cipher):
    with pytest.raises(UsageError, match="key was changed by another IdleTune"):
        cipher.decrypt(Cipher({2: OTHER}).encrypt(b"x", "here"), "here")
    with pytest.raises(UsageError, match="is encrypted"):
        NullCipher().decrypt_value(cipher.encrypt(b"x", "here"), "here", binary=False)


def test_older_keys_open_and_the_newest_encrypts(cipher):
    both = Cipher({1: SECRET, 2: OTHER})
    assert both.decrypt(cipher.encrypt(b"x", "here"), "here") == b"x"
    assert data_key_of(both.encrypt(b"x", "here")) == 2


def test_the_package_missing_names_the_next_step(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="pip install cryptography"):
        Cipher({1: SECRET})
