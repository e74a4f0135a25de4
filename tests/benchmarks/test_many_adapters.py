"""Many adapters at once compute what the product's trainer computes for each."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from idletune.examples import Example
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.settings import Settings
from idletune.training.lora import Lora
from idletune.training.objective import Objective, TrainingData
from idletune.training.trainer import Trainer
from reference import layers_with
from tiny_model import write_tiny_model

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from many_adapters.batches import Objectives, Packed, States  # noqa: E402
from many_adapters.model import FrozenModel  # noqa: E402
from many_adapters.sampling import sample  # noqa: E402
from many_adapters.training import Run, fresh, losses, states_of, train  # noqa: E402

SETTINGS = Settings(rank=4, alpha=8.0, epochs=2, min_steps=5, sequence_tokens=64, matmul_dtype="float32", threads=1)
FORMS = [
    {"architecture": "llama", "layers": 3},
    {"architecture": "gemma3", "layers": 3, "window": 12, "head_dim": 32},
    {"architecture": "qwen2", "layers": 2, "tied": False},
]


def examples_of(lengths, seed, shared=6) -> list[Example]:
    """Random examples that begin alike; the second half of each carries labels."""
    rng = np.random.default_rng(seed)
    beginning, found = np.arange(3, 3 + shared), []
    for n in lengths:
        tokens = np.concatenate([beginning, rng.integers(3, 250, n - shared)]).astype(np.int32)
        labels = np.append(tokens[1:], -100).astype(np.int32)
        labels[: n // 2] = -100
        found.append(Example(tokens, labels))
    return found


def pairs_of(count: int, seed: int) -> TrainingData:
    """Chosen and rejected replies behind the same prompts, and two typed answers."""
    data = examples_of([20 + 2 * i for i in range(count)], seed)
    rejected = {}
    for number, chosen in enumerate(data[:-2]):
        prompt = len(chosen.tokens) // 2 + 1
        tail = np.random.default_rng([seed, number]).integers(3, 250, 7)
        tokens = np.concatenate([chosen.tokens[:prompt], tail]).astype(np.int32)
        labels = np.append(tokens[1:], -100).astype(np.int32)
        labels[: prompt - 1] = -100
        rejected[number] = Example(tokens, labels)
    return TrainingData(data, dict.fromkeys(rejected, 0.5), rejected)


@pytest.fixture(params=FORMS, ids=lambda form: form["architecture"])
def tiny(request, tmp_path) -> Path:
    return write_tiny_model(tmp_path / "tiny.gguf", **request.param)


def by_the_product(path: Path, seed: int, run: Run, held_out: list[Example]) -> tuple[np.ndarray, np.ndarray]:
    """Parameters after training, and the mean loss of each held-out example."""
    lora = Lora.from_settings(ModelShape.of(GgufFile(path)), run.settings).initialize(seed)
    trainer = Trainer(layers_with(path, lora), run.examples, run.settings, objective=run.objective)
    trainer.run()
    totals = [trainer.evaluate([example]) for example in held_out]
    return lora.flat.copy(), np.array([total / count for total, count in totals])


def test_training_and_losses_are_the_products(tiny):
    model = FrozenModel(tiny)
    lora = Lora.from_settings(model.shape, SETTINGS)
    states, held_out = states_of(model, lora), examples_of([30, 41, 17], seed=9)
    runs = [
        Run(examples_of([20, 33, 28, 19], 1), SETTINGS),
        Run(examples_of([25] * 9, 2), replace(SETTINGS, seed=3, learning_rate=2e-3)),
        Run(*_as_run(pairs_of(5, 4), strength=0.5)),
    ]
    trained = train(states, lora, fresh(lora, [0, 3, 5]), runs)
    found = losses(states, lora, trained, [held_out] * len(runs), sequence_tokens=64)
    for number, (seed, run) in enumerate(zip([0, 3, 5], runs)):
        parameters, each = by_the_product(tiny, seed, run, held_out)
        np.testing.assert_allclose(found[number], each, atol=2e-4)
        np.testing.assert_allclose(trained[number].numpy(), parameters, atol=2e-4)
    base = losses(states, lora, None, [held_out])[0]
    np.testing.assert_allclose(base, losses(states, lora, fresh(lora, [0]), [held_out])[0], atol=1e-5)
    assert np.abs(found[1] - base).max() > 20 * 2e-4  # more than the tolerance: it did train


def _as_run(data: TrainingData, strength: float):
    settings = replace(SETTINGS, preference=strength)
    examples, objective = data.within(settings.sequence_tokens, strength)
    assert objective.rejected
    return examples, settings, objective


def test_what_is_not_trainable_stays(tiny_path):
    model = FrozenModel(tiny_path)
    lora = Lora.from_settings(model.shape, SETTINGS)
    only_b = np.zeros(lora.size, bool)
    for views in lora.views(only_b):
        for name, view in views.items():
            view[...] = name.endswith("lora_b")
    start, run = fresh(lora, [0]), Run(examples_of([20, 30], 1), SETTINGS)
    trained = train(states_of(model, lora), lora, start, [run], torch.from_numpy(only_b))
    same = (trained == start)[0].numpy()
    assert same[~only_b].all() and not same[only_b].all()


def test_how_runs_are_grouped_makes_no_difference(tiny_path):
    model = FrozenModel(tiny_path)
    lora = Lora.from_settings(model.shape, SETTINGS)
    runs = [Run(examples_of([18 + 3 * seed] * (3 + seed), seed), SETTINGS) for seed in range(3)]
    flat = fresh(lora, [0, 1, 2])
    together = train(states_of(model, lora), lora, flat, runs)
    alone = train(states_of(model, lora), lora, flat, runs, tokens=1)
    np.testing.assert_allclose(together.numpy(), alone.numpy(), atol=1e-5)


def test_the_objective_is_the_products(tiny_path):
    """Its derivative by the losses is what the product multiplies gradients with."""
    examples, _, objective = _as_run(pairs_of(5, 2), strength=0.7)
    numbers = [0, objective.rejected[0], 4, 2, objective.rejected[2]]
    counts = [int((examples[i].labels >= 0).sum()) for i in numbers]
    values = np.random.default_rng(0).uniform(0.5, 3, sum(counts)).astype(np.float32)
    wanted = objective.factors(numbers, examples, values)
    learned = sum(count for count, i in zip(counts, numbers) if i not in objective.rejected.values())
    found = torch.from_numpy(values).requires_grad_()
    plain = [0, 1]
    other = torch.ones(sum(int((examples[i].labels >= 0).sum()) for i in plain))
    parts = [(Objective(), plain, examples), (objective, numbers, examples)]
    Objectives(parts, "cpu").total(torch.cat([other, found])).backward()
    np.testing.assert_allclose(found.grad.numpy() * learned, wanted, rtol=1e-4, atol=1e-5)


def test_a_reply_is_sampled_from_the_products_distribution(tiny_path):
    """Nearly all of the nucleus on one token leaves one continuation: the greedy one, step by step."""
    model = FrozenModel(tiny_path)
    prompts = [[5, 9, 40], [7, 8, 9, 10, 11]]
    replies = sample(model, prompts, 4, temperature=0.7, top_p=1e-6, ends=(), seed=0)
    for prompt, reply in zip(prompts, replies):
        for place, token in enumerate(reply):
            tokens = np.array([*prompt, *reply[:place]])
            states = States(model, len(model.steps))
            (start,) = states.add([Example(tokens, tokens)])
            last = states.values[start + len(tokens) - 1]
            assert int(model.logits(last[None]).argmax()) == token
    assert [len(reply) for reply in replies] == [4, 4]
    last = replies[1][-1]
    ended = sample(model, prompts, 4, temperature=0.7, top_p=1e-6, ends=(last,), seed=0)
    assert ended[1] == replies[1][: replies[1].index(last)]


def test_a_packed_sequence_shares_its_prefix():
    packed = Packed.of(examples_of([14, 16], 0), [100, 200])
    assert packed.sources.tolist() == [*range(100, 114), *range(206, 216)]
    assert packed.positions.tolist() == [*range(14), *range(6, 16)]
    assert packed.sets.tolist() == [-1] * 6 + [0] * 8 + [1] * 10
