"""Loss, gradients and steps against PyTorch + PEFT on the dequantized model."""

import numpy as np
import pytest
import torch
from idletune.errors import DamagedDataError
from idletune.examples import labelled_example
from idletune.training.activation_cache import ActivationCache
from idletune.training.objective import Objective
from idletune.training.optimizer import AdamW
from idletune.training.packing import pack
from idletune_export.peft_model import from_peft, peft_parameters
from reference import (
    make_layers,
    random_examples,
    reference_loss,
    reference_model,
    relative_errors,
)
from tiny_model import write_tiny_model

LENGTHS, SHARED = (9, 23, 6, 17, 5), 4
TINY = {
    "qwen2": {},
    "qwen3": dict(head_dim=24, default="Q4_0", hidden=96),
    "gemma3": dict(head_dim=32, layers=7, kv_heads=1, window=9, default="Q5_0"),
}


@pytest.mark.parametrize(
    "targets, rank, top_layers",
    [
        ("q,k,v,o", 8, 0),
        ("q,k,v,o", 16, 1),
        ("q,k,v,o", 1, 0),
        ("v", 4, 0),
        ("q,gate,down", 3, 0),
    ],
)
@pytest.mark.parametrize("recompute, shared", [(0, SHARED), (99, 0)])
def test_tiny_gradients_agree_with_peft(tiny_path, targets, rank, top_layers, recompute, shared):
    kept = {"recompute": recompute, "resident": 0 if recompute else 1}
    layers = make_layers(tiny_path, targets=targets, rank=rank, top_layers=top_layers, **kept)
    examples = random_examples(layers.shape.vocabulary, LENGTHS, shared=shared)
    gradient = np.zeros(layers.lora.size, np.float32)
    loss, count = layers.gradients(pack(examples), gradient, 1.0)
    model = reference_model(tiny_path, layers.lora)
    expected = reference_loss(model, examples)
    expected.backward()
    assert count == sum((e.labels >= 0).sum() for e in examples)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert layers.loss(pack(examples))[0] == pytest.approx(expected.item(), rel=1e-6)
    errors = relative_errors(model, layers.lora, gradient)
    assert len(errors) == 2 * len(layers.lora.names) * (layers.shape.layers - layers.lora.first)
    assert max(errors.values()) < 1e-5, max(errors, key=errors.get)


@pytest.mark.parametrize("architecture", TINY)
def test_other_architectures_agree_with_transformers_and_peft(architecture, tmp_path):
    """Biases, QK norms, sandwich norms, GeGLU, scaled embeddings; local and global layers with a short window."""
    path = write_tiny_model(tmp_path / "tiny.gguf", architecture=architecture, **TINY[architecture])
    layers = make_layers(path, targets="q,k,v,o,gate,up,down", rank=4)
    examples = random_examples(layers.shape.vocabulary, LENGTHS, shared=SHARED)
    gradient = np.zeros(layers.lora.size, np.float32)
    loss, _ = layers.gradients(pack(examples), gradient, 1.0)
    model = reference_model(path, layers.lora)
    expected = reference_loss(model, examples)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    errors = relative_errors(model, layers.lora, gradient)
    assert max(errors.values()) < 1e-5, max(errors, key=errors.get)


@pytest.mark.parametrize(
    "architecture, shape",
    [
        ("llama", dict(hidden=40, heads=5, kv_heads=5, head_dim=6, feed_forward=33)),
        ("qwen3", dict(hidden=56, heads=6, kv_heads=3, head_dim=22, feed_forward=50)),
        ("gemma3", dict(hidden=24, heads=3, kv_heads=1, head_dim=10, feed_forward=17, window=3)),
    ],
)
@pytest.mark.parametrize("targets", ["k,o", "down"])
def test_any_shape_trains_with_the_graphs_that_ship(architecture, shape, targets, tmp_path):
    path = write_tiny_model(tmp_path / "odd.gguf", architecture=architecture, default="F32", **shape)
    layers = make_layers(path, targets=targets, rank=3)
    examples = random_examples(layers.shape.vocabulary, (5, 8, 3), shared=2)
    gradient = np.zeros(layers.lora.size, np.float32)
    loss, _ = layers.gradients(pack(examples), gradient, 1.0)
    model = reference_model(path, layers.lora)
    expected = reference_loss(model, examples)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert max(relative_errors(model, layers.lora, gradient).values()) < 1e-5


def test_adapters_on_the_top_layers_alone(tiny_path):
    """Their gradients are those of the same layers when all are trained, cached activations or not."""
    whole = make_layers(tiny_path)
    for view in whole.lora.layers[0].values():  # without effect, like the base's
        view[...] = 0
    top = make_layers(tiny_path, top_layers=1)
    top.lora.flat[...] = whole.lora.flat[-top.lora.size :]
    examples = random_examples(top.shape.vocabulary, LENGTHS, shared=SHARED)
    expected, found, cached = (np.zeros(n, np.float32) for n in (whole.lora.size, top.lora.size, top.lora.size))
    whole.gradients(pack(examples), expected, 1.0)
    top.gradients(pack(examples), found, 1.0)
    cache = ActivationCache(top, examples, 40)
    top.gradients(pack(examples, [cache.of(i) for i in range(len(examples))]), cached, 1.0)
    for gradient in (found, cached):
        np.testing.assert_allclose(gradient, expected[-top.lora.size :], atol=1e-5 * np.abs(found).max())


def test_a_preferred_reply_has_the_gradient_of_pytorch(tiny_path):
    """Weights of examples and the odds-ratio term, its log-odds by PyTorch's own functions."""
    layers = make_layers(tiny_path)
    objective = Objective({0: 0.5, 2: 0.25}, {0: 1}, strength=0.7)
    prompt, rng = list(range(3, 8)), np.random.default_rng(2)
    examples = [labelled_example([*prompt, *rng.integers(0, 90, n)], start=5) for n in (9, 14, 6)]
    gradient = np.zeros(layers.lora.size, np.float32)
    losses = layers.weighted_gradients(
        pack(examples), gradient, lambda losses: objective.factors([0, 1, 2], examples, losses)
    )
    model = reference_model(tiny_path, layers.lora)
    chosen, rejected, other = (reference_loss(model, [example]) for example in examples)
    up, down = (-loss / count - torch.log1p(-torch.exp(-loss / count)) for loss, count in ((chosen, 9), (rejected, 14)))
    odds_ratio = -torch.nn.functional.logsigmoid(up - down)
    (0.5 * (chosen + 9 * 0.7 * odds_ratio) + 0.25 * other).backward()
    np.testing.assert_allclose(losses[:9].sum(), chosen.item(), rtol=1e-6)
    errors = relative_errors(model, layers.lora, gradient)
    assert max(errors.values()) < 1e-5, max(errors, key=errors.get)


def test_packing_changes_nothing(tiny_path):
    layers = make_layers(tiny_path)
    examples = random_examples(layers.shape.vocabulary, LENGTHS, shared=SHARED)
    packed, alone = (np.zeros(layers.lora.size, np.float32) for _ in range(2))
    together, _ = layers.gradients(pack(examples), packed, 1.0)
    apart = sum(layers.gradients(pack([e]), alone, 1.0)[0] for e in examples)
    assert together == pytest.approx(apart, rel=1e-6)
    np.testing.assert_allclose(packed, alone, atol=1e-5 * np.abs(alone).max())


def test_every_memory_plan_gives_the_same_bits(tiny_path):
    results = []
    for recompute, resident in ((0, 2), (0, 1), (1, 1), (3, 0), (99, 0)):
        layers = make_layers(tiny_path, recompute=recompute, resident=resident, threads=1)
        gradient = np.zeros(layers.lora.size, np.float32)
        layers.gradients(pack(random_examples(layers.shape.vocabulary, LENGTHS, shared=SHARED)), gradient, 0.1)
        results.append(gradient.tobytes())
    assert len(results) == 5 and len(set(results)) == 1


def test_a_model_with_nan_is_refused(tiny_path):
    layers = make_layers(tiny_path)
    layers.weights.output_norm[3] = np.nan
    with pytest.raises(DamagedDataError, match="not finite"):
        row = pack(random_examples(layers.shape.vocabulary, LENGTHS, shared=SHARED))
        layers.gradients(row, np.zeros(layers.lora.size, np.float32), 1.0)


def real_examples(model_path, conversations):
    """Real exchanges of mixed lengths, encoded as training encodes them."""
    from idletune.chat_files import read_exchanges
    from idletune.model.base_model import BaseModel

    exchanges = read_exchanges(conversations / "ubuntu_irc.jsonl", "irc_04", 40)
    with BaseModel(model_path, context_tokens=512) as model:
        encoded = [model.encode_exchange(e.question, e.response, max_tokens=200) for e in exchanges]
    encoded.sort(key=lambda example: len(example.tokens))
    return [encoded[0], encoded[10], encoded[25], encoded[-1]]


@pytest.mark.model
def test_real_gradients_agree_with_peft(model_path, conversations):
    """Every LoRA tensor of the 135M model, on real rows of mixed lengths."""
    torch.set_num_threads(2)
    examples = real_examples(model_path, conversations)
    layers = make_layers(model_path, resident=0)
    gradient = np.zeros(layers.lora.size, np.float32)
    loss, _ = layers.gradients(pack(examples), gradient, 1.0)
    model = reference_model(model_path, layers.lora)
    expected = reference_loss(model, examples)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    errors = relative_errors(model, layers.lora, gradient)
    assert len(errors) == 30 * 8
    assert max(errors.values()) < 1e-5, max(errors, key=errors.get)


@pytest.mark.model
def test_five_real_steps_stay_with_torch(model_path, conversations):
    """Five AdamW steps from PEFT's own starting point: the losses and the adapter stay within 1e-4."""
    torch.set_num_threads(2)
    examples = real_examples(model_path, conversations)[:3]
    layers = make_layers(model_path, resident=0)
    lora, count = layers.lora, sum((e.labels >= 0).sum() for e in examples)
    model = reference_model(model_path, lora)
    theirs = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-4, weight_decay=0.01)
    ours, row = AdamW(lora.size, weight_decay=0.01), pack(examples)
    for _ in range(5):
        gradient = np.zeros(lora.size, np.float32)
        loss, _ = layers.gradients(row, gradient, 1 / count)
        ours.update(lora.flat, gradient, 5e-4)
        theirs.zero_grad()
        expected = reference_loss(model, examples) / count
        expected.backward()
        theirs.step()
        assert loss / count == pytest.approx(expected.item(), rel=1e-4)
    reached = np.concatenate(
        [
            from_peft(parameter.detach().numpy(), name, side, lora.shape).reshape(-1)
            for _, name, parameter, side in peft_parameters(model, lora)
        ]
    )
    assert np.linalg.norm(lora.flat - reached) < 1e-4 * np.linalg.norm(reached)
