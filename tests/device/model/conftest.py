"""The tiny model, and an adapter for it."""

import numpy as np
import pytest
from idletune.formats.gguf_file import GgufFile
from idletune.formats.gguf_writer import write_gguf
from idletune.formats.model_shape import ModelShape
from idletune.model.base_model import BaseModel
from idletune.training.lora import Lora


@pytest.fixture(scope="module")
def tiny(tiny_path):
    with BaseModel(tiny_path, context_tokens=1024, threads=1) as model:
        yield model


@pytest.fixture
def adapter(tiny_path, tmp_path):
    """A strong random adapter for the tiny model."""
    lora = Lora(ModelShape.of(GgufFile(tiny_path)), "q,k,v,o", 4, 8).initialize(0)
    rng = np.random.default_rng(1)
    lora.flat += rng.standard_normal(lora.size).astype(np.float32) * 0.3
    metadata = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    write_gguf(tmp_path / "adapter.gguf", metadata, lora.tensors())
    return tmp_path / "adapter.gguf"
