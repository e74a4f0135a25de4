"""The home knows which of its adapters were converted, and where to."""

import shutil

import pytest
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.learning.adapters import Adapters
from idletune.model.bundle import sha256
from idletune.settings import Settings
from idletune.state.copies import copies_of
from idletune.state.store import Store
from idletune.training.lora import Lora
from idletune_export.own_adapters import record_if_own


@pytest.fixture
def own(tiny_path, home):
    lora = Lora(ModelShape.of(GgufFile(tiny_path)), "q,v", 2, 4).initialize(0)
    with Store(home) as store:
        return Adapters(store, "base").add(lora, Settings(), [7])


def test_a_converted_adapter_is_a_copy_its_home_knows(own, home, tmp_path):
    made = tmp_path / "made.gguf"
    shutil.copyfile(own.path, made)
    assert record_if_own(own.path, made, tmp_path / "out.gguf")
    with Store(home) as store:
        (copy,) = copies_of(store, [7])
        assert copy.path == tmp_path / "out.gguf" and copies_of(store, [8]) == []
        assert Adapters(store, "base").own_version(sha256(made)) == own.version


def test_a_foreign_adapter_is_none_of_a_home(own, tmp_path):
    elsewhere = tmp_path / "adapters" / own.path.name
    elsewhere.parent.mkdir()
    shutil.copyfile(own.path, elsewhere)
    unknown = own.path.with_name("adapter-00099.gguf")
    shutil.copyfile(own.path, unknown)
    assert not record_if_own(elsewhere, elsewhere, tmp_path / "out.gguf")
    assert not record_if_own(unknown, unknown, tmp_path / "out.gguf")
