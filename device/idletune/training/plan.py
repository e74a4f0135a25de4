"""Fits training into a memory budget: what is kept in memory, what is recomputed, and the estimated total.

From fast to small:
1. frozen weights in int8 where the processor has the instructions, else in float32. This changes results, so a run
   keeps to it. int8 weights are mapped from files where that can be: their pages can be taken by the system at any
   time and are counted apart;
2. the activation cache holds all examples, or the frozen layers run again at every step (differs in the last bits);
3. every frozen product is saved, or some sublayers are recomputed in the backward pass (the same bits);
4. as many layers as fit stay dequantized, then the output matrix; all others are dequantized at every use, from kept
   scales or, in the smallest plan, without them;
5. only where the smallest plan does not fit are sequences made shorter, down to the longest dialogue set: the same
   training in more and smaller steps.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ..errors import UsageError
from ..formats.sublayers import Sublayer
from ..onnx_runtime.dequantizer import CHUNK_WEIGHTS
from .int8_files import file_bytes
from .lora import Lora
from .weights import OUTPUT_ROWS

MB = 1_000_000
FLOAT = 4
INT8_COPIES = 2 / FLOAT  # one int8 copy for the forward pass and one for the backward pass, in float32 values
LOGIT_TEMPORARIES = 3  # (tokens, OUTPUT_ROWS) arrays alive at once in the head
DEQUANTIZE_TEMPORARIES = 3  # (CHUNK_WEIGHTS,) arrays alive at once while blocks are dequantized
SCALES_SHARE = 1 / 32  # of a streamed weight, for its block's scales, which are kept
ADAPTER_COPIES = 5  # the parameters, both moments, the gradient and what the allocator keeps of a written checkpoint
CHECKPOINT_COPIES = 4  # of the parameters, while a checkpoint is written; the saved products are free then
HEAD_STATES = 8  # (tokens, hidden) arrays alive at once in the head, if every token carries a label
LOSS_STATES = 3  # hidden states of all tokens that are alive at once where nothing is saved
GRAPHS_MB = 35  # the loaded graphs, ONNX Runtime's own and what its arena cannot reuse


@dataclass(frozen=True)
class MemoryPlan:
    """How to train within a budget; `megabytes` is the estimate for the trainer alone, without mapped files."""

    sequence_tokens: int
    int8: bool  # frozen products of the trained layers in int8
    recompute: int  # sublayers that a gradient reaches and whose products are computed again, from the lowest up
    resident: range  # layers that stay dequantized as float32
    resident_output: bool
    keeps_scales: bool  # of the blocks of all other layers
    caches_activations: bool  # hidden states of the first trainable layer, for all examples
    megabytes: int
    mapped_megabytes: int = 0  # files of int8 weights that are mapped; 0: none are

    @property
    def mapped(self) -> bool:
        """Whether int8 weights are mapped from files."""
        return self.mapped_megabytes > 0

    @property
    def int8_head(self) -> bool:
        """Whether the head's gradient uses int8: quantizing it at every step would cost more than it saves."""
        return self.int8 and (self.resident_output or self.mapped)

    @property
    def form(self) -> str:
        """What of a plan decides the bits of a training run; the rest costs memory or time alone."""
        parts = ("int8", "int8_head", "mapped", "caches_activations")
        return f"{self.sequence_tokens} tokens{''.join(f', {part}' for part in parts if getattr(self, part))}"

    def __str__(self) -> str:
        kept = f"recomputes {self.recompute} sublayers" if self.recompute else "saves every frozen product"
        count = len(self.resident)
        dequantized = [f"{count} layer{'s' if count > 1 else ''}"] if count else []
        dequantized += ["the output matrix"] if self.resident_output else []
        return ", ".join(
            [
                f"sequences of {self.sequence_tokens} tokens",
                kept,
                *(["int8 frozen products"] if self.int8 else []),
                *([] if self.caches_activations else ["goes through the lower layers at every step"]),
                *([f"keeps {' and '.join(dequantized)} dequantized"] if dequantized else []),
                f"about {self.megabytes} MB",
                *([f"{self.mapped_megabytes} MB of files mapped"] if self.mapped else []),
            ]
        )


def plan_memory(
    lora: Lora,
    sequence_tokens: int,
    memory_mb: int,
    cached_tokens: int = 0,
    shortest: int | None = None,
    int8: bool = False,
    mapped: bool = False,
    form: str = "",
) -> MemoryPlan:
    """The fastest plan within `memory_mb`; UsageError names the smallest budget that would work.

    `int8`: int8 products are allowed; `mapped`: their weights can be mapped from files. `cached_tokens`: tokens of all
    examples, for the activation cache. `shortest`: sequences may become shorter, down to that many tokens (default:
    not at all). `form`: of this form alone (MemoryPlan.form).
    """
    shortest = min(shortest or sequence_tokens, sequence_tokens)
    ways = (True, False) if lora.first else (True,)  # with all layers trained there is nothing to keep

    def sizes(tokens: int, caches_activations: bool) -> Sizes:
        return Sizes(lora, tokens, cached_tokens, caches_activations)

    whole = [sizes(sequence_tokens, way) for way in ways]
    shorter = (sizes(tokens, ways[-1]) for tokens in range(sequence_tokens - 1, shortest - 1, -1))
    for plan in _plans(whole, shorter, int8, mapped, memory_mb):
        if form in ("", plan.form):
            return plan
    smallest = sizes(shortest, ways[-1])
    least = smallest.least()
    if int8 and mapped and shortest == sequence_tokens:
        least = min(least, smallest.mapped_megabytes(smallest.all, range(0), scales=False))
    raise UsageError(
        f"a memory budget of {memory_mb} MB is too small for sequences of {shortest} tokens; give at least "
        f"{least} MB (setting memory_mb) or shorter sets (sequence_tokens, example_tokens)"
    )


def _plans(
    whole: list["Sizes"], shorter: Iterable["Sizes"], int8: bool, mapped: bool, memory_mb: int
) -> Iterator[MemoryPlan]:
    """The plans within a budget, the fastest first: one for each form."""
    if int8 and mapped:
        for sizes in whole:
            yield from _mapped_plans(sizes, memory_mb)
    for on_int8 in (True, False) if int8 else (False,):
        for sizes in whole:
            yield from _kept_plans(sizes, on_int8, memory_mb)
    yield from (_smallest(sizes) for sizes in shorter if sizes.least() <= memory_mb)


def _kept_plans(sizes: "Sizes", int8: bool, memory_mb: int) -> Iterator[MemoryPlan]:
    """The fastest plan with these products and sequences of this length; in int8 with the int8 head and without."""
    fewest = sizes.fewest(lambda recompute: sizes.megabytes(recompute, int8=int8) <= memory_mb)
    if fewest is not None:
        yield (fastest := _fill(sizes, fewest, int8, memory_mb))
        if fastest.int8_head:
            yield _fill(sizes, fewest, int8, memory_mb, with_output=False)
    elif not int8 and sizes.least() <= memory_mb:
        yield _smallest(sizes)


def _mapped_plans(sizes: "Sizes", memory_mb: int) -> Iterator[MemoryPlan]:
    """The fastest plan with int8 weights in files, if one fits. What is left goes to the layers that losses need in
    float32, from the top."""
    layers, mapped = sizes.lora.shape.layers, math.ceil(file_bytes(sizes.lora) / MB)

    def megabytes(recompute: int, count: int, scales: bool) -> int:
        return sizes.mapped_megabytes(recompute, range(layers - count, layers), scales)

    fewest = sizes.fewest(lambda recompute: megabytes(recompute, 0, False) <= memory_mb)
    if fewest is None:
        return
    choices = [(0, False), *((count, True) for count in range(layers + 1))]
    count, scales = [one for one in choices if megabytes(fewest, *one) <= memory_mb][-1]
    yield MemoryPlan(
        sizes.sequence_tokens,
        int8=True,
        recompute=fewest,
        resident=range(layers - count, layers),
        resident_output=False,
        keeps_scales=scales,
        caches_activations=sizes.caches_activations,
        megabytes=megabytes(fewest, count, scales),
        mapped_megabytes=mapped,
    )


def _smallest(sizes: "Sizes") -> MemoryPlan:
    return MemoryPlan(
        sizes.sequence_tokens,
        int8=False,
        recompute=sizes.all,
        resident=range(0),
        resident_output=False,
        keeps_scales=False,
        caches_activations=sizes.caches_activations,
        megabytes=sizes.least(),
    )


def _fill(sizes: "Sizes", recompute: int, int8: bool, memory_mb: int, with_output: bool = True) -> MemoryPlan:
    """Spend what is left on dequantized layers from the top (used twice a step), then on the output matrix.

    With int8 the trained layers are kept anyway. The output matrix, used at every step, then comes before the frozen
    layers.
    """
    layers = sizes.lora.shape.layers
    wanted = sizes.lora.first if int8 else layers

    def resident(count: int) -> range:
        return range(count) if int8 else range(layers - count, layers)

    def fits(count: int, output: bool) -> bool:
        return sizes.megabytes(recompute, resident(count), output, int8) <= memory_mb

    output = with_output and int8 and fits(0, True)
    count = sum(fits(n, output) for n in range(1, wanted + 1))
    output = output or with_output and count == wanted and fits(count, True)
    return MemoryPlan(
        sizes.sequence_tokens,
        int8=int8,
        recompute=recompute,
        resident=resident(count),
        resident_output=output,
        keeps_scales=True,
        caches_activations=sizes.caches_activations,
        megabytes=sizes.megabytes(recompute, resident(count), output, int8),
    )


@dataclass(frozen=True)
class Sizes:
    """Memory of a run beyond the interpreter and the mapped file, as numbers of float32 values."""

    lora: Lora
    sequence_tokens: int
    cached_tokens: int
    caches_activations: bool

    @cached_property
    def trained(self) -> list[Sublayer]:
        return self.lora.trained_sublayers()

    @property
    def all(self) -> int:
        """Sublayers that can be recomputed."""
        return len(self.trained)

    def fewest(self, fits: Callable[[int], bool]) -> int | None:
        """The fewest sublayers to recompute so that it fits; None where it never does."""
        return next((count for count in range(self.all + 1) if fits(count)), None)

    def least(self) -> int:
        """MB of the smallest plan: nothing is kept that can be recomputed."""
        return self.megabytes(self.all, scales=False)

    def megabytes(
        self,
        recompute: int,
        resident: range = range(0),
        resident_output: bool = False,
        int8: bool = False,
        scales: bool = True,
    ) -> int:
        weights = self.weights(resident, resident_output and not int8, scales)
        quantized = self.quantized(resident_output) if int8 else 0
        return math.ceil((weights + quantized + self.kept(recompute) + self.inner) * FLOAT / MB) + GRAPHS_MB

    def mapped_megabytes(self, recompute: int, resident: range, scales: bool) -> int:
        """MB with int8 weights in files: training and losses free each other's arrays (Layers), and losses need no
        activation cache (Trainer)."""
        held = self.weights(resident, False, scales) - self.buffer(resident)
        states = (LOSS_STATES + HEAD_STATES) * self.sequence_tokens * self.lora.shape.state_width
        loss = self.buffer(resident) + states + self._adapter
        return math.ceil((held + max(self.kept(recompute), loss) + self.inner) * FLOAT / MB) + GRAPHS_MB

    def buffer(self, resident: range) -> int:
        """The buffer of one dequantized sublayer, for all that are not resident."""
        shape = self.lora.shape
        return max(_weights(one) for layer in shape.table for one in layer.sublayers) * (len(resident) < shape.layers)

    def cached(self) -> int:
        """The activation cache of all examples."""
        return self.cached_tokens * self.lora.shape.state_width if self.lora.first and self.caches_activations else 0

    def weights(self, resident: range, resident_output: bool, scales: bool) -> float:
        """Dequantized layers, the buffer of one sublayer for all others, and their scales."""
        shape = self.lora.shape
        kept = sum(
            size * (1 if number in resident else SCALES_SHARE * scales)
            for number, size in enumerate(self._layer_weights)
        )
        output = shape.vocabulary if resident_output else min(OUTPUT_ROWS, shape.vocabulary)
        return kept + self.buffer(resident) + output * shape.hidden

    @cached_property
    def _layer_weights(self) -> list[int]:
        return [sum(map(_weights, layer.sublayers)) for layer in self.lora.shape.table]

    def quantized(self, resident_output: bool) -> float:
        """Weights of the trained sublayers with those of int8 products quantized, and the output matrix if it is
        kept."""
        shape = self.lora.shape
        output = shape.vocabulary * shape.hidden * INT8_COPIES if resident_output else 0
        return sum(map(_quantized_weights, self.trained)) + output

    def kept(self, recompute: int) -> int:
        """Values that outlive a sublayer: saved products, inputs, activation cache, adapter and optimizer."""
        shape, widths = self.lora.shape, self._saved_widths
        saved = sum(widths[recompute:]) + max(widths[:recompute], default=0)
        states = shape.state_width * (len(widths) + HEAD_STATES)
        step, checkpoint = self.sequence_tokens * (saved + states), CHECKPOINT_COPIES * self.lora.size
        return max(step, checkpoint) + self.cached() + self._adapter

    @cached_property
    def _saved_widths(self) -> list[int]:
        return [sum(sublayer.saved_widths().values()) for sublayer in self.trained]

    @cached_property
    def _adapter(self) -> int:
        return self.lora.size * ADAPTER_COPIES

    @cached_property
    def inner(self) -> int:
        """Temporaries of the largest graph, since graphs run one after the other in one arena."""
        shape, tokens = self.lora.shape, self.sequence_tokens
        sublayer = max(one.temporaries(tokens) for layer in shape.table for one in layer.sublayers)
        head = LOGIT_TEMPORARIES * tokens * min(OUTPUT_ROWS, shape.vocabulary)
        return max(sublayer, head, DEQUANTIZE_TEMPORARIES * CHUNK_WEIGHTS)


def _weights(sublayer: Sublayer) -> int:
    return sum(linear.rows * linear.columns for linear in sublayer.linears.values())


def _quantized_weights(sublayer: Sublayer) -> float:
    return sum(
        linear.rows * linear.columns * (INT8_COPIES if name in sublayer.kind.int8_linears else 1)
        for name, linear in sublayer.linears.items()
    )
