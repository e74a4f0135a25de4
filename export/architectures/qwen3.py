"""qwen3: no biases; Q and K are normalized head by head before they are turned."""

from .block import Block


class Qwen3(Block):
    saves_placed = False

    def vector_size(self, name: str) -> int:
        return self.shape.head_dim if name in ("attn_q_norm", "attn_k_norm") else self.shape.hidden
