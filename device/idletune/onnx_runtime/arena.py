"""How ONNX Runtime's arena grows, for both bindings.

It begins with one region that holds the temporaries of nearly any graph; pages that nothing has touched take no memory.
Free chunks are joined within a region alone: in regions of the sizes that were asked for (kSameAsRequested) a training
step of Qwen3 0.6B took 79 MB more, of Llama 3.2 1B 117 MB. The arena's own table takes 1/32 of a region, so that a much
larger one would cost as well; where one does not do, a second one of twice the size is added.
"""

NEXT_POWER_OF_TWO = 0  # arena_extend_strategy; the only one that has a first size
ARENA = {"arena_extend_strategy": NEXT_POWER_OF_TWO, "initial_chunk_size_bytes": 1 << 27}
