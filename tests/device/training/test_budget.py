"""The memory budget that is found."""

import pytest
from idletune.errors import UsageError
from idletune.settings import LEAST_FOUND_MB, Settings
from idletune.training import budget
from idletune.training.budget import USUAL_MB, found_budget, memory_is_short, plan_within_budget
from idletune.training.lora import Lora
from test_plan import SMOL

LORA = Lora(SMOL, "gate,up,down", 16, 32, 15)


def plan(free_mb, memory_mb=0, mapped=True, **how):
    settings = Settings(memory_mb=memory_mb)
    return plan_within_budget(LORA, settings, int8=True, mapped=mapped, free_mb=free_mb, **how)


@pytest.mark.parametrize(
    "free_mb, found",
    [(None, USUAL_MB), (300, LEAST_FOUND_MB), (800, 300), (1200, USUAL_MB), (4000, USUAL_MB), (9000, 900)],
)
def test_a_budget_is_a_share_of_what_is_free(free_mb, found):
    budget_mb, most = found_budget(free_mb, reserve_mb=200)
    assert budget_mb == found and budget_mb <= most


def test_the_setting_stands_above_what_is_free():
    assert plan(9000, memory_mb=250).megabytes <= 250 < plan(9000).megabytes
    with pytest.raises(UsageError, match="memory budget of 1 MB"):
        plan(9000, memory_mb=1)


def test_a_model_that_fits_the_device_is_not_refused_for_the_share(monkeypatch):
    monkeypatch.setattr(budget, "USUAL_MB", 30)
    assert 30 < plan(2000).megabytes < 250
    monkeypatch.setattr(budget, "LEAST_FOUND_MB", 20)
    with pytest.raises(UsageError, match="too small"):
        plan(220)


def test_int8_weights_in_files_take_no_memory_of_the_process():
    mapped, kept = plan(1e5), plan(1e5, mapped=False)
    assert mapped.mapped and mapped.int8_head and not kept.mapped and kept.mapped_megabytes == 0
    small = plan(0, memory_mb=200)
    assert small.mapped and small.int8 and small.megabytes <= 200
    assert not plan(0, memory_mb=200, mapped=False).int8
    assert f"{small.mapped_megabytes} MB of files mapped" in str(small)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_run_keeps_its_form_whatever_is_free_later(mapped):
    def later(free_mb, form=""):
        return plan(free_mb, mapped=mapped, cached_tokens=170_000, form=form)

    begun = later(9000)
    assert begun.caches_activations and not later(1200).caches_activations
    kept = later(1200, begun.form)
    assert kept.form == begun.form != later(1200).form and USUAL_MB < kept.megabytes <= 1000
    assert later(9000, later(1200).form).form == later(1200).form
    assert later(500, begun.form).form != begun.form, "what cannot be kept begins anew"


def test_memory_gets_short(monkeypatch):
    stalled = False
    monkeypatch.setattr(budget, "is_stalled", lambda: stalled)
    for free_mb, short in ((None, False), (1000.0, False), (100.0, True)):
        monkeypatch.setattr(budget, "available_mb", lambda: free_mb)
        assert memory_is_short(Settings()) is short and not memory_is_short(Settings(memory_mb=460))
    stalled = True
    monkeypatch.setattr(budget, "available_mb", lambda: None)
    assert memory_is_short(Settings())
