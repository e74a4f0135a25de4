"""gemma3: norms on Q and K and around both halves of the block, GeGLU.

GGUF stores the norms' weights with their 1 added. What a norm after a product needs to be differentiated
is that product, so two more values are saved. Local and global layers differ in rotary angles and mask
only, which are inputs: one graph serves both.
"""

import torch.nn.functional as F

from .block import ATTENTION, Gradients, Rows
from .qwen3 import Qwen3


class Gemma3(Qwen3):
    saved = ("q", "k", "v", "o", "log_sums", "mixed", "middle", "gate", "up", "narrowed")

    def activate(self, gate):
        return F.gelu(gate, approximate="tanh")

    def mix(self, o, w, lora, scale):
        return self.linear(o, "attn_output", w, lora, scale)

    def narrow(self, gate, up, w, lora, scale):
        return self.linear(self.activate(gate) * up, "ffn_down", w, lora, scale)

    def forward(self, x, w, lora, scale, rows: Rows):
        q, k, v = self.project(x, w, lora, scale)
        o, log_sums = self.attend(*self.place(q, k, w, rows), v, rows)
        mixed = self.mix(o, w, lora, scale)
        middle = x + self.norm(mixed, w["post_attention_norm"])
        gate, up = self.widen(middle, w, lora, scale)
        narrowed = self.narrow(gate, up, w, lora, scale)
        y = middle + self.norm(narrowed, w["post_ffw_norm"])
        return y, q, k, v, o, log_sums, mixed, middle, gate, up, narrowed

    def backward(self, dy, x, saved, w, lora, scale, rows: Rows):
        q, k, v, o, log_sums, mixed, middle, gate, up, narrowed = saved
        grads = Gradients(lora)
        (d_narrowed,) = grads.through(lambda n, l: self.norm(n, w["post_ffw_norm"]), (narrowed,), (), (dy,))
        d_gate, d_up = grads.through(
            lambda g, u, l: self.narrow(g, u, w, l, scale), (gate, up), ("ffn_down",), (d_narrowed,))
        (d_widen,) = grads.through(
            lambda m, l: self.widen(m, w, l, scale), (middle,), ("ffn_gate", "ffn_up"), (d_gate, d_up))
        d_middle = dy + d_widen
        (d_mixed,) = grads.through(lambda m, l: self.norm(m, w["post_attention_norm"]), (mixed,), (), (d_middle,))
        (d_o,) = grads.through(lambda o, l: self.mix(o, w, l, scale), (o,), ("attn_output",), (d_mixed,))
        d_qkv = self.d_attend(grads, d_o, q, k, v, o, log_sums, w, rows)
        (d_project,) = grads.through(lambda x, l: self.project(x, w, l, scale), (x,), ATTENTION[:3], d_qkv)
        return d_middle + d_project, grads.lora
