"""Fits training into a memory budget: what is kept, what is computed again, and what that comes to.

From fast to small: every frozen product saved or each layer recomputed; as many layers as fit kept
unpacked, the rest unpacked when their turn comes. Both choices change only time and memory, never a result.
"""

from dataclasses import dataclass

from ..errors import UsageError
from .layers import HEAD_CHUNK
from .shape import ModelShape

MB = 1_000_000
FLOAT = 4
BLOCK_TEMPORARIES = 14  # (tokens, feed_forward) arrays alive at once inside the backward graph
SCORE_TEMPORARIES = 6  # (heads, tokens, tokens) arrays alive at once in attention, at worst
LOGIT_TEMPORARIES = 3  # (chunk, vocabulary) arrays alive at once in the head


@dataclass(frozen=True)
class MemoryPlan:
    """How to train within a budget; `megabytes` is the estimate for the trainer alone."""

    recompute: bool
    resident_layers: int
    megabytes: int

    def __str__(self) -> str:
        kept = "recomputes each layer" if self.recompute else "saves every frozen product"
        return f"{kept}, {self.resident_layers} layers stay unpacked, about {self.megabytes} MB"


def plan_memory(shape: ModelShape, row_tokens: int, memory_mb: int) -> MemoryPlan:
    """The fastest plan within `memory_mb`; UsageError names the smallest budget that would work."""
    for recompute in (False, True):
        least = estimate(shape, row_tokens, recompute, 0)
        if least <= memory_mb:
            fitting = (estimate(shape, row_tokens, recompute, n) <= memory_mb for n in range(1, shape.layers + 1))
            resident = sum(fitting)
            return MemoryPlan(recompute, resident, estimate(shape, row_tokens, recompute, resident))
    raise UsageError(
        f"a memory budget of {memory_mb} MB is too small for rows of {row_tokens} tokens; "
        f"give at least {least} MB (setting memory_mb) or shorter rows (row_tokens)"
    )


def estimate(shape: ModelShape, row_tokens: int, recompute: bool, resident_layers: int) -> int:
    """Megabytes the trainer takes beyond the interpreter and the mapped file."""
    layer = sum(rows * columns for rows, columns in shape.linear_shapes().values())
    weights = layer * (resident_layers + 1)
    head = shape.vocabulary * (shape.hidden + HEAD_CHUNK * LOGIT_TEMPORARIES)
    saved = sum(shape.saved_widths().values()) * (1 if recompute else shape.layers)
    kept = row_tokens * (saved + shape.hidden * shape.layers)
    inner = row_tokens * (BLOCK_TEMPORARIES * shape.feed_forward + SCORE_TEMPORARIES * shape.heads * row_tokens)
    return -(-(weights + head + kept + inner) * FLOAT // MB)
