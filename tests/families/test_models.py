"""The tiny models are real files of their families: llama.cpp computes with them what the family's own class does."""

import numpy as np
import pytest
import torch
from families.classes import load
from families.losses import token_losses
from families.made import folder_of, make_missing
from families.models import TINY_MODELS
from idletune.examples import IGNORE_INDEX, Example

TOKENS = np.random.default_rng(0).integers(0, 260, 40).astype(np.int32)


@pytest.fixture(scope="module", autouse=True)
def made():
    make_missing(list(TINY_MODELS))


@pytest.mark.parametrize("name", TINY_MODELS)
def test_llama_cpp_computes_what_the_class_does(name):
    labels = np.roll(TOKENS, -1)
    labels[-1] = IGNORE_INDEX
    ours = token_losses(folder_of(name) / "f32.gguf", [Example(TOKENS, labels)])
    model = load(TINY_MODELS[name], folder_of(name) / "original", torch.float32)
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(TOKENS.astype(np.int64))[None]).logits[0, :-1].double()
    wanted = torch.from_numpy(labels[:-1].astype(np.int64))
    theirs = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_llama_cpp_computes_with_the_quantized_form(name):
    labels = np.roll(TOKENS, -1)
    labels[-1] = IGNORE_INDEX
    assert np.isfinite(token_losses(folder_of(name) / "quantized.gguf", [Example(TOKENS, labels)])).all()
