"""Evaluation: negative log-likelihood of examples, and logits for comparisons."""

from collections.abc import Callable, Iterator

import numpy as np

from ..examples import Example
from .context import Context
from .engine import BATCH_TOKENS, BatchToken, batches

TRIAL_TEXT = "It is"  # two tokens: 60 ms with ten on one core, 15 with two; each adapter that is loaded waits for it
MAX_LOGIT_BYTES = 6_000_000  # held at once while losses are computed


class Evaluator:
    """Decodes given tokens in sequence 0 and reads what the model predicts; the conversation's cache goes."""

    def __init__(self, context: Context):
        self._context = context

    def negative_log_likelihood(
        self, examples: list[Example], progress: Callable[[int], None] | None = None
    ) -> tuple[float, int]:
        """Summed loss in nats over the labelled positions, and their number."""
        context = self._context
        context.clear()
        total, count = 0.0, 0
        for done, example in enumerate(examples, start=1):
            context.check_room(len(example.tokens))
            for logits, labels in self._labelled_logits(example):
                total += _summed_loss(logits, labels)
                count += len(labels)
            context.engine.remove_sequence(0)
            if progress:
                progress(done)
        return total, count

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Logits after each token, float32 (n, vocabulary): large for many tokens."""
        context = self._context
        context.check_room(len(tokens))
        context.clear()
        rows = []
        for batch in batches([BatchToken(int(token), i, 0, True) for i, token in enumerate(tokens)]):
            context.decode(batch)
            rows += [context.engine.logits(i).copy() for i in range(len(batch))]
        context.clear()
        return np.stack(rows)

    def check_finite(self) -> None:
        """Decode a few tokens with the adapter in use. NonFiniteOutput when a logit is NaN or infinity."""
        for logits in self.logits(self._context.engine.tokenize(TRIAL_TEXT, special=False, begin=True)):
            self._context.check_finite(logits)

    def _labelled_logits(self, example: Example) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of logits (n, vocabulary) and labels (n,), a few positions at a time."""
        tokens, labels = example
        context, engine = self._context, self._context.engine
        size = max(1, min(BATCH_TOKENS, MAX_LOGIT_BYTES // (4 * engine.vocabulary)))
        for batch in batches([BatchToken(int(t), i, 0, bool(labels[i] >= 0)) for i, t in enumerate(tokens)], size):
            labelled = [item.position for item in batch if item.output]
            # llama.cpp requires an output in every batch, also where none has a label.
            context.decode(batch if labelled else [*batch[:-1], batch[-1]._replace(output=True)])
            if labelled:
                rows = [engine.logits(i) for i, item in enumerate(batch) if item.output]
                yield np.stack(rows), labels[labelled]


def _summed_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Cross-entropy in nats, summed; the sum of exponentials in float64."""
    highest = logits.max(axis=1)
    log_sums = np.log(np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64))
    return float((log_sums + highest - logits[np.arange(len(labels)), labels]).sum())
