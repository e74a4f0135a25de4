"""A model in each block format opens, and its loss in the trainer is llama.cpp's."""

import pytest
from ggml_quants import write_quantized
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.model.chat_template import ChatTemplate
from idletune.model.context import Context, held
from idletune.model.evaluation import Evaluator
from idletune.model.llama_engine import LlamaEngine
from idletune.onnx_runtime.dequantizer import SCALE_OFFSETS
from idletune.training.layers import Layers
from idletune.training.lora import Lora
from idletune.training.packing import pack
from idletune.training.weights import Weights
from small_talk import EXCHANGES
from tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    """Every row is a multiple of 256 values, the largest block."""
    folder = tmp_path_factory.mktemp("floats")
    return write_tiny_model(folder / "tiny.gguf", default="F32", hidden=256, feed_forward=256)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCALE_OFFSETS)
def test_the_loss_is_llama_cpps(floats, tmp_path, name):
    path = write_quantized(floats, tmp_path / "tiny.gguf", name)
    engine = LlamaEngine(path, cells=256, sequences=held(1), threads=1)
    template = ChatTemplate(engine)
    examples = [template.encode_exchange(*exchange, "", (), None) for exchange in EXCHANGES[:5]]
    theirs, count = Evaluator(Context(engine, 1)).negative_log_likelihood(examples)
    engine.close()
    gguf = GgufFile(path)
    shape = ModelShape.of(gguf)
    layers = Layers(Weights(gguf, shape, threads=1), Lora(shape, "down", 1, 1), threads=1, recompute=0)
    ours = [layers.loss(pack([example])) for example in examples]
    assert sum(labelled for _, labelled in ours) == count
    print(name, sum(loss for loss, _ in ours) / theirs - 1)
    assert sum(loss for loss, _ in ours) == pytest.approx(theirs, rel=0.01)  # llama.cpp quantizes hidden states
