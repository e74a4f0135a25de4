"""Fits training into a memory budget: what is kept, what is computed again, and what that comes to.

From fast to small: frozen weights as int8, where the processor has instructions for them (a choice of arithmetic,
which a run keeps to), or as float32; what enters the first trained layer kept for all examples or, where they are too
many, made anew for each row; every frozen product saved or each layer recomputed; as many layers as fit kept unpacked,
then the output matrix; the rest is unpacked when its turn comes, from scales that are kept or, at the very least,
gathered anew each time. Only the arithmetic changes a result, and in its last bits what is made anew for each row. Only
where even the smallest of these does not fit are rows made shorter, down to the longest dialogue set allowed: that is
the same training in more and smaller steps.
"""

import math
from dataclasses import dataclass

from ..errors import UsageError
from .graph_files import GraphFiles
from .int8 import INT8_LINEARS
from .lora import Lora
from .weights import CHUNK_WEIGHTS, OUTPUT_ROWS

MB = 1_000_000
FLOAT = 4
INT8_COPIES = 2 / FLOAT  # codes for the way up and for the way down, counted in float32 values
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
    int8: bool  # frozen products of the trained layers on int8
    recompute: bool
    resident: range  # layers that stay unpacked as float32
    resident_output: bool
    keeps_scales: bool  # of the blocks of all other layers
    keeps_entering: bool  # what enters the first trained layer, of all examples; else made anew for each row
    megabytes: int

    @property
    def int8_head(self) -> bool:
        """The head's products for gradients too: made anew at every step its codes would cost more than they save."""
        return self.int8 and self.resident_output

    def __str__(self) -> str:
        kept = "recomputes each layer" if self.recompute else "saves every frozen product"
        count = len(self.resident)
        unpacked = [f"{count} layer{'s' if count > 1 else ''}"] if count else []
        unpacked += ["the output matrix"] if self.resident_output else []
        return ", ".join([
            f"rows of {self.row_tokens} tokens", kept, *(["frozen products on int8"] if self.int8 else []),
            *([] if self.keeps_entering else ["goes through the lower layers at every step"]),
            *([f"keeps {' and '.join(unpacked)} unpacked"] if unpacked else []), f"about {self.megabytes} MB",
        ])


def plan_memory(
    lora: Lora, graphs: GraphFiles, row_tokens: int, memory_mb: int, cached_tokens: int = 0,
    shortest: int | None = None, int8: bool = False,
) -> MemoryPlan:
    """The fastest plan within `memory_mb`; UsageError names the smallest budget that would work.

    `int8`: frozen products may be taken on int8. `cached_tokens`: of all examples, whose values at the first
    trained layer are kept. `shortest`: rows may be made shorter down to that many tokens (default: not at all).
    """
    shortest = min(shortest or row_tokens, row_tokens)
    ways = (True, False) if lora.first else (True,)  # with all layers trained there is nothing to keep

    def sizes(tokens: int, keeps_entering: bool) -> Sizes:
        return Sizes(lora, graphs, tokens, cached_tokens, keeps_entering)

    for on_int8 in (True, False) if int8 else (False,):
        for keeps_entering in ways:
            if plan := _fastest(sizes(row_tokens, keeps_entering), on_int8, memory_mb):
                return plan
    for tokens in range(row_tokens - 1, shortest - 1, -1):
        if sizes(tokens, ways[-1]).least() <= memory_mb:
            return _smallest(sizes(tokens, ways[-1]))
    raise UsageError(
        f"a memory budget of {memory_mb} MB is too small for rows of {shortest} tokens; give at least "
        f"{sizes(shortest, ways[-1]).least()} MB (setting memory_mb) or shorter sets (row_tokens, example_tokens)"
    )


def _fastest(sizes: "Sizes", int8: bool, memory_mb: int) -> MemoryPlan | None:
    """The fastest plan with this arithmetic and rows of this length, if there is one."""
    for recompute in (False, True):
        if sizes.megabytes(recompute, int8=int8) <= memory_mb:
            return _fill(sizes, recompute, int8, memory_mb)
    return _smallest(sizes) if not int8 and sizes.least() <= memory_mb else None


def _smallest(sizes: "Sizes") -> MemoryPlan:
    return MemoryPlan(
        sizes.row_tokens, int8=False, recompute=True, resident=range(0), resident_output=False, keeps_scales=False,
        keeps_entering=sizes.keeps_entering, megabytes=sizes.least(),
    )


def _fill(sizes: "Sizes", recompute: bool, int8: bool, memory_mb: int) -> MemoryPlan:
    """Spend what is left on unpacked layers, from the top (those are needed twice), then on the output matrix.

    On int8 the trained layers are kept anyway: the output matrix, needed at every step, comes before those below.
    """
    layers = sizes.lora.shape.layers
    wanted = sizes.lora.first if int8 else layers

    def fits(count: int, output: bool) -> bool:
        return sizes.megabytes(recompute, count, output, int8) <= memory_mb

    output = int8 and fits(0, True)
    count = sum(fits(n, output) for n in range(1, wanted + 1))
    output = output or count == wanted and fits(count, True)
    resident = range(count) if int8 else range(layers - count, layers)
    return MemoryPlan(
        sizes.row_tokens, int8=int8, recompute=recompute, resident=resident, resident_output=output, keeps_scales=True,
        keeps_entering=sizes.keeps_entering, megabytes=sizes.megabytes(recompute, count, output, int8),
    )


@dataclass(frozen=True)
class Sizes:
    """What a run takes beyond the interpreter and the mapped file."""

    lora: Lora
    graphs: GraphFiles
    row_tokens: int
    cached_tokens: int
    keeps_entering: bool

    def least(self) -> int:
        """MB with nothing kept that can be made again."""
        return self.megabytes(recompute=True, scales=False)

    def megabytes(
        self, recompute: bool, resident_layers: int = 0, resident_output: bool = False, int8: bool = False,
        scales: bool = True,
    ) -> int:
        weights = self.weights(resident_layers, resident_output and not int8, scales)
        codes = self.codes(resident_output) if int8 else 0
        return math.ceil((weights + codes + self.kept(recompute) + self.inner()) * FLOAT / MB) + GRAPHS_MB

    def weights(self, resident_layers: int, resident_output: bool, scales: bool) -> float:
        shape = self.lora.shape
        layer = sum(self._linears().values())
        output = shape.vocabulary if resident_output else min(OUTPUT_ROWS, shape.vocabulary)
        streamed = shape.layers - resident_layers
        kept = streamed * SCALES_SHARE * scales
        return layer * (resident_layers + min(1, streamed) + kept) + output * shape.hidden

    def codes(self, resident_output: bool) -> float:
        """The trained layers' weights with INT8_LINEARS as codes, and the output matrix if it is kept."""
        layer = sum(n * (INT8_COPIES if name in INT8_LINEARS else 1) for name, n in self._linears().items())
        shape = self.lora.shape
        output = shape.vocabulary * shape.hidden * INT8_COPIES if resident_output else 0
        return layer * (shape.layers - self.lora.first) + output

    def _linears(self) -> dict[str, int]:
        return {name: rows * columns for name, (rows, columns) in self.lora.shape.linear_shapes().items()}

    def kept(self, recompute: bool) -> int:
        """Values that outlive a layer: saved products, layer inputs, cached activations, the adapter."""
        shape, layers = self.lora.shape, self.lora.shape.layers - self.lora.first
        saved = sum(self.graphs.saved.values()) * (1 if recompute else layers)
        entering = self.cached_tokens * shape.hidden if self.lora.first and self.keeps_entering else 0
        rows = self.row_tokens * (saved + shape.hidden * layers)
        return rows + entering + self.lora.size * ADAPTER_COPIES

    def inner(self) -> int:
        """Temporaries of the larger graph, which take turns, and those of unpacking."""
        shape, tokens = self.lora.shape, self.row_tokens
        scores = SCORE_TEMPORARIES * shape.heads * tokens * tokens
        block = BLOCK_TEMPORARIES * tokens * shape.feed_forward + scores
        head = LOGIT_TEMPORARIES * tokens * min(OUTPUT_ROWS, shape.vocabulary)
        return max(block, head) + UNPACK_TEMPORARIES * CHUNK_WEIGHTS
