"""qwen2 (Qwen 1.5, 2, 2.5): llama with biases on Q, K and V, rotary pairs in halves."""

from .block import ATTENTION, Block


class Qwen2(Block):
    vectors = ("attn_norm", *(f"{name}.bias" for name in ATTENTION[:3]), "ffn_norm")

    def vector_size(self, name: str) -> int:
        linear, _, bias = name.partition(".")
        return self.shape.linear_shapes()[linear][0] if bias else self.shape.hidden
