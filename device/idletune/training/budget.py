"""The memory budget of training: the setting memory_mb, or found from what the device has free.

A found budget is USUAL_MB, or a tenth of what is free where that is more: a phone with 4 GB free has other uses for
the rest, above all as cache of the mapped files. It is never more than half of what is left beside the reserve, unless
the smallest plan of the model needs more: a model that can train on the device does.
"""

from itertools import product

from ..errors import UsageError
from ..free_memory import available_mb, is_stalled
from ..settings import LEAST_FOUND_MB, Settings
from .lora import Lora
from .plan import MemoryPlan, plan_memory

USUAL_MB = 420
SHARE = 0.1  # of the free memory
GROWTH = 1.1  # of a found budget in which no plan fits


def found_budget(free_mb: float | None, reserve_mb: int) -> tuple[int, int]:
    """The budget in MB and what it may grow to before a model is refused; `free_mb` None: unknown."""
    if free_mb is None:
        return USUAL_MB, USUAL_MB
    usable = max(LEAST_FOUND_MB, int(free_mb) - reserve_mb)
    return min(max(USUAL_MB, int(SHARE * free_mb)), max(LEAST_FOUND_MB, usable // 2)), usable


def plan_within_budget(
    lora: Lora,
    settings: Settings,
    *,
    int8: bool,
    mapped: bool,
    cached_tokens: int = 0,
    free_mb: float | None = None,
    form: str = "",
) -> MemoryPlan:
    """The fastest plan within the budget; UsageError where none fits. `free_mb`: default what the system tells.

    `form`: that of a run's plan (MemoryPlan.form). It is kept where a budget allows it at all, for a run in another
    form begins anew.
    """
    s, longest = settings, max(settings.sequence_tokens, settings.example_tokens)

    def plan(budget: int, form: str) -> MemoryPlan:
        return plan_memory(lora, longest, budget, cached_tokens, s.example_tokens, int8, mapped, form)

    free = available_mb() if free_mb is None and not s.memory_mb else free_mb
    budgets = [s.memory_mb] if s.memory_mb else _growing(*found_budget(free, s.window_reserve_mb))
    for wanted, budget in product((form, "") if form else ("",), budgets):
        try:
            return plan(budget, wanted)
        except UsageError as error:
            refusal = error
    raise refusal


def _growing(budget: int, most: int) -> list[int]:
    """Budgets from a found one up to the most."""
    budgets = []
    while budget < most:
        budgets.append(budget)
        budget = int(budget * GROWTH) + 1
    return [*budgets, most]


def memory_is_short(settings: Settings) -> bool:
    """Whether training under a found budget has to make do with less from the next step on."""
    if settings.memory_mb:
        return False
    free = available_mb()
    return is_stalled() or free is not None and free < settings.window_reserve_mb
