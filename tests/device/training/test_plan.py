import pytest
from idletune.errors import UsageError
from idletune.training.plan import plan_memory
from idletune.training.shape import ModelShape

SMOL = ModelShape("llama", 30, 576, 1536, 9, 3, 64, 1e-5, 1e5, 49152)


def test_more_memory_buys_speed():
    plans = [plan_memory(SMOL, 256, mb) for mb in (1000, 450, 300)]
    assert [p.recompute for p in plans] == [False, False, True]
    assert plans[0].resident_layers == 30 > plans[1].resident_layers > 0
    assert all(p.megabytes <= mb for p, mb in zip(plans, (1000, 450, 300)))


def test_too_small_a_budget_names_the_smallest_that_works():
    with pytest.raises(UsageError, match=r"100 MB is too small.*at least (\d+) MB") as error:
        plan_memory(SMOL, 256, 100)
    least = int(str(error.value).split("at least ")[1].split()[0])
    assert plan_memory(SMOL, 256, least).recompute
    with pytest.raises(UsageError):
        plan_memory(SMOL, 256, least - 1)
