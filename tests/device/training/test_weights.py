import ggml_quants
import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from idletune.errors import UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.formats.tensor_types import TENSOR_TYPES, TYPE_IDS
from idletune.onnx_runtime.dequantizer import PLAIN_TYPES, SCALE_OFFSETS, Dequantizer
from idletune.training.weights import Weights
from tiny_model import write_tiny_model


def random_blocks(kind, rows=7, blocks=3, seed=0):
    """Random bytes with finite float16 scales: every code and sub-scale occurs."""
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (rows, blocks, kind.size), dtype=np.uint8)
    for at in SCALE_OFFSETS[kind.name]:
        data[:, :, at : at + 2] = rng.standard_normal((rows, blocks, 1)).astype(np.float16).view(np.uint8)
    return data.reshape(rows, -1)


@pytest.mark.parametrize("name", SCALE_OFFSETS)
def test_dequantizing_is_bit_exact_with_gguf_and_ggml(name):
    kind = TENSOR_TYPES[TYPE_IDS[name]]
    rows = random_blocks(kind)
    out = np.empty((len(rows), 3 * kind.block), np.float32)
    Dequantizer(threads=1).dequantize(rows, kind, out)
    if name not in ("Q1_0", "Q2_0"):  # which gguf does not read
        assert out.tobytes() == dequantize(rows, gguf.GGMLQuantizationType[name]).astype(np.float32).tobytes()
    assert out.tobytes() == ggml_quants.dequantize(rows, name).tobytes()


def test_every_exponent_of_mxfp4_is_bit_exact():
    kind = TENSOR_TYPES[TYPE_IDS["MXFP4"]]
    rows = np.full((256, kind.size), 0x72, np.uint8)
    rows[:, 0] = np.arange(256)  # the first two give denormal numbers
    out = np.empty((256, kind.block), np.float32)
    Dequantizer(threads=1).dequantize(rows, kind, out)
    assert out.tobytes() == ggml_quants.dequantize(rows, "MXFP4").tobytes()


@pytest.mark.parametrize("name", PLAIN_TYPES)
def test_plain_types_are_bit_exact_with_gguf(name):
    values = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    stored = gguf.quants.quantize(values, gguf.GGMLQuantizationType[name]).view(np.uint8).reshape(5, -1)
    out = np.empty((5, 64), np.float32)
    Dequantizer(threads=1).dequantize(stored, TENSOR_TYPES[TYPE_IDS[name]], out)
    expected = dequantize(np.ascontiguousarray(stored), gguf.GGMLQuantizationType[name])
    np.testing.assert_array_equal(out, expected.reshape(5, 64))


@pytest.mark.parametrize("resident", [0, 1, 2])
def test_layers_and_embeddings_of_a_mixed_file(tmp_path, monkeypatch, resident):
    monkeypatch.setattr("idletune.training.weights.OUTPUT_ROWS", 100)  # of 260: the last part is short
    types = {"attn_q": "Q4_0", "attn_k": "Q4_1", "attn_v": "F16", "ffn_up": "F32", "ffn_down": "BF16"}
    path = write_tiny_model(tmp_path / "mixed.gguf", types=types)
    file = GgufFile(path)
    kept = {"resident": range(resident), "resident_output": resident > 1}
    weights = Weights(file, ModelShape.of(file), threads=1, **kept)
    tensors = {t.name: dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    for layer in (0, 1, 0):
        for index, norm in enumerate(("attn_norm.weight", "ffn_norm.weight")):
            for name, array in weights.sublayer(layer, index).items():
                stored = tensors[f"blk.{layer}.{norm if name == 'pre_norm' else name}"]
                np.testing.assert_array_equal(array, stored.reshape(array.shape))
    ids = np.array([5, 0, 5, 200])
    np.testing.assert_array_equal(weights.embed(ids), tensors["token_embd.weight"][ids])
    np.testing.assert_array_equal(weights.output_rows(ids), tensors["token_embd.weight"][ids])
    for _ in range(2):
        whole = np.concatenate([part.copy() for part in weights.output_chunks()])
        np.testing.assert_array_equal(whole, tensors["token_embd.weight"])


def test_an_unsupported_type_or_architecture_is_named(tmp_path, tiny_path):
    data = tiny_path.read_bytes()
    name = b"blk.1.ffn_up.weight"
    at = data.index(name) + len(name) + 4 + 16
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(data[:at] + TYPE_IDS["NVFP4"].to_bytes(4, "little") + data[at + 4 :])
    file = GgufFile(odd)
    with pytest.raises(UsageError, match=r"blk\.1\.ffn_up\.weight has the type NVFP4.*Q4_1"):
        Weights(file, ModelShape.of(file), threads=1)
    path = write_tiny_model(tmp_path / "mamba.gguf", architecture="mamba")
    with pytest.raises(UsageError, match="architecture 'mamba'.*llama"):
        ModelShape.of(GgufFile(path))


@pytest.mark.parametrize(
    "name, size",
    [
        ("output.bias", 260),
        ("blk.0.ffn_down.bias", 64),
        ("blk.0.attn_q_norm.weight", 16),
    ],
)
def test_tensors_that_training_would_pass_by_are_named(tmp_path, name, size):
    path = write_tiny_model(tmp_path / "more.gguf", further={name: size})
    with pytest.raises(UsageError, match=f"more.gguf has 1 tensors that training does not know, {name} first"):
        ModelShape.of(GgufFile(path))


def test_a_kind_of_sublayer_without_graphs_is_named(tmp_path):
    path = write_tiny_model(tmp_path / "biased.gguf", further={"blk.1.attn_q.bias": 64})
    with pytest.raises(UsageError, match="layer 1 of biased.gguf is of the kind attention-norm_before-bias_q"):
        ModelShape.of(GgufFile(path))
