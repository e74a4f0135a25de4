"""The rounds of make bench-fleet beside the product's, what a poisoned phone can do in them, and the table."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from fleet_worth import Kept  # noqa: E402
from fleets.cells import HOSTILE, OPPOSITE, FleetCell, batches, members, owns  # noqa: E402
from fleets.models import opened_trainers  # noqa: E402
from fleets.phones import ANSWERS, GIVEN, HELD_OUT, SETTINGS, Phone, Phones, divided  # noqa: E402
from fleets.product import ProductEngine  # noqa: E402
from fleets.report import table  # noqa: E402
from fleets.rounds import Fleet, nothing, one_round, run  # noqa: E402
from fleets.torch_engine import TorchEngine  # noqa: E402
from idletune.examples import labelled_example  # noqa: E402
from idletune.fleet import privacy  # noqa: E402
from idletune.fleet.shared import b_mask  # noqa: E402
from idletune.fleet.update import make_update  # noqa: E402
from idletune.formats.gguf_file import GgufFile  # noqa: E402
from idletune.formats.model_shape import ModelShape  # noqa: E402
from idletune.learning.cancellation import Cancellation  # noqa: E402
from idletune.learning.trainers import Trainers  # noqa: E402

CELL = FleetCell("irc", 4, rounds=1, form="small", clip=1.0, median=False)


def example(number, length=12):
    tokens = np.random.default_rng(number).integers(3, 60, length).tolist()
    return labelled_example(tokens, 6)


def make_phones(count=6):
    def phone(at):
        parts = (ANSWERS + HELD_OUT, ANSWERS, GIVEN)
        return Phone(*([example(1000 * at + 100 * part + i) for i in range(n)] for part, n in enumerate(parts)))

    return Phones({"irc": [phone(at) for at in range(count)]}, [example(9)])


class Adding:
    """An engine whose training adds 0.01 times a row's number, and whose loss is a row's sum: all is then worse."""

    device, name = torch.device("cpu"), "adding"

    def __init__(self, sign=1.0):
        self.sign = sign

    def train(self, lora, rows, examples, settings, seeds, trainable):
        step = 0.01 * torch.arange(1, len(rows) + 1)[:, None]
        return rows + step * (1 if trainable is None else torch.from_numpy(trainable))

    def losses(self, lora, rows, examples):
        return self.sign * rows.sum(dim=1, dtype=torch.float64).numpy()


@pytest.fixture
def shape(tiny_path):
    return ModelShape.of(GgufFile(tiny_path))


def after_a_round(shape, engine, **changed):
    fleet = Fleet(replace(CELL, **changed), make_phones().of["irc"], shape, torch.device("cpu"))
    one_round(engine, [fleet])
    return fleet


def test_the_next_shared_adapter_is_the_mean_of_the_clipped_changes(shape):
    fleet = after_a_round(shape, Adding(-1.0), clip=100.0)
    assert fleet.b == pytest.approx(0.01 * np.mean([1, 2, 3, 4]))
    bound = 0.02 * fleet.b.numel() ** 0.5
    assert after_a_round(shape, Adding(-1.0), clip=bound).b == pytest.approx(0.01 * np.mean([1, 2, 2, 2]), rel=1e-4)


def test_a_phone_whose_own_answers_gain_nothing_sends_no_change(shape):
    fleet = after_a_round(shape, Adding(1.0))
    assert fleet.helped == 0 and not fleet.b.any()


@pytest.mark.parametrize(("poison", "sign"), [(OPPOSITE, -1), (HOSTILE, 1)])
def test_a_poisoned_phone_moves_the_average_by_its_bound_and_no_more(shape, poison, sign):
    fleet = after_a_round(shape, Adding(1.0), poison=poison, clip=0.5)
    assert fleet.b.norm() == pytest.approx(0.5 / 4, rel=1e-4) and (sign * fleet.b > 0).all()
    median = after_a_round(shape, Adding(-1.0), poison=poison, clip=1e6, median=True)
    # Steps of 0.1, 0.02, 0.03 and 0.04 are clipped at their upper median, 0.04.
    assert median.b == pytest.approx((sign * 0.04 + 0.02 + 0.03 + 0.04) / 4, rel=1e-3)


def test_noise_is_of_the_clipping_norm_and_divided_by_the_phones(shape, monkeypatch):
    drawn = iter(range(100))  # in place of the system's randomness
    monkeypatch.setattr(privacy.secrets, "randbits", lambda bits: next(drawn))
    fleet = after_a_round(shape, Adding(1.0), epsilon=8.0, clip=2.0)
    z = fleet.terms.noise_multiplier
    assert fleet.b.std() == pytest.approx(2.0 * z / 2, rel=0.2)  # of four phones
    averaged = replace(CELL, epsilon=8.0, of_average=True).terms.noise_multiplier
    assert averaged == pytest.approx(z / 2)


@pytest.mark.slow
def test_a_phones_round_is_the_products(tiny_path):
    with opened_trainers(tiny_path, SETTINGS) as found:
        engine = ProductEngine(found, "float32")
        fleet = Fleet(replace(CELL, clip=100.0), make_phones().of["irc"], engine.shape, engine.device)
        trainers = Trainers(
            engine.trainers.adapters,
            engine.trainers.model,
            replace(fleet.terms.settings(SETTINGS), matmul_dtype="float32"),
        )
        changes = [
            make_update(trainers, fleet.terms, fleet.b.numpy(), *divided(phone.answers[:GIVEN]), Cancellation())
            for phone in fleet.phones
        ]
        one_round(engine, [fleet])
        assert any(change.any() for change in changes)
        assert fleet.b == pytest.approx(np.mean(changes, axis=0), abs=1e-7)
        a = ~b_mask(fleet.lora)
        assert (fleet.row.numpy()[a] == fleet.terms.lora(engine.shape).flat[a]).all()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["whole", "small"])
def test_many_adapters_side_by_side_come_to_the_numbers_of_the_product(tiny_path, form):
    phones, cells = make_phones(), [replace(CELL, form=form, clip=0.05)]
    found = list(run(TorchEngine(tiny_path), phones, ModelShape.of(GgufFile(tiny_path)), cells))
    with opened_trainers(tiny_path, SETTINGS) as trainers:
        expected = list(run(ProductEngine(trainers, "float32"), phones, trainers.shape, cells))
    assert [record["key"] for record in found] == [record["key"] for record in expected]
    for one, other in zip(found, expected):
        for name in {"started", "judged", "held_out", "hostile", "norm", "probe"} & one.keys():
            assert one[name] == pytest.approx(other[name], abs=1e-4)


def test_a_fifth_judges():
    training, judging = divided([example(i) for i in range(8)])
    assert len(training) == 6 and len(judging) == 2
    assert [len(part) for part in divided([example(i) for i in range(32)])] == [26, 6]


def test_nobody_is_in_the_fleet_and_outside(shape):
    for seed in range(3):
        inside, outside = members(replace(CELL, dataset="ubuntu_irc", phones=12, seed=seed), 16)
        assert len(inside) == 12 and len(outside) == 4 and not set(inside) & set(outside)
    assert members(replace(CELL, phones=4), 43)[1] == members(replace(CELL, phones=8), 43)[1]


def test_phones_are_read_as_they_were_written(tmp_path):
    phones = make_phones(2)
    phones.save(tmp_path / "phones.npz")
    found = Phones.load(tmp_path / "phones.npz")
    assert list(found.of) == ["irc"] and len(found.of["irc"]) == 2
    for one, other in zip(phones.of["irc"], found.of["irc"]):
        for part in vars(one):
            for a, b in zip(getattr(one, part), getattr(other, part), strict=True):
                assert (a.tokens == b.tokens).all() and (a.labels == b.labels).all()
    assert (found.probe[0].tokens == phones.probe[0].tokens).all()


def test_no_fleet_is_planned_twice():
    cells = [cell for batch in batches() for cell in batch]
    assert len({cell.key for cell in cells}) == len(cells)
    assert {cell.seed for cell in cells} == {0, 1, 2}


def test_records_of_a_run_are_compared_user_by_user(shape, tmp_path):
    kept, phones = Kept(tmp_path / "cells.jsonl"), make_phones(10)
    cells = [replace(CELL, seed=seed) for seed in (0, 1)]
    for record in (*nothing(Adding(-1.0), phones, shape, cells), *run(Adding(-1.0), phones, shape, cells)):
        kept.add(record)
        kept.add(record)  # a record counts once
    assert all(kept.has(cell) for cell in cells)
    rows = table(Kept(kept.path).records)
    assert [row["own"] for row in rows] == list(owns(CELL, 1)) == [0, 8]
    assert all(row["cells"] == 12 for row in rows)  # six outside of each of two fleets


def fleet_and_users(*users):
    """Records of a fleet, of its users (number, held out, judged, judged after training), and of two without it."""
    fleet = {"kind": "fleet", "key": "f", "round": 1, "dataset": "irc", "phones": 8, "probe": 4.0}
    fleet |= {"epsilon": 0.0, "of_average": False, "form": "whole", "clip": 5.0, "poison": "", "median": True}
    fleet |= {"learning_rate": 1.6e-3, "epochs": 1}

    def user(number, held_out, judged, after, of):
        key = f"irc|{number}|8|0|{of or 'nothing'}"
        named = {"kind": "user", "dataset": "irc", "user": number, "own": 8, "seed": 0, "fleet": of, "key": key}
        told = {"started": 4.5, "held_out": held_out, "judged": judged, "judged_after": after}
        return {**named, "round": int(bool(of)), **told}

    alone = [user(0, 4.0, 5.0, 4.0, None), user(1, 5.0, 5.0, 4.0, None)]
    return [fleet, *alone, *(user(*each, "f") for each in users)]


def test_only_users_measured_both_ways_count():
    (row,) = table([*fleet_and_users((0, 3.8, 4.0, 3.9), (1, 5.4, 4.0, 3.9), (2, 1.0, 1.0, 0.9))])
    assert row["users"] == 2 and row["taken"] == 1
    assert row["trained_less"] == pytest.approx(0.1) and row["as_it_is_less"] == pytest.approx(0.0)
    assert row["trained_low"] <= 0.1 <= row["trained_high"]


def test_the_gates_leave_out_what_does_not_help():
    base = {"kind": "base", "key": "base", "probe": 4.0}
    (row,) = table([base, *fleet_and_users((0, 3.8, 5.5, 3.9), (1, 5.4, 4.0, 4.1))])
    assert row["taken"] == 0.5  # user 0 would take what makes his own answers less likely
    assert row["gated"] == pytest.approx((4.0 + 4.5) / 2)  # user 1 keeps the fleet's, as training made it worse
    (row,) = table([{**base, "probe": 3.9}, *fleet_and_users((0, 3.8, 4.0, 3.9), (1, 5.4, 4.0, 3.9))])
    assert row["taken"] == 0 and row["gated_less"] == 0  # general text became less likely
