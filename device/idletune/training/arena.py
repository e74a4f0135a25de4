"""Float32 arrays that are used again and again."""

from collections.abc import Hashable

import numpy as np

from .pages import own_pages


class Arena:
    """Float32 arrays that every packed sequence reuses; it grows to the longest sequence.

    The allocator stays out of the inner loop: fresh pages of many megabytes a step cost more than some products.
    """

    def __init__(self) -> None:
        self._blocks: dict[Hashable, np.ndarray] = {}
        self._taken: dict[Hashable, np.ndarray] = {}

    def take(self, key: Hashable, shape: tuple[int, ...]) -> np.ndarray:
        """The array of a key, the same object as before if the shape is the same (ONNX Runtime keeps its binding)."""
        if key not in self._taken or self._taken[key].shape != shape:
            size = int(np.prod(shape))
            block = self._blocks.get(key)
            if block is None or block.size < size:
                block = self._blocks[key] = own_pages(size)
            self._taken[key] = block[:size].reshape(shape)
        return self._taken[key]
