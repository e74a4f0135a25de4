"""The PEFT folder that the device writes without PyTorch is the one that the export tools write."""

import numpy as np
import pytest
from idletune.formats.gguf_file import GgufFile
from idletune.formats.gguf_writer import gguf_bytes
from idletune.formats.model_shape import ModelShape
from idletune.formats.peft_folder import peft_files
from idletune.training.lora import Lora
from idletune_export.adapter_files import convert_adapter
from safetensors.numpy import load
from tiny_model import write_tiny_model


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3"])
def test_the_same_matrices_under_the_same_names(architecture, tmp_path):
    base = write_tiny_model(tmp_path / "base.gguf", architecture=architecture, window=16 * (architecture == "gemma3"))
    lora = Lora(ModelShape.of(GgufFile(base)), "q,k,v,o,gate,up,down", 4, 8.0).initialize(1)
    lora.flat[...] = np.random.default_rng(0).standard_normal(lora.flat.size)
    metadata = {"general.type": "adapter", "general.architecture": architecture, "adapter.type": "lora"}
    adapter = tmp_path / "adapter.gguf"
    adapter.write_bytes(gguf_bytes({**metadata, "adapter.lora.alpha": 8.0}, lora.tensors()))
    convert_adapter(adapter, tmp_path / "theirs", base)
    ours = load(peft_files(adapter, base)["adapter_model.safetensors"])
    theirs = load((tmp_path / "theirs" / "adapter_model.safetensors").read_bytes())
    assert ours.keys() == theirs.keys() and len(ours) == 2 * 7 * 2
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)
