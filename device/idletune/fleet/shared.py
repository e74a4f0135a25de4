"""The shared adapter: A is frozen and the same everywhere, so that the average of the Bs is the average of the products
(Sun et al. 2024, FFA-LoRA, arXiv 2403.12313). What travels is one vector, all B of all layers in order."""

import hashlib

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..training.lora import Lora

LARGEST_B = 1e3  # of any number; trained ones stay below 1


def b_mask(lora: Lora) -> np.ndarray:
    """bool (n,): which parameters are of a B."""
    mask = np.zeros(lora.size, bool)
    for views in lora.views(mask):
        for name, view in views.items():
            view[...] = name.endswith("lora_b")
    return mask


def b_of(lora: Lora) -> np.ndarray:
    """All B as one vector, float32 (m,), a copy."""
    return lora.flat[b_mask(lora)]


def use_b(lora: Lora, b: np.ndarray) -> None:
    """Put a vector of all B into an adapter. UsageError, DamagedDataError for what is none of this form."""
    mask = b_mask(lora)
    if b.shape != (int(mask.sum()),) or b.dtype != np.float32:
        raise UsageError(f"a shared adapter of {b.size} numbers ({b.dtype}); the fleet's terms ask for {mask.sum()}")
    if not (np.abs(b) <= LARGEST_B).all():  # so is NaN
        raise DamagedDataError(f"the shared adapter holds numbers beyond {LARGEST_B:g}; leave the fleet, and tell it")
    lora.flat[mask] = b


def a_digest(lora: Lora) -> str:
    """SHA-256 of all A: a machine that makes another A of the seed would average other products."""
    return hashlib.sha256(lora.flat[~b_mask(lora)].astype("<f4").tobytes()).hexdigest()
