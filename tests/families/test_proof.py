"""Every family that trains, proved on a tiny random model of it.

Against llama.cpp: the same loss at every token, with the base and with an adapter that was trained on it. Against the
family's own class with PEFT: the same gradient of every LoRA tensor. Against itself: a run that was stopped goes on to
the same bits, and the whole loop runs once. Sequences are packed throughout.
"""

from dataclasses import replace

import numpy as np
import pytest
from families.losses import token_losses, write_adapter
from families.made import folder_of, make_missing
from families.models import TINY_MODELS
from families.oracle import adapted_model, gradient_errors
from idletune.formats.families import FAMILIES
from idletune.formats.sublayers import TARGETS
from idletune.runtime import Runtime
from idletune.settings import Settings
from idletune.training.packing import pack
from idletune.training.trainer import Trainer
from loop import SETTINGS as LOOP
from loop import answer_all, observe
from reference import make_layers, random_examples, reference_loss

ARCHITECTURES = {name: tiny.architecture or name for name, tiny in TINY_MODELS.items()}
PROVED = [name for name, architecture in ARCHITECTURES.items() if architecture in FAMILIES]
LENGTHS, SHARED = (9, 23, 6, 17, 5), 4
SETTINGS = Settings(epochs=6, min_steps=0, sequence_tokens=48, learning_rate=0.01)
GATE = Settings().engine_tolerance


@pytest.fixture(scope="module", params=PROVED)
def family(request):
    make_missing(PROVED)
    return request.param


@pytest.fixture
def f32(family):
    return folder_of(family) / "f32.gguf"


@pytest.fixture
def quantized(family):
    return folder_of(family) / "quantized.gguf"


@pytest.fixture
def layers_of(family):
    """Layers over a file, with an adapter that has an effect on every linear layer."""
    targets = ",".join(short for short, name in TARGETS.items() if name in TINY_MODELS[family].modules)
    return lambda path, **options: make_layers(path, targets=targets, rank=4, **options)


def examples_of(layers, seed=0):
    return random_examples(layers.shape.vocabulary, LENGTHS, seed=seed, shared=SHARED)


def adapter_of(layers, path):
    return write_adapter(path, layers.lora, layers.shape.architecture)


def test_every_family_of_the_registry_is_proved():
    assert set(ARCHITECTURES.values()) >= set(FAMILIES)


def test_llama_cpp_computes_the_same_losses(layers_of, f32, tmp_path):
    layers = layers_of(f32)
    examples = examples_of(layers)
    with layers.lora.disabled():
        base = layers.token_losses(pack(examples))
    np.testing.assert_allclose(base, token_losses(f32, examples), rtol=1e-3)
    adapted = layers.token_losses(pack(examples))
    served = token_losses(f32, examples, adapter_of(layers, tmp_path / "adapter.gguf"))
    np.testing.assert_allclose(adapted, served, rtol=1e-3)
    assert np.abs(adapted - base).max() > 0.01


def test_quantized_blocks_compute_the_same_losses(layers_of, quantized):
    layers = layers_of(quantized)
    examples = examples_of(layers)
    with layers.lora.disabled():
        ours = layers.token_losses(pack(examples))
    assert ours.mean() == pytest.approx(token_losses(quantized, examples).mean(), rel=GATE)


def test_gradients_agree_with_the_class_and_peft(family, layers_of, f32):
    layers, tiny = layers_of(f32), TINY_MODELS[family]
    examples = examples_of(layers)
    gradient = np.zeros(layers.lora.size, np.float32)
    loss, _ = layers.gradients(pack(examples), gradient, 1.0)
    model = adapted_model(tiny, f32.parent / "original", layers.lora)
    expected = reference_loss(model, examples)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    errors = gradient_errors(model, tiny, layers.lora, gradient)
    assert max(errors.values()) < 1e-5, max(errors, key=errors.get)


def test_int8_products_come_near_and_do_not_depend_on_the_plan(layers_of, f32):
    exact, saved, again = (
        layers_of(f32),
        layers_of(f32, int8=True),
        layers_of(f32, int8=True, recompute=99, resident=0),
    )
    examples, found = examples_of(exact), []
    for layers in (exact, saved, again):
        gradient = np.zeros(layers.lora.size, np.float32)
        found.append((layers.gradients(pack(examples), gradient, 1.0)[0], gradient))
    (loss, gradient), (near_loss, near), (_, repeated) = found
    assert near_loss == pytest.approx(loss, rel=0.02) and near_loss != loss
    assert gradient @ near / np.linalg.norm(gradient) / np.linalg.norm(near) > 0.98
    assert near.tobytes() == repeated.tobytes()


def test_a_run_resumes_to_the_same_bits_and_llama_cpp_serves_its_adapter(layers_of, quantized, tmp_path):
    def trainer(checkpoint=None):
        layers = layers_of(quantized)
        return Trainer(layers, examples_of(layers), SETTINGS, checkpoint)

    whole, steps = trainer(), iter(range(100))
    assert whole.run().finished
    assert not trainer(tmp_path / "training.npz").run(should_stop=lambda: next(steps) == 2).finished
    rest = trainer(tmp_path / "training.npz")
    assert rest.resume() and rest.run().finished
    assert rest.lora.flat.tobytes() == whole.lora.flat.tobytes()

    held_out = examples_of(whole.layers, seed=1)
    ours = whole.layers.token_losses(pack(held_out))
    served = token_losses(quantized, held_out, adapter_of(whole.layers, tmp_path / "adapter.gguf"))
    assert served.mean() == pytest.approx(ours.mean(), rel=GATE)
    assert np.abs(token_losses(quantized, held_out) - served).mean() > 3 * np.abs(served - ours).mean()


def test_the_whole_loop_runs(quantized, home):
    with Runtime(home, quantized, replace(LOOP, epochs=6), sequences=2) as runtime:
        assert runtime.chat("what is this?").tokens
        observe(runtime, 10)
        answer_all(runtime)
        report = runtime.learn()
        assert report.finished and report.verdict.promoted, report.verdict.reason
        assert report.evidence.engine_adapted < 0.9 * report.evidence.engine_base
        assert runtime.chat("and this?").tokens
        assert runtime.rollback() is None and runtime.model.adapter is None
