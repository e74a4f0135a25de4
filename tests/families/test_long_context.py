"""Rows longer than the context that a model's rotary embedding was trained for: the losses are llama.cpp's."""

import numpy as np
import pytest
from families.losses import CELLS, token_losses
from families.made import folder_of, make_missing
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.training.lora import Lora
from idletune.training.packing import pack
from mutated_gguf import UINT32, Editable
from reference import layers_with, random_examples

ORIGINAL = 16  # tokens
LENGTHS, SHARED = (200, 60, 9), 5


def with_original(name, original, folder):
    """The family's tiny model with another original context, and its architecture."""
    make_missing([name])
    edited = Editable(folder_of(name) / "f32.gguf")
    architecture = GgufFile(folder_of(name) / "f32.gguf").metadata["general.architecture"]
    edited.set(f"{architecture}.rope.scaling.original_context_length", UINT32, original)
    return edited.write(folder / f"{original}.gguf")


def our_losses(path, examples, cells):
    shape = ModelShape.of(GgufFile(path), cells)
    return layers_with(path, Lora(shape, "q", 1, 1)).token_losses(pack(examples))


@pytest.mark.parametrize("name", ["phi3", "phi4-mini", "mistral3"])
def test_losses_beyond_the_original_context(name, tmp_path):
    path = with_original(name, ORIGINAL, tmp_path)
    examples = random_examples(260, LENGTHS, shared=SHARED)
    theirs = token_losses(path, examples)
    np.testing.assert_allclose(our_losses(path, examples, CELLS), theirs, rtol=1e-3)
    within = with_original(name, CELLS, tmp_path)
    assert np.abs(theirs - token_losses(within, examples)).max() > 0.01


@pytest.mark.parametrize("name", ["phi3", "phi4-mini"])
def test_the_context_decides_on_the_factors_and_not_the_rows_length(name, tmp_path):
    examples = random_examples(260, [ORIGINAL // 2])
    short, long = (with_original(name, original, tmp_path) for original in (CELLS, CELLS - 1))
    served = [token_losses(path, examples) for path in (short, long)]
    assert np.abs(served[0] - served[1]).max() > 0.01
    for path, theirs in zip((short, long), served):
        np.testing.assert_allclose(our_losses(path, examples, CELLS), theirs, rtol=1e-3)
        np.testing.assert_allclose(our_losses(path, examples, CELLS - 200), theirs, rtol=1e-3)  # rounded up to 256
