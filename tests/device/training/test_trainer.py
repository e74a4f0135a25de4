"""Stopping, resuming and repeating a run."""

from dataclasses import replace

import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.examples import labelled_example
from idletune.settings import Settings
from idletune.training.objective import Objective
from idletune.training.trainer import Trainer
from reference import make_layers, random_examples

SETTINGS = Settings(epochs=3, min_steps=0, sequence_tokens=48, learning_rate=3e-3)


@pytest.fixture
def make_trainer(tiny_path, tmp_path):
    def make(settings=SETTINGS, checkpoint=tmp_path / "training.npz", examples=None, base="", **more):
        layers = make_layers(tiny_path, threads=1)
        examples = examples or random_examples(layers.shape.vocabulary, (20, 30, 11, 25, 40, 9))
        return Trainer(layers, examples, settings, checkpoint, base=base, **more)

    return make


def test_training_lowers_the_loss_and_repeats_bit_for_bit(make_trainer):
    first, second = make_trainer(), make_trainer()
    outcome = first.run()
    second.run()
    assert outcome.finished and len(outcome.losses) == len(first.sequences) and outcome.tokens == 3 * 135
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
    a_pass = len(make_trainer(replace(SETTINGS, epochs=1)).sequences)
    whole = make_trainer(replace(SETTINGS, min_steps=a_pass * 3, gradient_accumulation_steps=accumulate)).sequences
    assert len(whole) >= a_pass * 3 * accumulate > len(whole) - 2 * a_pass
    assert whole[:a_pass] == make_trainer(replace(SETTINGS, epochs=1)).sequences
    assert (
        make_trainer(replace(SETTINGS, min_steps=a_pass)).sequences == make_trainer().sequences
    )  # three passes are more


def test_a_checkpoint_of_another_run_is_passed_over(make_trainer):
    make_trainer().run(should_stop=lambda: True)
    other = make_trainer(Settings(epochs=2, min_steps=0, sequence_tokens=48, learning_rate=3e-3))
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


def test_without_the_values_kept_for_the_first_trained_layer_it_learns_the_same(tiny_path, tmp_path):
    def make(kept):
        layers = make_layers(tiny_path, threads=1, top_layers=1)
        examples = random_examples(layers.shape.vocabulary, (20, 30, 11, 25, 40, 9))
        return Trainer(layers, examples, SETTINGS, tmp_path / "training.npz", caches_activations=kept)

    kept, anew = make(True), make(False)
    assert kept.activation_cache is not None and anew.activation_cache is None
    np.testing.assert_allclose(kept.run().losses, anew.run().losses, rtol=1e-4)
    make(True).run(should_stop=lambda: True)
    assert not make(False).resume() and make(True).resume()  # they differ in the last bits


def test_a_preference_is_learned_and_a_stopped_run_resumes_to_the_same_bits(make_trainer):
    prompt, rng = [5, 6, 7, 8], np.random.default_rng(3)
    chosen, rejected, other = (labelled_example([*prompt, *rng.integers(0, 90, n)], start=4) for n in (6, 9, 5))

    def make(strength):
        objective = Objective({0: 0.5}, {0: 1}, strength)
        return make_trainer(SETTINGS, examples=[chosen, rejected, other], objective=objective)

    def margin(trainer):
        return np.subtract(*(np.divide(*trainer.evaluate([example])) for example in (rejected, chosen)))

    plain, whole = make(0.0), make(2.0)
    assert whole.sequences == plain.sequences and all(1 in row for row in whole.sequences if 0 in row)
    assert plain.run().finished and whole.run().finished
    assert margin(whole) > margin(plain) + 0.05
    steps = iter(range(100))
    make(2.0).run(should_stop=lambda: next(steps) == 1)
    rest = make(2.0)
    assert not make(1.0).resume() and rest.resume() and rest.run().finished
    assert rest.lora.flat.tobytes() == whole.lora.flat.tobytes()


def test_nothing_to_train_on(tiny_path):
    with pytest.raises(UsageError, match="nothing to train on"):
        Trainer(make_layers(tiny_path, threads=1), [], SETTINGS)


def test_what_is_frozen_stays_and_takes_no_part_in_the_gradients_norm(make_trainer):
    trainer = make_trainer()
    trainer.settings = replace(trainer.settings, weight_decay=0.1, max_grad_norm=1e-3)
    trainable = np.arange(trainer.lora.size) % 2 == 0
    trainer.frozen, before, seen = ~trainable, trainer.lora.flat.copy(), []
    update = trainer.optimizer.update
    trainer.optimizer.update = lambda flat, gradient, rate: (seen.append(gradient.copy()), update(flat, gradient, rate))
    trainer.run(should_stop=lambda: trainer.done == 3)
    changed = trainer.lora.flat != before
    assert changed[trainable].mean() > 0.5 and not changed[~trainable].any()
    assert not seen[0][~trainable].any() and np.linalg.norm(seen[0]) == pytest.approx(1e-3, rel=0.01)
