"""The training loop: micro-steps that can be stopped after any of them and resumed to the same bits.

All randomness derives from (seed, epoch), so the whole run is known before it starts. A checkpoint holds the adapter,
both moments of AdamW, the accumulated gradient and the number of micro-steps done.
"""

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..examples import Example
from ..state.files import PLAIN
from .activation_cache import ActivationCache
from .layers import Layers
from .lora import dropout_mask
from .objective import Objective, labelled
from .optimizer import AdamW, clip_grad_norm, cosine
from .packing import PackedSequence, pack, plan_sequences
from .pages import own_memory

KEPT = ("parameters", "first", "second", "gradient", "mean_hidden", "counts")  # arrays of a checkpoint
DIGEST_BYTES = hashlib.sha256().digest_size
NPZ_OVERHEAD = 1 << 14  # bytes of a checkpoint beside its arrays, at most


@dataclass
class TrainingResult:
    """Result of a run or a part of it: mean loss per micro-step, tokens seen, seconds, and whether it finished."""

    finished: bool = False
    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


class Trainer:
    """Trains `layers.lora` from its present parameters on `examples`; an unfinished run is kept in `checkpoint`.

    `base` is the SHA-256 of the base model: a checkpoint of another base is not resumed.
    `caches_activations`: hidden states of the first trainable layer are kept for all examples (see MemoryPlan).
    `objective` is what is minimized of their losses; by default their mean.
    `trainable`: bool (n,), the parameters that change; None for all of them.
    """

    def __init__(
        self,
        layers: Layers,
        examples: list[Example],
        settings,
        checkpoint: Path | None = None,
        files=PLAIN,
        base: str = "",
        caches_activations: bool = True,
        objective: Objective = Objective(),
        trainable: np.ndarray | None = None,
    ):
        if not examples:
            raise UsageError("nothing to train on: no answered dialogue set; answer a question first")
        self.layers, self.lora, self.settings = layers, layers.lora, settings
        self.examples, self.checkpoint, self.files, self.base = examples, checkpoint, files, base
        self.objective = objective
        self.frozen = None if trainable is None else ~trainable
        self.sequences = planned_sequences(examples, settings, objective)
        cached = caches_activations and layers.lora.first > 0
        self.activation_cache = ActivationCache(layers, examples, settings.sequence_tokens) if cached else None
        self.optimizer = AdamW(self.lora.size, settings.weight_decay)
        self.gradient = np.zeros(self.lora.size, np.float32)
        self.done = 0
        self.fingerprint = self._fingerprint()
        self.layers.mean_hidden = None

    def run(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        progress=None,
        checkpoint_seconds: float = 30.0,
        memory_is_short: Callable[[], bool] = lambda: False,
    ) -> TrainingResult:
        """Train from the present micro-step on; a cancellation takes effect after the current micro-step.

        A checkpoint is written every `checkpoint_seconds` and when cancelled. When `memory_is_short` says so, the rest
        of the run takes less memory, and more time.
        """
        outcome, start = TrainingResult(), time.monotonic()
        saved = start
        while self.done < len(self.sequences):
            if not self.layers.uses_least_memory and memory_is_short():
                self.layers.use_less_memory()
            sets = self.sequences[self.done]
            sequence = self._sequence(sets)
            outcome.losses.append(self._micro_step(sets, sequence))
            outcome.tokens += sequence.unpacked_tokens
            if progress:
                progress(self.done, f"loss {outcome.losses[-1]:.3f}")
            stop = should_stop() and self.done < len(self.sequences)
            if self.checkpoint and (stop or time.monotonic() - saved > checkpoint_seconds):
                self.save()
                saved = time.monotonic()
            if stop:
                break
        outcome.finished = self.done == len(self.sequences)
        if outcome.finished and self.activation_cache:
            self.activation_cache.clear()  # the losses that follow need the memory
        outcome.seconds = time.monotonic() - start
        return outcome

    def evaluate(self, examples: list[Example]) -> tuple[float, int]:
        return evaluate(self.layers, examples, self.settings.sequence_tokens)

    def above_frozen(self, examples: list[Example]) -> PackedSequence:
        """The examples in one sequence that carries what enters the first trainable layer: losses of it under several
        adapters go through the frozen layers once, with the same bits."""
        sequence = pack(examples)
        return replace(sequence, state=self.layers.frozen_forward([sequence])[0])

    def save(self) -> None:
        """Write the checkpoint beside and rename, so that a kill leaves the old one or the new one.

        It is an .npz file behind its own SHA-256. It takes the memory of what is kept between steps, which is freed.
        """
        self.layers.release_kept()
        mean_hidden = self.layers.mean_hidden
        arrays: dict[str, Any] = {
            "parameters": self.lora.flat,
            "first": self.optimizer.first,
            "second": self.optimizer.second,
            "gradient": self.gradient,
            "counts": np.array([self.done, self.optimizer.step]),
            "mean_hidden": np.empty(0, np.float32) if mean_hidden is None else mean_hidden,
            "fingerprint": np.array(self.fingerprint),
        }
        with own_memory(sum(array.nbytes for array in arrays.values()) + NPZ_OVERHEAD) as kept:
            kept.seek(DIGEST_BYTES)
            np.savez(kept, **arrays)
            with memoryview(kept)[: kept.tell()] as content:
                content[:DIGEST_BYTES] = hashlib.sha256(content[DIGEST_BYTES:]).digest()
                self.files.write(self.checkpoint, content)

    def resume(self) -> bool:
        """Continue from the checkpoint of this run; False when there is none or it is of another run.

        DamagedDataError for one that was not written by `save`; nothing is changed then.
        """
        if not self.checkpoint or not self.checkpoint.is_file():
            return False
        arrays = self._read_checkpoint()
        if arrays is None:
            return False
        self.lora.flat[...] = arrays["parameters"]
        self.optimizer.first[...], self.optimizer.second[...] = arrays["first"], arrays["second"]
        self.gradient[...] = arrays["gradient"]
        self.layers.mean_hidden = arrays["mean_hidden"] if len(arrays["mean_hidden"]) else None
        self.done, self.optimizer.step = (int(count) for count in arrays["counts"])
        return True

    def _read_checkpoint(self) -> dict[str, np.ndarray] | None:
        """The KEPT arrays, checked; None in the checkpoint of another run."""
        content = io.BytesIO(self._whole_checkpoint())
        content.seek(DIGEST_BYTES)
        try:
            with np.load(content, allow_pickle=False) as kept:
                if str(kept["fingerprint"]) != self.fingerprint:
                    return None
                arrays = {name: kept[name] for name in KEPT}
            sound = self._is_sound(arrays)
        except Exception:  # numpy and zipfile raise a dozen kinds
            sound = False
        if not sound:
            raise DamagedDataError(f"{self.checkpoint} holds no training state; remove it and training starts afresh")
        return arrays

    def _is_sound(self, arrays: dict[str, np.ndarray]) -> bool:
        """Whether the arrays have the sizes and ranges of this run's."""
        vectors = [arrays[name] for name in ("parameters", "first", "second", "gradient")]
        done, step = (int(count) for count in arrays["counts"])
        mean = arrays["mean_hidden"]
        return (
            all(v.shape == self.lora.flat.shape and v.dtype == np.float32 and np.isfinite(v).all() for v in vectors)
            and bool((arrays["second"] >= 0).all())
            and mean.shape in ((0,), (self.lora.shape.hidden,))
            and mean.dtype == np.float32
            and bool(np.isfinite(mean).all())
            and 0 <= step <= done <= len(self.sequences)
        )

    def _whole_checkpoint(self) -> bytes:
        """Its digest and .npz file; DamagedDataError when they are not what was written."""
        try:
            content = self.files.read(self.checkpoint)
        except OSError:
            content = b""
        if hashlib.sha256(memoryview(content)[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
            raise DamagedDataError(f"{self.checkpoint} is damaged; remove it and training starts afresh")
        return content

    def _sequence(self, sets: list[int]) -> PackedSequence:
        states = [self.activation_cache.of(i) for i in sets] if self.activation_cache else None
        return pack([self.examples[i] for i in sets], states)

    def _micro_step(self, sets: list[int], sequence: PackedSequence) -> float:
        """Gradient of one packed sequence; enough of them, or the last one, update the parameters."""
        s = self.settings
        keep = dropout_mask(self.lora, s.dropout, [s.seed, self.done])
        loss = self._gradients(sets, sequence, keep)
        self.done += 1
        if self.done % s.gradient_accumulation_steps == 0 or self.done == len(self.sequences):
            steps = -(-len(self.sequences) // s.gradient_accumulation_steps)
            self._update(cosine((self.done - 1) // s.gradient_accumulation_steps, steps, s.learning_rate))
        return loss

    def _update(self, rate: float) -> None:
        """One step of the optimizer; what is frozen takes no part in the norm either, and does not decay."""
        kept = None
        if self.frozen is not None:
            kept, self.gradient[self.frozen] = self.lora.flat[self.frozen], 0
        clip_grad_norm(self.gradient, self.settings.max_grad_norm)
        self.optimizer.update(self.lora.flat, self.gradient, rate)
        if kept is not None:
            self.lora.flat[self.frozen] = kept
        self.gradient[...] = 0

    def _gradients(self, sets: list[int], sequence: PackedSequence, keep: np.ndarray | None) -> float:
        """Adds the gradient of one sequence to the accumulated one, and returns the mean loss of what is learned.

        Dropped inputs take no part in either pass.
        """
        if keep is None:
            return self._objective_gradients(sets, sequence, self.gradient)
        parameters, gradient = self.lora.flat.copy(), np.zeros_like(self.gradient)
        self.lora.flat *= keep
        loss = self._objective_gradients(sets, sequence, gradient)
        self.lora.flat[...] = parameters
        self.gradient += gradient * keep
        return loss

    def _objective_gradients(self, sets: list[int], sequence: PackedSequence, out: np.ndarray) -> float:
        """The objective over the tokens that are learned, which those of rejected replies are not."""
        others = set(self.objective.rejected.values())
        learned = np.concatenate([np.full(labelled(self.examples[i]), i not in others) for i in sets])
        scale = 1 / (int(learned.sum()) * self.settings.gradient_accumulation_steps)

        def factors(losses: np.ndarray) -> np.ndarray:
            if self.objective.is_plain:
                return np.full(len(losses), scale, np.float32)
            return self.objective.factors(sets, self.examples, losses) * np.float32(scale)

        return float(self.layers.weighted_gradients(sequence, out, factors)[learned].mean(dtype=np.float64))

    def _fingerprint(self) -> str:
        """SHA-256 of all that a run depends on: base model, examples, form and start of the adapter, settings, and the
        arrays of a checkpoint (KEPT)."""
        s, digest = self.settings, hashlib.sha256()
        form = [
            s.seed,
            len(self.sequences),
            s.learning_rate,
            s.weight_decay,
            s.max_grad_norm,
            s.sequence_tokens,
            s.gradient_accumulation_steps,
        ]
        adapter = [
            self.lora.targets,
            self.lora.rank,
            self.lora.alpha,
            self.lora.first,
            self.activation_cache is not None,
        ]
        digest.update(json.dumps([self.base, *form, s.dropout, *adapter, self.layers.arithmetic, KEPT]).encode())
        if not self.objective.is_plain:
            digest.update(repr(self.objective).encode())
        digest.update(self.lora.flat.tobytes())
        for example in self.examples:
            digest.update(example.tokens.astype(np.int32).tobytes() + b"|")
            digest.update(example.labels.astype(np.int32).tobytes() + b"|")
        return digest.hexdigest()


def planned_sequences(examples: list[Example], settings, objective: Objective = Objective()) -> list[list[int]]:
    """Numbers of the examples in each packed sequence of a run, in the order in which it trains on them."""
    sequences: list[list[int]] = []
    epoch, trained = 0, objective.trained(len(examples))
    while epoch < settings.epochs or len(sequences) < settings.min_steps * settings.gradient_accumulation_steps:
        order = np.random.default_rng([settings.seed, epoch]).permutation(trained)
        sequences += plan_sequences(examples, settings.sequence_tokens, order, objective.rejected)
        epoch += 1
    return sequences


def evaluate(layers: Layers, examples: list[Example], sequence_tokens: int) -> tuple[float, int]:
    """Summed loss in nats over the labelled tokens of the examples, and their number."""
    total, count = 0.0, 0
    for sequence in plan_sequences(examples, sequence_tokens, np.arange(len(examples))):
        loss, labelled = layers.loss(pack([examples[i] for i in sequence]))
        total, count = total + loss, count + labelled
    return total, count
