"""Sealed values: what opens, what does not, and what each says."""

import builtins

import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.state.sealing import Sealer, Unsealed, data_key_of, open_row, seal_row

SECRET, OTHER = bytes(range(64)), bytes(64)
ROW = {
    "id": 3, "eoe": 0.5, "domain": "work", "question": "what is žluťoučký?", "response": None, "embedding": b"\0\1",
}


@pytest.fixture
def sealer():
    return Sealer({1: SECRET})


def test_a_row_comes_back_and_only_its_private_columns_change(sealer):
    sealed = seal_row(sealer, "dialogue_sets", 3, ROW)
    assert (sealed["id"], sealed["eoe"], sealed["response"]) == (3, 0.5, None)
    assert all(data_key_of(sealed[name]) == 1 for name in ("domain", "question", "embedding"))
    assert open_row(sealer, "dialogue_sets", 3, sealed) == ROW


def test_without_a_key_nothing_changes():
    plain = Unsealed()
    assert seal_row(plain, "dialogue_sets", 3, ROW) == ROW == open_row(plain, "dialogue_sets", 3, ROW)


def test_the_same_value_is_never_sealed_to_the_same_bytes(sealer):
    assert sealer.seal(b"yes", "here") != sealer.seal(b"yes", "here")
    assert len(sealer.seal(b"yes", "here")) == 3 + sealer.overhead


@pytest.mark.parametrize("table, id", [("dialogue_sets", 4), ("synthetic_sets", 3)])
def test_a_value_moved_elsewhere_does_not_open(sealer, table, id):
    sealed = seal_row(sealer, "dialogue_sets", 3, {"question": "secret"})
    with pytest.raises(DamagedDataError, match=f"{table} {id} question was changed"):
        open_row(sealer, table, id, sealed)


def test_a_changed_byte_or_a_plain_value_is_not_taken(sealer):
    sealed = bytearray(sealer.seal(b"a secret", "here"))
    for position in range(8, len(sealed)):
        changed = bytes(sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :])
        with pytest.raises(DamagedDataError):
            sealer.open(changed, "here")
    for foreign in (b"", b"plain", bytes(sealed[:30]), "plain text"):
        with pytest.raises(DamagedDataError):
            sealer.open_value(foreign, "here", binary=True)


def test_a_value_of_another_key_says_so(sealer):
    with pytest.raises(UsageError, match="key was changed by another IdleTune"):
        sealer.open(Sealer({2: OTHER}).seal(b"x", "here"), "here")
    with pytest.raises(UsageError, match="is encrypted"):
        Unsealed().open_value(sealer.seal(b"x", "here"), "here", binary=False)


def test_older_keys_open_and_the_newest_seals(sealer):
    both = Sealer({1: SECRET, 2: OTHER})
    assert both.open(sealer.seal(b"x", "here"), "here") == b"x"
    assert data_key_of(both.seal(b"x", "here")) == 2


def test_the_package_missing_names_the_next_step(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="pip install cryptography"):
        Sealer({1: SECRET})
