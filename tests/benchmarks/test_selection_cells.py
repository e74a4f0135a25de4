"""Cells of the selection benchmark: each has a key of its own, and the settings it says."""

import pytest
from idletune.model.base_model import BaseModel

from benchmarks.common import make_layers
from benchmarks.selection.cells import LONGEST, Bench, Cell


def test_what_differs_shows_in_the_key():
    cells = [
        Cell("dolly/", "random", 32, 0, 0),
        Cell("dolly/", "random", 32, 0, 1),
        Cell("dolly/", "random", 32, 3, 0),
        Cell("dolly/", "random", 32, 0, 0, fifths=2),
        Cell("dolly/", "random", 32, 0, 0, changed="rank=8"),
        Cell("dolly/", "random", 32, 0, 0, fifths=2, changed="rank=8"),
    ]
    assert len({cell.key for cell in cells}) == len(cells)


def test_changed_settings_reach_the_product():
    settings = Cell("dolly/", "all_three", 32, 3, 1, changed="targets=q,v rank=8").settings
    assert (settings.targets, settings.rank, settings.paraphrases, settings.seed) == ("q,v", 8, 3, 1)


@pytest.mark.slow
def test_what_is_measured_is_what_was_trained(tiny_path):
    """The layers that measure are others than those that train, and take the adapter each time."""
    with BaseModel(tiny_path, context_tokens=512, sequences=2, threads=1) as model:
        bench = Bench(model, lambda settings: make_layers(tiny_path, LONGEST, 500, 1, settings)[0], [])
        bench.use(Cell("mine/", "random", 32, 0, 0, changed="targets=q,v rank=4 top_share=1.0"))
        measured = bench.measured([model.encode_exchange("hello bread", "and butter")])
        bench.layers.lora.initialize(0)
        before = bench.losses(measured)
        bench.layers.lora.flat += 0.3
        after = bench.losses(measured)
        with bench.layers.lora.disabled():
            assert bench.losses(measured) == before != after
