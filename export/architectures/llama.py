"""One llama-type block, in GGUF layout, cut into stages at the products with frozen weights.

Design choices:
- x is a flat list of tokens (T, hidden): the large products see no padding. Attention alone works on
  slots (B, L): each holds one or more whole dialogue sets, L is the longest; a mask keeps sets apart.
- Every stage ends in a product with a frozen weight, and that product is what training saves. The
  backward pass differentiates stage by stage from the saved values, so it never repeats one.
- GGUF's llama layout permutes the rows of Q and K: rotary pairs are neighbours, not halves.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

NORMS = ("attn_norm", "ffn_norm")
LINEARS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
SAVED = ("q", "k", "v", "o", "middle", "gate", "up")


@dataclass(frozen=True)
class Shape:
    """What the graphs depend on; layers, vocabulary and rank stay free."""

    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    rms_eps: float

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        q, kv, h, f = self.heads * self.head_dim, self.kv_heads * self.head_dim, self.hidden, self.feed_forward
        return {
            "attn_norm": (h,), "ffn_norm": (h,),
            "attn_q": (q, h), "attn_k": (kv, h), "attn_v": (kv, h), "attn_output": (h, q),
            "ffn_gate": (f, h), "ffn_up": (f, h), "ffn_down": (h, f),
        }


class Slots(torch.autograd.Function):
    """Rows of x rearranged by `index`; `inverse` leads back, so the gradient is a gather as well.

    Exact because padding slots attend to nothing but themselves: whatever gradient they carry is dropped.
    """

    @staticmethod
    def forward(ctx, x, index, inverse):
        ctx.save_for_backward(inverse, index)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx, gradient):
        inverse, index = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None


class Swapped(torch.autograd.Function):
    """Neighbouring values changed for one another: its own inverse and its own gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.index_select(-1, torch.arange(x.shape[-1]) ^ 1)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.index_select(-1, torch.arange(gradient.shape[-1]) ^ 1)


@dataclass
class Rows:
    """How the tokens of a row sit: slots (B, L), places (T,), mask (B, L, L), and rotary cos and sin
    (T, head_dim), where sin carries the sign of its turn: -sin, +sin, -sin, ..."""

    cos: torch.Tensor
    sin: torch.Tensor
    slots: torch.Tensor
    places: torch.Tensor
    mask: torch.Tensor


class Llama:
    """The block's stages. `w` holds weights by GGUF name, `lora` (a, b) pairs by name, `scale` alpha / rank."""

    saved = SAVED

    def __init__(self, shape: Shape):
        self.shape = shape

    def norm(self, x, weight):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.shape.rms_eps) * weight

    def linear(self, x, name, w, lora, scale):
        y = F.linear(x, w[name])
        if name in lora:
            a, b = lora[name]
            y = y + F.linear(F.linear(x, a) * scale, b)
        return y

    def project(self, x, w, lora, scale):
        h = self.norm(x, w["attn_norm"])
        return tuple(self.linear(h, name, w, lora, scale) for name in ("attn_q", "attn_k", "attn_v"))

    def rotate(self, x, heads, rows: Rows):
        x = x.reshape(-1, heads, self.shape.head_dim)
        turned = x * rows.cos.unsqueeze(1) + Swapped.apply(x) * rows.sin.unsqueeze(1)
        return turned.reshape(-1, heads * self.shape.head_dim)

    def attend(self, q, k, v, rows: Rows):
        s, (b, n) = self.shape, rows.slots.shape
        group = s.heads // s.kv_heads
        order = rows.slots.reshape(-1)
        q = Slots.apply(self.rotate(q, s.heads, rows), order, rows.places)
        k = Slots.apply(self.rotate(k, s.kv_heads, rows), order, rows.places)
        v = Slots.apply(v, order, rows.places)
        # Grouped queries share their key: fold the group into the rows of one product, no copies of K and V.
        q = q.reshape(b, n, s.kv_heads, group, s.head_dim).permute(0, 2, 3, 1, 4)
        q = (q * (1 / math.sqrt(s.head_dim))).reshape(b, s.kv_heads, group * n, s.head_dim)
        k = k.reshape(b, n, s.kv_heads, s.head_dim).permute(0, 2, 3, 1)
        v = v.reshape(b, n, s.kv_heads, s.head_dim).permute(0, 2, 1, 3)
        scores = torch.matmul(q, k).reshape(b, s.kv_heads, group, n, n) + rows.mask[:, None, None]
        weights = torch.softmax(scores, -1).reshape(b, s.kv_heads, group * n, n)
        o = torch.matmul(weights, v).reshape(b, s.kv_heads, group, n, s.head_dim).permute(0, 3, 1, 2, 4)
        o = o.reshape(b * n, s.heads * s.head_dim)
        return Slots.apply(o, rows.places, order)

    def mix(self, x, o, w, lora, scale):
        return x + self.linear(o, "attn_output", w, lora, scale)

    def widen(self, middle, w, lora, scale):
        h = self.norm(middle, w["ffn_norm"])
        return tuple(self.linear(h, name, w, lora, scale) for name in ("ffn_gate", "ffn_up"))

    def narrow(self, middle, gate, up, w, lora, scale):
        return middle + self.linear(gate * torch.sigmoid(gate) * up, "ffn_down", w, lora, scale)

    def forward(self, x, w, lora, scale, rows: Rows):
        """Returns y (T, hidden) and the saved values, in the order of `saved`."""
        q, k, v = self.project(x, w, lora, scale)
        o = self.attend(q, k, v, rows)
        middle = self.mix(x, o, w, lora, scale)
        gate, up = self.widen(middle, w, lora, scale)
        return self.narrow(middle, gate, up, w, lora, scale), q, k, v, o, middle, gate, up

    def backward(self, dy, x, saved, w, lora, scale, rows: Rows):
        """Returns dx and {name: (da, db)}: the stages in reverse, each from its saved inputs."""
        q, k, v, o, middle, gate, up = saved
        grads = Gradients(lora)
        d_middle, d_gate, d_up = grads.through(
            lambda m, g, u, l: self.narrow(m, g, u, w, l, scale), (middle, gate, up), ("ffn_down",), (dy,))
        (d_widen,) = grads.through(
            lambda m, l: self.widen(m, w, l, scale), (middle,), ("ffn_gate", "ffn_up"), (d_gate, d_up))
        d_middle = d_middle + d_widen
        d_x, d_o = grads.through(
            lambda x, o, l: self.mix(x, o, w, l, scale), (x, o), ("attn_output",), (d_middle,))
        d_qkv = grads.through(lambda q, k, v, l: self.attend(q, k, v, rows), (q, k, v), (), (d_o,))
        (d_project,) = grads.through(
            lambda x, l: self.project(x, w, l, scale), (x,), ("attn_q", "attn_k", "attn_v"), d_qkv)
        return d_x + d_project, grads.lora


class Gradients:
    """Differentiates one stage at a time and collects the adapter's gradients on the way."""

    def __init__(self, lora):
        self.parameters, self.lora = lora, {}

    def through(self, stage, inputs, names, upstream):
        """vjp of `stage(*inputs, lora)` for `upstream`; returns the inputs' gradients."""
        names = [name for name in names if name in self.parameters]
        inputs = [t.detach().requires_grad_() for t in inputs]
        pairs = [tuple(t.detach().requires_grad_() for t in self.parameters[name]) for name in names]
        outputs = stage(*inputs, dict(zip(names, pairs)))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        flat = [*inputs, *(t for pair in pairs for t in pair)]
        grads = torch.autograd.grad(outputs, flat, upstream)
        for i, name in enumerate(names):
            self.lora[name] = grads[len(inputs) + 2 * i : len(inputs) + 2 * i + 2]
        return grads[: len(inputs)]
