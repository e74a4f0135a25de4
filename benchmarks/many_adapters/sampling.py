"""Replies of the frozen model to many prompts at once, sampled as the product samples (model/sampling.py)."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from idletune.model.sampling import TOP_K

from .batches import rounded
from .model import FrozenModel, Place

SLOTS = 1 << 17  # of the cache, over all prompts that are answered together


class Cache:
    """K and V of all tokens so far, by step; the slot of a token is its position."""

    def __init__(self, rows: int, slots: int):
        self.rows, self.slots = rows, slots
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def extended(self, step: int, k: torch.Tensor, v: torch.Tensor, positions: torch.Tensor):
        """All K and V (rows, heads, slots, width) with those of some tokens, (rows, heads, T, width), written."""
        if step not in self._kept:
            self._kept[step] = tuple(x.new_zeros(self.rows, x.shape[1], self.slots, x.shape[3]) for x in (k, v))
        at = positions[:, None, :, None].expand(-1, k.shape[1], -1, k.shape[3])
        return tuple(kept.scatter_(2, at, new) for kept, new in zip(self._kept[step], (k, v)))


def sample(
    model: FrozenModel,
    prompts: Sequence[Sequence[int]],
    count: int,
    temperature: float,
    top_p: float,
    ends: Collection[int],
    seed: int,
) -> list[list[int]]:
    """Up to `count` tokens behind each prompt, without the one of `ends` that a reply ended with."""
    order, found = sorted(range(len(prompts)), key=lambda i: -len(prompts[i])), [[] for _ in prompts]
    generator = torch.Generator(model.device).manual_seed(seed)
    while order:
        rows = max(1, SLOTS // (len(prompts[order[0]]) + count))
        some, order = order[:rows], order[rows:]
        tokens = _together(model, [prompts[i] for i in some], count, temperature, top_p, set(ends), generator)
        for i, reply in zip(some, tokens.tolist()):
            end = next((n for n, token in enumerate(reply) if token in ends), count)
            found[i] = reply[:end]
    return found


@torch.no_grad()
def _together(model: FrozenModel, prompts, count: int, temperature, top_p, ends, generator) -> torch.Tensor:
    """int64 (prompts, count); what follows a reply's end means nothing."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    width = max(map(len, prompts))
    tokens = np.zeros((len(prompts), width), np.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    cache = Cache(len(prompts), rounded(width + count))
    keys, everything = torch.arange(cache.slots, device=model.device).expand(len(prompts), -1), range(len(model.steps))

    def states(tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        place = Place(positions, positions[:, :, None] >= keys[:, None, :], keys)
        return model.forward(model.embed(tokens), place, everything, cache=cache)

    rows = torch.arange(len(prompts), device=model.device)
    x = states(torch.from_numpy(tokens).to(model.device), keys[:, :width])[rows, lengths - 1]
    found = [_drawn(model.logits(x), temperature, top_p, generator)]
    for place in range(count - 1):
        x = states(found[-1][:, None], (lengths + place)[:, None])[:, 0]
        found.append(_drawn(model.logits(x), temperature, top_p, generator))
    return torch.stack(found, 1)


def _drawn(logits: torch.Tensor, temperature: float, top_p: float, generator) -> torch.Tensor:
    """A token for each row: of the TOP_K best the fewest whose probabilities reach top_p, then by temperature."""
    best, tokens = logits.topk(min(TOP_K, logits.shape[1]), dim=1)
    reached = best.softmax(1).cumsum(1)
    outside = torch.cat([torch.zeros_like(reached[:, :1]), reached[:, :-1]], 1) >= top_p
    weights = (best / temperature).masked_fill(outside, -torch.inf).softmax(1)
    return tokens.gather(1, torch.multinomial(weights, 1, generator=generator))[:, 0]
