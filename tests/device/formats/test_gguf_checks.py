"""Files that llama.cpp would end the process for are refused with the key and the value."""

from pathlib import Path

import pytest
from idletune.errors import DamagedDataError
from idletune.formats.gguf_checks import check_metadata, check_tokens
from idletune.formats.gguf_file import GgufFile
from mutated_gguf import ARRAY, BOOL, BYTES, FLOAT32, STRING, UINT32, Editable
from tiny_model import write_tiny_model


def checked(path: Path) -> None:
    file = GgufFile(path)
    check_metadata(file)
    check_tokens(file)


KNOWN = [
    ("tokenizer.ggml.model", STRING, b"none", "the tokenizer 'none'"),
    ("tokenizer.ggml.model", STRING, b"no_vocab", "the tokenizer 'no_vocab'"),
    ("tokenizer.ggml.model", STRING, b"rwkv", "the tokenizer 'rwkv'"),
    ("tokenizer.ggml.model", UINT32, 1, "the tokenizer 1"),
    ("tokenizer.ggml.model", STRING, b"llama", "no token for the byte 0"),
    ("tokenizer.ggml.tokens", ARRAY, (STRING, [b"a", b"b", b"a"]), "the token 'a' twice"),
    ("tokenizer.ggml.bos_token_id", UINT32, 10**6, None),  # llama.cpp takes another one
    ("llama.rope.freq_base", FLOAT32, 0.0, "llama.rope.freq_base = 0.0"),
    ("llama.rope.freq_base", FLOAT32, float("nan"), "llama.rope.freq_base = nan"),
    ("llama.rope.freq_base", FLOAT32, -10000.0, "llama.rope.freq_base = -10000.0"),
    ("llama.rope.scaling.type", STRING, b"dynamic", "rope.scaling.type = 'dynamic'"),
    ("llama.rope.scaling.factor", FLOAT32, float("inf"), "llama.rope.scaling.factor = inf"),
    ("llama.rope.dimension_count", UINT32, 7, "llama.rope.dimension_count = 7 in heads of 16"),
    ("llama.rope.dimension_count", UINT32, 0, "4 heads of 16, 16 and 0 values"),
    ("llama.attention.key_length", UINT32, 8, "in heads of 8"),
    ("llama.attention.value_length", UINT32, 8, "4 heads of 16, 8 and 16 values"),
    ("llama.attention.layer_norm_rms_epsilon", FLOAT32, -1e-5, "layer_norm_rms_epsilon = -"),
    ("llama.attention.head_count", UINT32, 0, "0 heads"),
    ("llama.attention.head_count_kv", UINT32, 3, "4 attention heads for 3 of keys"),
    ("llama.attention.head_count_kv", ARRAY, (UINT32, [2, 1]), "layers that differ"),
    ("llama.block_count", UINT32, 0, "llama.block_count = 0; llama.cpp knows 1 to 512"),
    ("llama.block_count", UINT32, 513, "llama.block_count = 513"),
    ("llama.nextn_predict_layers", UINT32, 3, "llama.nextn_predict_layers = 3"),
    ("llama.expert_count", UINT32, 2000, "llama.expert_count = 2000"),
    ("llama.expert_count", UINT32, 4, "4 experts, of which none is used"),
    ("llama.expert_used_count", UINT32, 2, "llama.expert_used_count = 2"),
    ("llama.expert_group_count", UINT32, 2, "llama.expert_group_count = 2"),
    ("llama.embedding_length_out", UINT32, 128, "embeddings of 128 values for a width of 64"),
    ("llama.embedding_length", STRING, b"64", "llama.embedding_length = '64'"),
]


@pytest.mark.parametrize(("key", "kind", "value", "said"), KNOWN, ids=[f"{k[0]} {k[2]!r}"[:60] for k in KNOWN])
def test_what_llama_cpp_would_end_the_process_for_is_refused_by_name(tiny_path, tmp_path, key, kind, value, said):
    path = Editable(tiny_path).set(key, kind, value).write(tmp_path / "m.gguf")
    if said is None:
        return checked(path)
    with pytest.raises(DamagedDataError) as error:
        checked(path)
    assert said in str(error.value) and str(error.value).startswith("m.gguf has ")


def test_further_known_kinds(tiny_path, tmp_path):
    for model, begins in ((b"t5", True), (b"gemma4", False)):
        file = Editable(tiny_path).set("tokenizer.ggml.model", STRING, model)
        file.set("tokenizer.ggml.tokens", ARRAY, (STRING, BYTES)).set("tokenizer.ggml.add_bos_token", BOOL, begins)
        file.set("tokenizer.ggml.bos_token_id", UINT32, 10**6)
        with pytest.raises(DamagedDataError, match="no token to begin a text with"):
            checked(file.write(tmp_path / "m.gguf"))
    vector = write_tiny_model(tmp_path / "gemma.gguf", architecture="gemma3", window=16)
    checked(vector)
    with pytest.raises(DamagedDataError, match="sliding_window_pattern = 1, no layer with a window"):
        checked(Editable(vector).set("gemma3.attention.sliding_window_pattern", UINT32, 1).write(tmp_path / "m.gguf"))
    file = Editable(tiny_path)
    next(tensor for tensor in file.tensors if tensor[0] == b"output_norm.weight")[2] = 1
    with pytest.raises(DamagedDataError, match="F16 in the vector output_norm.weight"):
        checked(file.write(tmp_path / "m.gguf"))
