"""idletune check on a tiny model of every family: it is known, fits, and takes two training steps."""

import pytest
from families.made import folder_of, make_missing
from families.models import TINY_MODELS
from idletune.formats.families import FAMILIES
from idletune.learning.model_check import check_model
from idletune.model import trial
from idletune.settings import Settings

TRAINED = [name for name, model in TINY_MODELS.items() if (model.architecture or name) in FAMILIES]


@pytest.fixture(scope="module", autouse=True)
def models():
    make_missing(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_a_family_is_checked(name, monkeypatch):
    monkeypatch.setattr(trial, "_python", lambda: None)  # a process of its own for each file is tested elsewhere
    report = check_model(folder_of(name) / "quantized.gguf", Settings(threads=1, context_tokens=256, memory_mb=200))
    assert report.supported and not report.refusal
    assert report.family == FAMILIES[report.architecture].models
    assert report.night.step_seconds > 0 and report.planned_mb <= 200
