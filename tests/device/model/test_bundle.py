"""The device starts from a bundle that is what its manifest says, and from nothing else."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from idletune.chat_files import read_exchanges
from idletune.errors import DamagedDataError, IdleTuneError, UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.model.bundle import FORMAT, base_of, check_bundle, sha256
from idletune.runtime import Runtime


@pytest.fixture
def bundle(tiny_path, tmp_path):
    folder = tmp_path / "bundle"
    (folder / "training").mkdir(parents=True)
    shutil.copy(tiny_path, folder / "base.gguf")
    (folder / "training" / "head.onnx").write_bytes(b"a graph")
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in folder.rglob("*")
        if path.is_file()
    }
    write(folder, {"format": FORMAT, "shape": ModelShape.of(GgufFile(tiny_path)).summary(), "files": files})
    return folder


def write(folder, manifest):
    (folder / "manifest.json").write_text(json.dumps(manifest))


def changed(folder, **values):
    write(folder, json.loads((folder / "manifest.json").read_text()) | values)


def test_a_whole_bundle_starts(bundle, home):
    assert check_bundle(bundle / "base.gguf")["format"] == FORMAT
    Runtime(home, bundle / "base.gguf").close()


def test_a_model_outside_of_a_bundle_is_no_concern(tiny_path, bundle):
    assert check_bundle(tiny_path) is None
    shutil.copy(tiny_path, bundle / "other.gguf")
    assert check_bundle(bundle / "other.gguf") is None


def test_one_changed_byte_is_refused(bundle, home):
    content = bytearray((bundle / "base.gguf").read_bytes())
    content[-1] ^= 1
    (bundle / "base.gguf").write_bytes(content)
    with pytest.raises(DamagedDataError, match="SHA-256 differs"):
        Runtime(home, bundle / "base.gguf")
    assert not home.exists()


def test_missing_and_cut_files_are_named(bundle):
    (bundle / "training" / "head.onnx").write_bytes(b"a gra")
    with pytest.raises(DamagedDataError, match="training/head.onnx has 5 bytes, its manifest says 7"):
        check_bundle(bundle / "base.gguf")
    (bundle / "training" / "head.onnx").unlink()
    with pytest.raises(DamagedDataError, match="lacks training/head.onnx"):
        check_bundle(bundle / "base.gguf")


def test_another_shape_is_refused(bundle):
    shape = json.loads((bundle / "manifest.json").read_text())["shape"]
    changed(bundle, shape=shape | {"layers": 8})
    with pytest.raises(DamagedDataError, match=r"another shape than its manifest says \(layers\)"):
        check_bundle(bundle / "base.gguf")


def test_manifests_that_cannot_be_trusted(bundle):
    changed(bundle, format=FORMAT + 1)
    with pytest.raises(UsageError, match="update it"):
        check_bundle(bundle / "base.gguf")
    manifest = json.loads((bundle / "manifest.json").read_text())
    changed(bundle, format=FORMAT, files=manifest["files"] | {"../other": {"bytes": 1, "sha256": ""}})
    with pytest.raises(DamagedDataError, match="outside of the bundle"):
        check_bundle(bundle / "base.gguf")
    others = [manifest | {"format": FORMAT, "files": files} for files in ({}, [], {"base.gguf": {"bytes": "1"}})]
    for text in ("{", "[]", '{"format": 1}', *map(json.dumps, others)):
        (bundle / "manifest.json").write_text(text)
        with pytest.raises(DamagedDataError, match="not a bundle's manifest"):
            check_bundle(bundle / "base.gguf")


@pytest.mark.slow
def test_a_manifest_with_one_bit_changed_is_refused_or_says_the_same(bundle):
    path = bundle / "manifest.json"
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with suppress(IdleTuneError):
            assert check_bundle(bundle / "base.gguf")["shape"] == json.loads(content)["shape"]


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "/dev/zero", "/proc/self/mem", "."])
def test_what_cannot_be_a_model_is_refused_in_words(home, name):
    with pytest.raises((UsageError, DamagedDataError), match="no model file|no base model|shorter than a GGUF header"):
        Runtime(home, base_of(Path(name)))
    with pytest.raises(UsageError, match="no conversation file"):
        read_exchanges(Path(name) / "x")
