import errno
import os

import pytest
from idletune.errors import UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.learning.adapters import Adapters, describe
from idletune.settings import Settings
from idletune.state.provenance import versions_knowing
from idletune.state.store import Store
from idletune.training.lora import Lora, read_adapter


@pytest.fixture
def lora(tiny_path):
    return Lora(ModelShape.of(GgufFile(tiny_path)), "q,v", 2, 4).initialize(0)


@pytest.fixture
def adapters(tmp_path):
    with Store(tmp_path / "home") as store:
        yield Adapters(store, "base", keep=2)


def promote(adapters, lora, ids=()):
    version = adapters.add(lora, Settings(), list(ids)).version
    adapters.promote(version, {"probe_base": 1.0}, "good")
    return version


def test_a_version_carries_its_record_in_the_file_too(adapters, lora):
    version = promote(adapters, lora, [3, 5])
    current = adapters.current()
    assert (current.version, current.dialogue_set_ids, current.losses) == (version, [3, 5], {"probe_base": 1.0})
    assert read_adapter(current.path, lora.shape).flat.tobytes() == lora.flat.tobytes()
    metadata = GgufFile(current.path).metadata
    assert metadata["idletune.base_sha256"] == "base" and metadata["idletune.dialogue_set_ids"] == "[3, 5]"
    assert describe(current)["bytes"] == current.path.stat().st_size


def test_rollback_goes_back_a_version_then_to_the_base(adapters, lora):
    first, second = promote(adapters, lora), promote(adapters, lora)
    dropped = adapters.current().path
    assert adapters.rollback().version == first and not dropped.exists()
    assert adapters.get(second).state == "rejected"
    assert adapters.rollback() is None and adapters.current() is None
    with pytest.raises(UsageError, match="nothing to roll back"):
        adapters.rollback()


def test_only_the_newest_good_versions_are_kept(adapters, lora):
    versions = [promote(adapters, lora) for _ in range(4)]
    kept = [v for v in versions if adapters.get(v).path.is_file()]
    assert kept == versions[-2:] and adapters.current().version == versions[-1]


def test_a_rejected_candidate_changes_nothing(adapters, lora):
    good = promote(adapters, lora)
    candidate = adapters.add(lora, Settings(), [])
    adapters.reject(candidate.version, {}, "worse")
    assert adapters.current().version == good and not candidate.path.exists()


def test_forgetting_a_set_drops_all_that_learned_from_it(adapters, lora):
    clean, first, second = promote(adapters, lora, [1]), promote(adapters, lora, [1, 2]), None
    adapters.keep = 5
    second = promote(adapters, lora, [1, 2, 3])
    assert adapters.drop_all(versions_knowing(adapters.store, 2)) == [second, first]
    assert adapters.current().version == clean


def test_a_full_disk_leaves_no_trace(adapters, lora, monkeypatch):
    good = promote(adapters, lora)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="no room for adapter-00002.gguf"):
        adapters.add(lora, Settings(), [])
    monkeypatch.undo()
    assert [p.name for p in adapters.folder.iterdir()] == [adapters.get(good).path.name]
    assert [a.version for a in adapters.all()] == [good]


def test_an_interrupted_gate_is_cleaned_up_at_start(adapters, lora):
    candidate = adapters.add(lora, Settings(), [])
    adapters.drop_unfinished()
    assert adapters.get(candidate.version).state == "rejected" and not candidate.path.exists()
