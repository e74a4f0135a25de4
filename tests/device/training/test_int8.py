"""Frozen products on int8: what they are, how near they come, and when they are used."""

import numpy as np
import pytest
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.settings import Settings
from idletune.training import int8
from idletune.training.int8 import Int8Weights, int8_is_fast, use_int8
from idletune.training.packing import pack
from idletune.training.trainer import Trainer, evaluate
from idletune.training.weights import Weights
from reference import make_layers, random_examples

LENGTHS = (9, 23, 6, 17, 5)


def gradient_of(layers, examples):
    gradient = np.zeros(layers.lora.size, np.float32)
    loss, count = layers.gradients(pack(examples), gradient, 1.0)
    return gradient, loss / count


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("index", [0, 1])
def test_quantized_weights_are_the_weights_in_both_directions(tiny_path, index):
    weights = Weights(GgufFile(tiny_path), ModelShape.of(GgufFile(tiny_path)), threads=1)
    made, plain = Int8Weights(weights).sublayer(1, index), weights.sublayer(1, index)
    quantized = {f"{name}.weight" for name in weights.shape.table[1].sublayers[index].kind.int8_linears}
    for name in quantized:
        rows, columns = plain[name].shape
        linear = name.removesuffix(".weight")
        forward = made[f"{linear}.forward_weight"].reshape(columns, rows).T * made[f"{linear}.forward_scales"][:, None]
        backward = made[f"{linear}.backward_weight"].reshape(rows, columns) * made[f"{linear}.backward_scales"]
        for axis, found in ((1, forward), (0, backward)):
            half_a_step = np.abs(plain[name]).max(axis, keepdims=True) / 127 / 2
            assert (np.abs(found - plain[name]) <= half_a_step * 1.001).all()
    kept = plain.keys() - quantized
    assert kept == ({"pre_norm"} if index else {"attn_k.weight", "attn_v.weight", "pre_norm"}) and kept <= made.keys()
    for name in kept:
        np.testing.assert_array_equal(made[name], plain[name])


@pytest.mark.parametrize("targets", ["q,k,v,o", "q,gate,down"])
def test_gradients_come_near_and_do_not_depend_on_the_plan(tiny_path, targets):
    plain, saved, again = (
        make_layers(tiny_path, targets=targets, int8=on, recompute=recompute)
        for on, recompute in ((False, 0), (True, 0), (True, 99))
    )
    examples = random_examples(plain.shape.vocabulary, LENGTHS, shared=4)
    (exact, loss), (near, near_loss) = gradient_of(plain, examples), gradient_of(saved, examples)
    repeated, _ = gradient_of(again, examples)
    assert near_loss == pytest.approx(loss, rel=0.02) and near_loss != loss
    assert cosine(exact, near) > 0.98
    assert near.tobytes() == repeated.tobytes()


def test_losses_are_float32_all_the_same(tiny_path):
    plain, on_codes = (make_layers(tiny_path, int8=on) for on in (False, True))
    examples = random_examples(plain.shape.vocabulary, LENGTHS)
    gradient_of(on_codes, examples)
    assert evaluate(plain, examples, 64) == evaluate(on_codes, examples, 64)


def test_a_run_learns_resumes_bit_for_bit_and_keeps_to_its_arithmetic(tiny_path, tmp_path):
    def trainer(checkpoint, int8=True):
        layers = make_layers(tiny_path, int8=int8)
        examples = random_examples(layers.shape.vocabulary, (20, 30, 11, 25))
        settings = Settings(epochs=4, min_steps=0, sequence_tokens=48, learning_rate=3e-3)
        return Trainer(layers, examples, settings, checkpoint)

    whole, part = trainer(None), trainer(tmp_path / "checkpoint")
    losses = whole.run().losses
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    steps = iter(range(99))
    part.run(should_stop=lambda: next(steps) >= 2)
    rest = trainer(tmp_path / "checkpoint")
    assert rest.resume() and rest.run().finished
    assert rest.lora.flat.tobytes() == whole.lora.flat.tobytes()
    part.save()
    assert not trainer(tmp_path / "checkpoint", int8=False).resume()


def test_the_setting_and_the_processor_decide(monkeypatch):
    for fast in (True, False):
        monkeypatch.setattr(int8, "int8_is_fast", lambda threads: fast)
        assert use_int8("auto", 1) is fast
        assert use_int8("int8", 1) and not use_int8("float32", 1)


@pytest.mark.parametrize("features, fast", [("fp asimd evtstrm", False), ("fp asimd asimddp", True)])
def test_an_arm_processor_without_dot_products_stays_with_float32(tmp_path, monkeypatch, features, fast):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nFeatures\t: {features}\n")
    monkeypatch.setattr(int8, "PROCESSOR", tmp_path / "cpuinfo")
    assert int8.has_dot_products() is fast
    assert isinstance(int8_is_fast(1), bool)


@pytest.mark.model
def test_real_training_ends_at_the_same_loss(model_path):
    """The story's first sets for two epochs, the product's own adapter: held-out loss within 0.5 % of float32's."""
    from importlib.resources import files

    from idletune.chat_files import read_exchanges
    from idletune.model.base_model import BaseModel
    from idletune.training.layers import Layers
    from idletune.training.lora import Lora

    exchanges = read_exchanges(files("idletune") / "data" / "demo_stream.jsonl")
    with BaseModel(model_path, context_tokens=512) as base:
        examples = [base.encode_exchange(e.question, e.response, max_tokens=200) for e in exchanges]
    file, settings = GgufFile(model_path), Settings(threads=1)
    shape, found = ModelShape.of(file), []
    for on in (False, True):
        lora = Lora.from_settings(shape, settings)
        weights = Weights(file, shape, threads=1, resident=range(0 if on else 30))
        layers = Layers(weights, lora, threads=1, recompute=0, int8=on, int8_head=on)
        trainer = Trainer(layers, examples[:12], settings)
        before = trainer.evaluate(examples[-8:])
        trainer.run()
        after = trainer.evaluate(examples[-8:])
        found.append((before[0], after[0]))
    assert found[0][0] == found[1][0] and found[0][1] < 0.95 * found[0][0]
    assert found[1][1] == pytest.approx(found[0][1], rel=5e-3)
