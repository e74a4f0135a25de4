"""Fits training into a memory budget: what is kept, what is computed again, and what that comes to.

From fast to small: every frozen product saved or each layer recomputed; as many layers as fit kept
unpacked, then the output matrix; the rest is unpacked when its turn comes. None of it changes a result.
Only where even the smallest of these does not fit are rows made shorter, down to the longest dialogue set
allowed: that is the same training in more and smaller steps.
"""

import math
from dataclasses import dataclass

from ..errors import UsageError
from .graph_files import GraphFiles
from .lora import Lora
from .weights import CHUNK_WEIGHTS, OUTPUT_ROWS

MB = 1_000_000
FLOAT = 4
BLOCK_TEMPORARIES = 9  # (tokens, feed_forward) arrays alive at once inside the backward graph
SCORE_TEMPORARIES = 7  # (heads, tokens, tokens) arrays alive at once in attention, at worst
LOGIT_TEMPORARIES = 3  # (tokens, OUTPUT_ROWS) arrays alive at once in the head
UNPACK_TEMPORARIES = 4  # (CHUNK_WEIGHTS,) arrays alive at once while blocks are unpacked
SCALES_SHARE = 1 / 32  # of a streamed weight, for its block's scales, which are kept
ADAPTER_COPIES = 6  # the parameters, both moments, the gradient and two temporaries of the optimizer
GRAPHS_MB = 35  # the loaded graphs, ONNX Runtime's own and what its arena cannot reuse


@dataclass(frozen=True)
class MemoryPlan:
    """How to train within a budget; `megabytes` is the estimate for the trainer alone."""

    row_tokens: int
    recompute: bool
    resident: range  # layers that stay unpacked
    resident_output: bool
    megabytes: int

    def __str__(self) -> str:
        kept = "recomputes each layer" if self.recompute else "saves every frozen product"
        output = " and the output matrix" if self.resident_output else ""
        return (
            f"rows of {self.row_tokens} tokens, {kept}, {len(self.resident)} layers{output} stay unpacked, "
            f"about {self.megabytes} MB"
        )


def plan_memory(
    lora: Lora, graphs: GraphFiles, row_tokens: int, memory_mb: int, cached_tokens: int = 0, shortest: int | None = None
) -> MemoryPlan:
    """The fastest plan within `memory_mb`; UsageError names the smallest budget that would work.

    `cached_tokens`: of all examples, whose values at the first trained layer are kept. `shortest`: rows may
    be made shorter down to that many tokens (default: not at all).
    """
    def sizes(tokens: int) -> Sizes:
        return Sizes(lora, graphs, tokens, cached_tokens if lora.first else 0)

    for recompute in (False, True):
        if sizes(row_tokens).least(recompute) <= memory_mb:
            return _fill(sizes(row_tokens), recompute, memory_mb)
    shortest = min(shortest or row_tokens, row_tokens)
    fitting = [n for n in range(shortest, row_tokens) if sizes(n).least(recompute=True) <= memory_mb]
    if fitting:
        return _fill(sizes(fitting[-1]), True, memory_mb)
    raise UsageError(
        f"a memory budget of {memory_mb} MB is too small for rows of {shortest} tokens; give at least "
        f"{sizes(shortest).least(recompute=True)} MB (setting memory_mb) or shorter sets (row_tokens, example_tokens)"
    )


def _fill(sizes: "Sizes", recompute: bool, memory_mb: int) -> MemoryPlan:
    """Spend what is left on unpacked layers, from the top (those are needed twice), then on the output matrix."""
    layers = sizes.lora.shape.layers
    count = sum(sizes.megabytes(recompute, n, False) <= memory_mb for n in range(1, layers + 1))
    output = count == layers and sizes.megabytes(recompute, count, True) <= memory_mb
    megabytes = sizes.megabytes(recompute, count, output)
    return MemoryPlan(sizes.row_tokens, recompute, range(layers - count, layers), output, megabytes)


@dataclass(frozen=True)
class Sizes:
    """What a run takes beyond the interpreter and the mapped file."""

    lora: Lora
    graphs: GraphFiles
    row_tokens: int
    cached_tokens: int

    def least(self, recompute: bool) -> int:
        """MB with nothing kept unpacked."""
        return self.megabytes(recompute, 0, False)

    def megabytes(self, recompute: bool, resident_layers: int, resident_output: bool) -> int:
        values = self.weights(resident_layers, resident_output) + self.kept(recompute) + self.inner()
        return math.ceil(values * FLOAT / MB) + GRAPHS_MB

    def weights(self, resident_layers: int, resident_output: bool) -> float:
        shape = self.lora.shape
        layer = sum(rows * columns for rows, columns in shape.linear_shapes().values())
        output = shape.vocabulary if resident_output else min(OUTPUT_ROWS, shape.vocabulary)
        streamed = shape.layers - resident_layers
        return layer * (resident_layers + min(1, streamed) + streamed * SCALES_SHARE) + output * shape.hidden

    def kept(self, recompute: bool) -> int:
        """Values that outlive a layer: saved products, layer inputs, cached activations, the adapter."""
        shape, layers = self.lora.shape, self.lora.shape.layers - self.lora.first
        saved = sum(self.graphs.saved.values()) * (1 if recompute else layers)
        rows = self.row_tokens * (saved + shape.hidden * layers) + self.cached_tokens * shape.hidden
        return rows + self.lora.size * ADAPTER_COPIES

    def inner(self) -> int:
        """Temporaries of the larger graph, which take turns, and those of unpacking."""
        shape, tokens = self.lora.shape, self.row_tokens
        scores = SCORE_TEMPORARIES * shape.heads * tokens * tokens
        block = BLOCK_TEMPORARIES * tokens * shape.feed_forward + scores
        head = LOGIT_TEMPORARIES * tokens * min(OUTPUT_ROWS, shape.vocabulary)
        return max(block, head) + UNPACK_TEMPORARIES * CHUNK_WEIGHTS
