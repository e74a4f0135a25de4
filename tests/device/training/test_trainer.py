"""Stopping, resuming and repeating a run; the optimizer against PyTorch's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from idletune.errors import DamagedDataError, UsageError
from idletune.settings import Settings
from idletune.training.optimizer import AdamW, clip, cosine
from idletune.training.trainer import Trainer
from reference import make_layers, random_examples

SETTINGS = Settings(epochs=3, least_steps=0, row_tokens=48, learning_rate=3e-3)


@pytest.fixture
def make_trainer(tiny_path, tiny_graphs, tmp_path):
    def make(settings=SETTINGS, checkpoint=tmp_path / "training.npz", examples=None, base=""):
        layers = make_layers(tiny_path, tiny_graphs, threads=1)
        examples = examples or random_examples(layers.shape.vocabulary, (20, 30, 11, 25, 40, 9))
        return Trainer(layers, examples, settings, checkpoint, base=base)

    return make


def test_training_lowers_the_loss_and_repeats_bit_for_bit(make_trainer):
    first, second = make_trainer(), make_trainer()
    outcome = first.run()
    second.run()
    assert outcome.finished and len(outcome.losses) == len(first.rows) and outcome.tokens == 3 * 135
    assert np.mean(outcome.losses[-4:]) < np.mean(outcome.losses[:4])
    assert first.lora.flat.tobytes() == second.lora.flat.tobytes()


@pytest.mark.parametrize("stop_after", [1, 2, 7])
def test_a_run_stopped_anywhere_resumes_bit_for_bit(make_trainer, stop_after):
    whole = make_trainer(checkpoint=None)
    whole.run()
    steps = iter(range(1000))
    part = make_trainer()
    outcome = part.run(should_stop=lambda: next(steps) + 1 >= stop_after)
    assert not outcome.finished and part.done == stop_after
    rest = make_trainer()
    assert rest.resume() and rest.done == stop_after
    assert rest.run().finished
    assert rest.lora.flat.tobytes() == whole.lora.flat.tobytes()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_few_short_answers_are_gone_through_until_there_are_steps_enough(make_trainer, accumulate):
    a_pass = len(make_trainer(replace(SETTINGS, epochs=1)).rows)
    whole = make_trainer(replace(SETTINGS, least_steps=a_pass * 3, accumulate=accumulate)).rows
    assert len(whole) >= a_pass * 3 * accumulate > len(whole) - 2 * a_pass
    assert whole[:a_pass] == make_trainer(replace(SETTINGS, epochs=1)).rows
    assert make_trainer(replace(SETTINGS, least_steps=a_pass)).rows == make_trainer().rows  # three passes are more


def test_a_checkpoint_of_another_run_is_passed_over(make_trainer):
    make_trainer().run(should_stop=lambda: True)
    other = make_trainer(Settings(epochs=2, least_steps=0, row_tokens=48, learning_rate=3e-3))
    assert not other.resume() and other.done == 0
    assert not make_trainer(base="other weights").resume() and make_trainer().resume()


def test_a_damaged_checkpoint_is_refused_and_a_partial_one_ignored(make_trainer, tmp_path):
    make_trainer().run(should_stop=lambda: True)
    kept = (tmp_path / "training.npz").read_bytes()
    (tmp_path / "training.npz").write_bytes(kept[: len(kept) // 2])
    with pytest.raises(DamagedDataError, match="damaged; remove it"):
        make_trainer().resume()


def test_a_checkpoint_with_one_bit_changed_is_refused(make_trainer, tmp_path):
    trainer, path = make_trainer(), tmp_path / "training.npz"
    trainer.run(should_stop=lambda: True)
    kept = path.read_bytes()
    for number in range(400):
        damaged, bit = bytearray(kept), number * len(kept) * 8 // 400
        damaged[bit // 8] ^= 1 << number % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedDataError, match="damaged; remove it"):
            trainer.resume()


def test_without_the_values_kept_for_the_first_trained_layer_it_learns_the_same(tiny_path, tiny_graphs, tmp_path):
    def make(kept):
        layers = make_layers(tiny_path, tiny_graphs, threads=1, top_layers=1)
        examples = random_examples(layers.shape.vocabulary, (20, 30, 11, 25, 40, 9))
        return Trainer(layers, examples, SETTINGS, tmp_path / "training.npz", keeps_entering=kept)

    kept, anew = make(True), make(False)
    assert kept.entering is not None and anew.entering is None
    np.testing.assert_allclose(kept.run().losses, anew.run().losses, rtol=1e-4)
    make(True).run(should_stop=lambda: True)
    assert not make(False).resume() and make(True).resume()  # they differ in the last bits


def test_nothing_to_train_on(tiny_path, tiny_graphs):
    with pytest.raises(UsageError, match="nothing to train on"):
        Trainer(make_layers(tiny_path, tiny_graphs, threads=1), [], SETTINGS)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_and_clipping_agree_with_torch(weight_decay):
    rng = np.random.default_rng(0)
    start, ours = rng.standard_normal(50).astype(np.float32), AdamW(50, weight_decay)
    mine, theirs = start.copy(), torch.nn.Parameter(torch.from_numpy(start.copy()))
    reference = torch.optim.AdamW([theirs], lr=0.01, weight_decay=weight_decay)
    for _ in range(20):
        gradient = rng.standard_normal(50).astype(np.float32)
        theirs.grad = torch.from_numpy(gradient.copy())
        norm = torch.nn.utils.clip_grad_norm_([theirs], 1.0)
        assert clip(gradient, 1.0) == pytest.approx(norm.item(), rel=1e-5)
        ours.update(mine, gradient, 0.01)
        reference.step()
    np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_the_schedule_warms_up_peaks_and_ends_near_zero():
    rates = [cosine(step, 100, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == 1.0 and rates.index(1.0) == 4
    assert 0 < rates[-1] < 0.01 and all(a >= b for a, b in zip(rates[4:], rates[5:]))
    assert cosine(0, 1, 1.0) == 1.0
