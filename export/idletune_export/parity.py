"""Does an exported model say what the original says? Perplexity, logits and greedy answers, side by side.

The text is the project's own general probe, by paragraph; each paragraph begins with the model's first
token where it has one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from idletune.progress import Bars, no_bars

if TYPE_CHECKING:  # it imports transformers, which takes seconds
    from .reference import Reference

Logits = Callable[[list[int]], np.ndarray]


@dataclass
class Parity:
    """How a model reads the text, and how far it is from the original."""

    loss: float  # nats per token
    tokens: int
    largest_difference: float  # of a logit, absolute
    relative_difference: float  # |difference| / |original's logits|, both as vectors over everything
    seconds: float

    @property
    def perplexity(self) -> float:
        return float(np.exp(self.loss))

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    def to_dict(self) -> dict:
        return {
            "perplexity": round(self.perplexity, 4),
            "tokens": self.tokens,
            "largest_logit_difference": round(self.largest_difference, 5),
            "relative_logit_difference": round(self.relative_difference, 6),
        }


def first_tokens(reference: "Reference") -> list[int]:
    """The token a text begins with in this model, where there is one."""
    special = reference.tokenizer.encode("", add_special_tokens=True)
    return special[:1]


def paragraphs(tokenize: Callable[[str], list[int]], first: Sequence[int] = (), longest: int = 160) -> list[list[int]]:
    """The shipped text as token lists."""
    text = (files("idletune") / "data" / "general_probe.txt").read_text(encoding="utf-8")
    return [[*first, *tokenize(part)][:longest] for part in text.split("\n\n") if part.strip()]


def compare(models: dict[str, Logits], texts: list[list[int]], bars: Bars = no_bars) -> dict[str, Parity]:
    """Read `texts` with every model; the first one is the original that differences are taken from."""
    sums = {name: np.zeros(5) for name in models}  # loss, tokens, seconds, squares of differences and logits
    largest = dict.fromkeys(models, 0.0)
    with bars("comparing", len(texts)) as bar:
        for done, tokens in enumerate(texts, start=1):
            original = None
            for name, logits in models.items():
                start = time.monotonic()
                found = logits(tokens)
                seconds = time.monotonic() - start
                original = found if original is None else original
                difference = found - original
                largest[name] = max(largest[name], float(np.abs(difference).max()))
                squares = float(np.vdot(difference, difference)), float(np.vdot(original, original))
                sums[name] += np.array([next_token_loss(found, tokens), len(tokens) - 1, seconds, *squares])
            bar(done)
    return {
        name: Parity(loss / tokens, int(tokens), largest[name], float(np.sqrt(difference / total)), seconds)
        for name, (loss, tokens, seconds, difference, total) in sums.items()
    }


def next_token_loss(logits: np.ndarray, tokens: list[int]) -> float:
    """Summed cross-entropy in nats of every token but the first."""
    logits = logits[:-1]
    highest = logits.max(axis=1, keepdims=True)
    spread = np.log(np.exp(logits - highest).sum(axis=1, dtype=np.float64)) + highest[:, 0]
    return float((spread - logits[np.arange(len(logits)), tokens[1:]]).sum())
