"""Forward and backward passes over the sublayers: loss and LoRA gradients of one packed sequence.

Memory is the weights of one sublayer plus what each sublayer keeps. Two ways with the same arithmetic:
- saved: the forward pass keeps the result of every product with a frozen weight, so the backward pass repeats none;
- recomputed: only the sublayer's input is kept, and its forward graph runs once more (gradient checkpointing, Chen et
  al. 2016, arXiv 1604.06174). As many as the memory plan says are, from the lowest that a gradient reaches up.
Training passes may compute the frozen products in int8; losses are always float32.
Sublayers below the first one with an adapter need no backward pass, so nothing of them is kept.
"""

from collections.abc import Callable

import numpy as np

from ..errors import DamagedDataError
from ..formats.gguf_file import GgufFile
from ..formats.model_shape import ModelShape
from ..settings import cores
from .arena import Arena
from .head import Head
from .int8 import Int8Weights
from .int8_files import MappedInt8
from .int8_head import Int8Head
from .lora import Lora
from .packing import PackedSequence
from .plan import MemoryPlan
from .sequence_inputs import SequenceInputs
from .sublayer_graphs import Step, SublayerGraphs, steps_of
from .weights import Weights


class Layers:
    """Runs the training graphs over the sublayers of a model, with the adapter `lora`."""

    def __init__(
        self,
        weights: Weights,
        lora: Lora,
        *,
        threads: int,
        recompute: int,
        int8: bool = False,
        int8_head: bool = False,
        int8_frozen: bool = False,
        mapped: MappedInt8 | None = None,
    ):
        self.shape: ModelShape = weights.shape
        self.weights, self._lora, self.recompute, self.int8 = weights, lora, recompute, int8
        self.threads = threads or cores()
        self._graphs = SublayerGraphs(threads, int8)
        self._mapped, self._int8_frozen, self._is_training = mapped, int8_frozen, False
        self._training_weights = mapped or (Int8Weights(weights) if int8 else weights)
        self._int8_head = Int8Head(weights, threads, mapped.output_chunks if mapped else None) if int8_head else None
        self._head = Head(weights, threads, self._int8_head)
        self._arena = Arena()
        self._steps = steps_of(self.shape, lora)
        self._first = next(n for n, step in enumerate(self._steps) if step.adapted)
        self._lora_scale = np.zeros((), np.float32)

    @property
    def lora(self) -> Lora:
        """The adapter; another one takes other layers, for the sublayers hold its arrays."""
        return self._lora

    @classmethod
    def planned(
        cls, gguf: GgufFile, lora: Lora, plan: MemoryPlan, threads: int, mapped: MappedInt8 | None = None
    ) -> "Layers":
        """The layers of a GGUF file, run as the memory plan says; `mapped` are the files that it counts on."""
        weights = Weights(
            gguf,
            lora.shape,
            threads=threads,
            resident=plan.resident,
            resident_output=plan.resident_output and not plan.int8,
            keeps_scales=plan.keeps_scales,
        )
        return cls(
            weights,
            lora,
            threads=threads,
            recompute=plan.recompute,
            int8=plan.int8,
            int8_head=plan.int8_head,
            int8_frozen=plan.mapped,
            mapped=mapped,
        )

    @property
    def arithmetic(self) -> str:
        """Which products are int8. A training run keeps to it: a resumed run must compute the same bits."""
        parts = (("the head", self._int8_head), ("the frozen layers", self._int8_frozen))
        further = " and ".join(name for name, on_int8 in parts if on_int8)
        return f"{'int8' if self.int8 else 'float32'}{f' with {further}' if further else ''}"

    @property
    def mean_hidden(self) -> np.ndarray | None:
        """State of the int8 head that a checkpoint holds (see Int8Head); None before the first step."""
        return self._int8_head.mean_hidden if self._int8_head else None

    @mean_hidden.setter
    def mean_hidden(self, mean_hidden: np.ndarray | None) -> None:
        if self._int8_head:
            self._int8_head.mean_hidden = mean_hidden

    def frozen_forward(self, sequences: list[PackedSequence], training: bool = False) -> list[np.ndarray]:
        """What enters the first trainable sublayer: float32 (T, shape.state_width) for each sequence.

        The sequences go through each sublayer together, so that its weights are dequantized once. For training the
        products may be int8.
        """
        self._begin(training and self._int8_frozen)
        embedded = [self.weights.embed(sequence.tokens) for sequence in sequences]
        inputs = [SequenceInputs(sequence, self.weights, self.threads) for sequence in sequences]
        above = self._forward_only(embedded, inputs, self._steps[: self._first], training and self._int8_frozen)
        return [one.state(x) for one, x in zip(inputs, above)]

    def loss(self, sequence: PackedSequence) -> tuple[float, int]:
        """Summed cross-entropy in nats over the labelled positions, and their number."""
        losses = self.token_losses(sequence)
        return float(losses.sum(dtype=np.float64)), len(losses)

    def token_losses(self, sequence: PackedSequence) -> np.ndarray:
        """Cross-entropy in nats at each labelled position: float32 (labelled,)."""
        inputs = SequenceInputs(sequence, self.weights, self.threads)
        hidden_states = inputs.take_state(self._state(sequence))
        (x,) = self._forward_only([hidden_states], [inputs], self._steps[self._first :], int8=False)
        at = sequence.labelled_positions
        return self._head.losses(np.ascontiguousarray(x[at]), sequence.labels[at])

    def gradients(self, sequence: PackedSequence, out: np.ndarray, scale: float) -> tuple[float, int]:
        """Like `loss`, and adds `scale` times the gradient of the summed loss to `out` (flat, lora.size)."""
        losses = self.weighted_gradients(sequence, out, lambda losses: np.full(len(losses), scale, np.float32))
        return float(losses.sum(dtype=np.float64)), len(losses)

    def weighted_gradients(
        self, sequence: PackedSequence, out: np.ndarray, factors: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Losses of the labelled tokens, float32 (labelled,); adds their gradients to `out`, each times its factor.

        `factors` gives these, float32 (labelled,), once the losses are known: an objective's derivatives by them.
        """
        inputs, saved, common = self._forward_saving(sequence)
        losses, dx = self._head_gradient(inputs[-1], sequence, factors)
        collected = self.lora.views(out)
        for n, step in reversed(list(enumerate(self._steps[self._first :]))):
            dx = self._backward_step(n, step, dx, inputs[n], saved[n], common, collected[step.layer])
        return losses

    @property
    def uses_least_memory(self) -> bool:
        """Whether every sublayer is recomputed."""
        return self.recompute >= len(self._steps) - self._first

    def use_less_memory(self) -> None:
        """Recompute every sublayer from the next step on (the same bits), and free what is kept between steps."""
        self.recompute = len(self._steps) - self._first
        self.release_kept()
        self.weights.release_resident()

    def release_kept(self) -> None:
        """Free the arrays that are kept from step to step, until the next one."""
        self._arena = Arena()

    def _begin(self, training: bool) -> None:
        """With mapped weights, training and losses need different arrays: those of the other are freed."""
        if self._mapped and training != self._is_training:
            if training:
                self.weights.release_buffer()
            else:
                self.release_kept()
        self._is_training = training

    def _state(self, sequence: PackedSequence, training: bool = False) -> np.ndarray:
        return self.frozen_forward([sequence], training)[0] if sequence.state is None else sequence.state

    def _forward_only(
        self, values: list[np.ndarray], common: list[SequenceInputs], steps: list[Step], int8: bool
    ) -> list[np.ndarray]:
        """Hidden states of some sequences after some sublayers; nothing is kept."""
        all_weights, arena = self._training_weights if int8 else self.weights, Arena()
        for n, step in enumerate(steps):
            weights, above = all_weights.sublayer(step.layer, step.index), []
            graph = self._graphs.training_forward(step) if int8 else self._graphs.forward(step)
            for i, x in enumerate(values):
                above.append(arena.take((i, n % 2), x.shape))
                outputs = {"y": above[i], **(common[i].lend(step.layer) if step.sublayer.lends else {})}
                graph.run({**self._feeds(step, x, common[i]), **weights}, outputs)
            values = above
        return values

    def _forward_saving(self, sequence: PackedSequence):
        """Forward pass over the trainable sublayers: the input of each and the output of the last one, what each
        saves for the backward pass, and the sequence's inputs."""
        common = SequenceInputs(sequence, self.weights, self.threads)
        inputs, saved = [common.take_state(self._state(sequence, training=True))], []
        self._begin(training=True)
        for n, step in enumerate(self._steps[self._first :]):
            x = inputs[-1]
            inputs.append(self._arena.take(("y", n), x.shape))
            saved.append({} if n < self.recompute else self._saved_arrays(n, step, len(x)))
            feeds = {**self._feeds(step, x, common), **self._training_weights.sublayer(step.layer, step.index)}
            self._graphs.training_forward(step).run(feeds, {"y": inputs[-1], **saved[-1]})
        return inputs, saved, common

    def _backward_step(self, n: int, step: Step, dx, x, saved, common, collected) -> np.ndarray:
        """Backward pass of one sublayer: adds its LoRA gradients to `collected`, returns the gradient of its input."""
        feeds = {**self._feeds(step, x, common), **self._training_weights.sublayer(step.layer, step.index)}
        if n < self.recompute:
            saved = self._saved_arrays(0, step, len(x))
            self._graphs.training_forward(step).run(feeds, saved)
        below = self._arena.take(("dx", n % 2), x.shape)
        grads = {name: self._arena.take((name, view.shape), view.shape) for name, view in step.adapter.items()}
        outputs = {name.replace(".lora_", ".d_lora_"): array for name, array in grads.items()}
        self._graphs.training_backward(step).run({"dy": dx, **feeds, **saved}, {"dx": below, **outputs})
        for name in step.trained:
            collected[name] += grads[name]
        return below

    def _head_gradient(
        self, x: np.ndarray, sequence: PackedSequence, factors: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Losses at the labelled positions, and the gradient at all positions of their sum with `factors`."""
        at = sequence.labelled_positions
        dx, d = np.zeros_like(x), np.empty((len(at), x.shape[1]), np.float32)
        losses = self._head.gradient(np.ascontiguousarray(x[at]), sequence.labels[at], d)
        if not np.isfinite(losses).all():
            raise DamagedDataError("the loss is not finite: the base model or the adapter holds NaN; fetch it again")
        dx[at] = d * factors(losses)[:, None]
        return losses, dx

    def _feeds(self, step: Step, x: np.ndarray, common: SequenceInputs) -> dict[str, np.ndarray]:
        """Graph inputs of one sublayer, its weights apart."""
        self._lora_scale[...] = self.lora.scale  # it may have changed; the array stays the same
        return {"x": x, "lora_scale": self._lora_scale, **common.of(step.sublayer), **step.numbers, **step.adapter}

    def _saved_arrays(self, n: int, step: Step, tokens: int) -> dict[str, np.ndarray]:
        widths = step.sublayer.saved_widths()
        return {name: self._arena.take((name, n), (tokens, width)) for name, width in widths.items()}
