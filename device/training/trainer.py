"""Training as a sequence of micro-steps that can be stopped after any of them and resumed exactly.

Everything random comes from (seed, epoch), so the whole run is known before it starts: a checkpoint
holds the adapter, both moments, the gradient gathered so far and the number of micro-steps done.
"""

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..state.files import PLAIN
from .activations import ActivationCache
from .layers import Layers
from .lora import dropout_mask
from .optimizer import AdamW, clip, cosine
from .rows import Example, Row, make_row, plan_rows

KEPT = ("parameters", "first", "second", "gradient", "centre", "counts")  # arrays of a checkpoint
DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass
class Outcome:
    """What a (part of a) run did: mean loss per micro-step, tokens seen, seconds, and whether it finished."""

    finished: bool = False
    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


class Trainer:
    """Trains `layers.lora` from the parameters it has, on `examples`; an unfinished run is kept in `checkpoint`.

    `base` names the frozen weights (by their SHA-256): a checkpoint is of use with the same ones only.
    `keeps_entering`: what enters the first trained layer is kept for all examples (see MemoryPlan).
    """

    def __init__(
        self, layers: Layers, examples: list[Example], settings, checkpoint: Path | None = None, files=PLAIN,
        base: str = "", keeps_entering: bool = True,
    ):
        if not examples:
            raise UsageError("nothing to train on: no answered dialogue set; answer a question first")
        self.layers, self.lora, self.settings = layers, layers.lora, settings
        self.examples, self.checkpoint, self.files, self.base = examples, checkpoint, files, base
        self.rows = self._plan()
        kept = keeps_entering and layers.lora.first > 0
        self.entering = ActivationCache(layers, examples, settings.row_tokens) if kept else None
        self.optimizer = AdamW(self.lora.size, settings.weight_decay)
        self.gradient = np.zeros(self.lora.size, np.float32)
        self.done = 0
        self.fingerprint = self._fingerprint()
        self.layers.centre = None

    def run(self, should_stop: Callable[[], bool] = lambda: False, progress=None, every: float = 30.0) -> Outcome:
        """Go on from where the run stands. A stop request is honoured after the current micro-step.

        A checkpoint is written every `every` seconds and at a stop.
        """
        outcome, start = Outcome(), time.monotonic()
        saved = start
        while self.done < len(self.rows):
            row = self._row(self.rows[self.done])
            outcome.losses.append(self._micro_step(row))
            outcome.tokens += row.whole_tokens
            if progress:
                progress(self.done, f"loss {outcome.losses[-1]:.3f}")
            stop = should_stop() and self.done < len(self.rows)
            if self.checkpoint and (stop or time.monotonic() - saved > every):
                self.save()
                saved = time.monotonic()
            if stop:
                break
        outcome.finished = self.done == len(self.rows)
        outcome.seconds = time.monotonic() - start
        return outcome

    def evaluate(self, examples: list[Example]) -> tuple[float, int]:
        return evaluate(self.layers, examples, self.settings.row_tokens)

    def save(self) -> None:
        """Write the checkpoint beside and rename, so that a kill leaves the old one or the new one.

        It is an .npz file behind its own SHA-256.
        """
        kept, centre = io.BytesIO(), self.layers.centre
        np.savez(
            kept, parameters=self.lora.flat, first=self.optimizer.first, second=self.optimizer.second,
            gradient=self.gradient, counts=np.array([self.done, self.optimizer.step]),
            centre=np.empty(0, np.float32) if centre is None else centre, fingerprint=np.array(self.fingerprint),
        )
        self.files.write(self.checkpoint, hashlib.sha256(kept.getbuffer()).digest() + kept.getvalue())

    def resume(self) -> bool:
        """Take up the checkpoint of this very run; False when there is none or it is of another run."""
        if not self.checkpoint or not self.checkpoint.is_file():
            return False
        with np.load(io.BytesIO(self._whole_checkpoint()), allow_pickle=False) as kept:
            if str(kept["fingerprint"]) != self.fingerprint:
                return False
            arrays = {name: kept[name] for name in KEPT}
        self.lora.flat[...] = arrays["parameters"]
        self.optimizer.first[...], self.optimizer.second[...] = arrays["first"], arrays["second"]
        self.gradient[...] = arrays["gradient"]
        self.layers.centre = arrays["centre"] if len(arrays["centre"]) else None
        self.done, self.optimizer.step = (int(count) for count in arrays["counts"])
        return True

    def _whole_checkpoint(self) -> bytes:
        """Its .npz file; DamagedDataError when that is not what was written."""
        try:
            content = self.files.read(self.checkpoint)
        except OSError:
            content = b""
        digest, kept = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(kept).digest() != digest:
            raise DamagedDataError(f"{self.checkpoint} is damaged; remove it and training starts afresh")
        return kept

    def _plan(self) -> list[list[int]]:
        s, rows = self.settings, []
        for epoch in count():
            if epoch >= s.epochs and len(rows) >= s.least_steps * s.accumulate:
                return rows
            order = np.random.default_rng([s.seed, epoch]).permutation(len(self.examples))
            rows += plan_rows(self.examples, s.row_tokens, order)

    def _row(self, sets: list[int]) -> Row:
        entering = [self.entering.of(i) for i in sets] if self.entering else None
        return make_row([self.examples[i] for i in sets], entering)

    def _micro_step(self, row: Row) -> float:
        """One row; every `accumulate`-th, and the last, moves the parameters."""
        s, labelled = self.settings, len(row.labelled)
        keep = dropout_mask(self.lora, s.dropout, [s.seed, self.done])
        total = self._gradients(row, keep, 1 / (labelled * s.accumulate))
        self.done += 1
        if self.done % s.accumulate == 0 or self.done == len(self.rows):
            clip(self.gradient, s.clip_norm)
            steps = -(-len(self.rows) // s.accumulate)
            rate = cosine((self.done - 1) // s.accumulate, steps, s.learning_rate)
            self.optimizer.update(self.lora.flat, self.gradient, rate)
            self.gradient[...] = 0
        return total / labelled

    def _gradients(self, row: Row, keep: np.ndarray | None, scale: float) -> float:
        """Adds the row's gradient to what is gathered; dropped inputs take no part, forwards or backwards."""
        if keep is None:
            return self.layers.gradients(row, self.gradient, scale)[0]
        parameters, gradient = self.lora.flat.copy(), np.zeros_like(self.gradient)
        self.lora.flat *= keep
        total, _ = self.layers.gradients(row, gradient, scale)
        self.lora.flat[...] = parameters
        self.gradient += gradient * keep
        return total

    def _fingerprint(self) -> str:
        """Changes with the base model, the data, the adapter's form and start, any setting that training depends on,
        and KEPT."""
        s, digest = self.settings, hashlib.sha256()
        form = [s.seed, len(self.rows), s.learning_rate, s.weight_decay, s.clip_norm, s.row_tokens, s.accumulate]
        adapter = [self.lora.targets, self.lora.rank, self.lora.alpha, self.lora.first, self.entering is not None]
        digest.update(json.dumps([self.base, *form, s.dropout, *adapter, self.layers.arithmetic, KEPT]).encode())
        digest.update(self.lora.flat.tobytes())
        for example in self.examples:
            digest.update(example.tokens.astype(np.int32).tobytes() + b"|")
            digest.update(example.labels.astype(np.int32).tobytes() + b"|")
        return digest.hexdigest()


def evaluate(layers: Layers, examples: list[Example], row_tokens: int) -> tuple[float, int]:
    """Summed loss in nats over the examples' labelled tokens, and their number."""
    total, count = 0.0, 0
    for row in plan_rows(examples, row_tokens, np.arange(len(examples))):
        loss, labelled = layers.loss(make_row([examples[i] for i in row]))
        total, count = total + loss, count + labelled
    return total, count
