"""Memory in pages of its own, which go back to the system when it is dropped.

An allocator may keep what is freed: glibc does with blocks of up to 32 MB, once one of that size was freed. Of Llama
3.2 1B's training arrays 200 MB then stayed in the process beside what the next stage needed.
"""

import mmap

import numpy as np


def own_pages(size: int) -> np.ndarray:
    """float32 (size,) of zeros. Pages that nothing touched take no memory."""
    return np.frombuffer(own_memory(4 * size), np.float32) if size else np.empty(0, np.float32)


def own_memory(size: int) -> mmap.mmap:
    """Zeros, as a file of fixed size that is memory alone."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
