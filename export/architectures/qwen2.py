"""qwen2 (Qwen 1.5, 2, 2.5): llama with biases on Q, K and V, rotary pairs in halves."""

from .block import Block


class Qwen2(Block):
    def vector_size(self, name: str) -> int:
        linear, _, bias = name.partition(".")
        return self.shape.linear_shapes()[linear][0] if bias else self.shape.hidden
