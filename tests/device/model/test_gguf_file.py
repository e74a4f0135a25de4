import struct

import gguf
import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.model.gguf_file import GgufFile, write_gguf
from idletune.training.shape import ModelShape


def test_reads_what_the_gguf_package_wrote(tiny_path):
    ours, theirs = GgufFile(tiny_path), gguf.GGUFReader(tiny_path)
    assert set(ours.tensors) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        stored = np.asarray(tensor.data).view(np.uint8).reshape(-1)
        assert ours.raw(tensor.name).reshape(-1).tobytes() == stored.tobytes()
    assert ours.metadata["llama.embedding_length"] == 64


def test_the_gguf_package_reads_what_we_write(tmp_path):
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(5, np.float32)}
    write_gguf(tmp_path / "out.gguf", {"general.architecture": "llama", "n": 3, "x": 0.5}, arrays)
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    for tensor in reader.tensors:
        np.testing.assert_array_equal(tensor.data.reshape(arrays[tensor.name].shape), arrays[tensor.name])
    assert reader.fields["n"].contents() == 3 and reader.fields["x"].contents() == 0.5
    assert reader.fields["general.architecture"].contents() == "llama"


@pytest.mark.parametrize("kept", [0, 3, 23, 100, 5000, -200])
def test_a_truncated_file_is_refused_in_one_line(tiny_path, tmp_path, kept):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_path.read_bytes()[:kept])
    with pytest.raises(DamagedDataError) as error:
        GgufFile(cut)
    assert "cut.gguf" in str(error.value) and "\n" not in str(error.value)


def test_foreign_and_missing_files_are_refused(tmp_path):
    foreign = tmp_path / "model.gguf"
    foreign.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DamagedDataError, match="magic"):
        GgufFile(foreign)
    with pytest.raises(UsageError, match="no model file"):
        GgufFile(tmp_path / "nothing.gguf")


def test_rows_that_do_not_divide_into_blocks_are_refused(tmp_path, tiny_path):
    data = bytearray(tiny_path.read_bytes())
    name = b"blk.0.attn_q.weight"
    at = data.index(name) + len(name) + 4
    data[at : at + 8] = (63).to_bytes(8, "little")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(data)
    with pytest.raises(DamagedDataError, match="attn_q.*63 values.*blocks of 32"):
        GgufFile(broken)


def header(pairs=b"", tensors=b""):
    counts = struct.pack("<IQQ", 3, bool(tensors), bool(pairs))
    return b"GGUF" + counts + pairs + tensors + bytes(64)


def named(name, form, *values):
    return struct.pack("<Q", len(name)) + name + struct.pack(form, *values)


@pytest.mark.parametrize("content", [
    header(named(b"general.alignment", "<II", 4, 0)),
    header(named(b"general.alignment", "<IQ", 8, 1) + b"x"),
    header(named(b"array of an unknown kind", "<IIQ", 9, 77, 2000)),
    header(named(b"array of arrays", "<IIQ", 9, 9, 2000)),
    header(named(b"arrays in arrays", "<I", 9) + struct.pack("<IQ", 9, 1) * 3000),
    header(named(b"a text of 2^63 bytes", "<IIQQ", 9, 8, 2000, 2**63)),
    header(tensors=named(b"of 2^66 values", "<IQQIQ", 2, 32, 2**61, 0, 0)),
    header(tensors=named(b"of none", "<IQQIQ", 2, 0, 3, 0, 0)),
    header(tensors=named(b"without a shape", "<IIQ", 0, 0, 0)),
])
def test_a_header_without_sense_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(DamagedDataError, match=r"model\.gguf: .*; fetch the file again"):
        GgufFile(path)


@pytest.mark.parametrize("name", ["attention.head_count", "attention.head_count_kv", "block_count"])
def test_a_size_of_zero_is_refused(tiny_path, tmp_path, name):
    data, key = bytearray(tiny_path.read_bytes()), f"llama.{name}".encode()
    at = data.index(key) + len(key) + 4
    data[at : at + 4] = bytes(4)
    path = tmp_path / "broken.gguf"
    path.write_bytes(data)
    with pytest.raises(DamagedDataError, match=f"the size 0 as llama.{name}; convert"):
        ModelShape.of(GgufFile(path))
