import struct

import gguf
import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.gguf_file import GgufFile, model_paths, sha256
from idletune.formats.model_shape import ModelShape
from idletune.model.base_model import BaseModel
from idletune.model.chat_template import conversation
from tiny_model import write_tiny_model


def test_reads_what_the_gguf_package_wrote(tiny_path):
    ours, theirs = GgufFile(tiny_path), gguf.GGUFReader(tiny_path)
    assert set(ours.tensors) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        stored = np.asarray(tensor.data).view(np.uint8).reshape(-1)
        assert ours.raw(tensor.name).reshape(-1).tobytes() == stored.tobytes()
    assert ours.metadata["llama.embedding_length"] == 64


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


@pytest.mark.parametrize(
    "content",
    [
        header(named(b"general.alignment", "<II", 4, 0)),
        header(named(b"general.alignment", "<IQ", 8, 1) + b"x"),
        header(named(b"array of an unknown kind", "<IIQ", 9, 77, 2000)),
        header(named(b"array of arrays", "<IIQ", 9, 9, 2000)),
        header(named(b"arrays in arrays", "<I", 9) + struct.pack("<IQ", 9, 1) * 3000),
        header(named(b"a text of 2^63 bytes", "<IIQQ", 9, 8, 2000, 2**63)),
        header(tensors=named(b"of 2^66 values", "<IQQIQ", 2, 32, 2**61, 0, 0)),
        header(tensors=named(b"of none", "<IQQIQ", 2, 0, 3, 0, 0)),
        header(tensors=named(b"without a shape", "<IIQ", 0, 0, 0)),
    ],
)
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


@pytest.fixture
def parts(tmp_path):
    return sorted(write_tiny_model(tmp_path / "m.gguf", part_tensors=8).parent.glob("m-*.gguf"))


def test_a_split_model_is_read_whole_and_as_llama_cpp_reads_it(parts, tiny_path):
    whole, split = GgufFile(tiny_path), GgufFile(parts[0])
    assert len(parts) == 3 and split.paths == model_paths(parts[0]) == parts
    assert ModelShape.of(split) == ModelShape.of(whole) and set(split.tensors) == set(whole.tensors)
    for name in whole.tensors:
        assert np.array_equal(split.raw(name), whole.raw(name))
        split.release(name)
    with BaseModel(parts[0], threads=1) as model, BaseModel(tiny_path, threads=1) as other:
        prompt = model.encode_prompt(conversation("hello"))
        assert np.array_equal(model.logits(prompt), other.logits(prompt))
        before = model.sha256
    assert before == sha256(*parts) != sha256(parts[0])


def test_a_further_part_names_the_first(parts):
    for number, part in enumerate(parts[1:], start=2):
        with pytest.raises(UsageError, match=f"is part {number} of 3; give the first one, m-00001-of-00003.gguf"):
            GgufFile(part)


def test_a_missing_part_is_named(parts):
    parts[1].unlink()
    with pytest.raises(UsageError, match="the part m-00002-of-00003.gguf of 3 is missing"):
        GgufFile(parts[0])


def test_a_renamed_first_part_says_how_it_is_named(parts):
    with pytest.raises(UsageError, match="its name must end like NAME-00001-of-00003.gguf"):
        GgufFile(parts[0].rename(parts[0].with_name("model.gguf")))


def test_parts_that_do_not_belong_together_are_refused(parts):
    kept = parts[2].read_bytes()
    parts[2].write_bytes(parts[1].read_bytes())
    with pytest.raises(DamagedDataError, match="m-00003-of-00003.gguf: not part 3 of 3"):
        GgufFile(parts[0])
    parts[2].write_bytes(kept.replace(b"blk.1.ffn_up.", b"blk.0.ffn_up."))
    with pytest.raises(DamagedDataError, match="blk.0.ffn_up.weight is in an earlier part"):
        GgufFile(parts[0])
    parts[2].write_bytes(kept[:-100])
    with pytest.raises(DamagedDataError, match="m-00003-of-00003.gguf: truncated"):
        GgufFile(parts[0])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        (b"blk.1.attn_q.weight", b"blk.0.attn_q.weight"),
        (b"tokenizer.ggml.bos_token_id", b"tokenizer.ggml.eos_token_id"),
    ],
)
def test_a_tensor_or_a_key_that_stands_there_twice_is_refused(tiny_path, tmp_path, name, other):
    (tmp_path / "twice.gguf").write_bytes(tiny_path.read_bytes().replace(name, other))
    with pytest.raises(DamagedDataError, match="twice"):
        GgufFile(tmp_path / "twice.gguf")
