"""What the transformer blocks of all architectures have in common, cut at the products with frozen weights.

`forward` returns the block's output and every such product; `backward` differentiates stage by stage from
these, so it repeats no product with a frozen weight. A stage is small enough for autograd to be exact and
cheap. Written for tracing: flat (tokens, width) tensors, no data-dependent shapes, no scatter.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from idletune.training.shape import ATTENTION, VECTORS, BlockShape

from .attention import Attention


class Silu(torch.autograd.Function):
    """x * sigmoid(x), with a gradient of few steps: each one reads and writes a whole (T, feed_forward)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        y = x * s
        return gradient * (s + y - y * s)


class RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight, with a gradient of few steps; the frozen weight has none."""

    @staticmethod
    def forward(ctx, x, weight, eps):
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        shrink = torch.rsqrt((x * x).mean(-1, keepdim=True) + ctx.eps)
        d = gradient * weight
        along = (d * x).mean(-1, keepdim=True) * (shrink * shrink)
        return (d - x * along) * shrink, None, None


class Slots(torch.autograd.Function):
    """Rows of x rearranged by `index`; `inverse` leads back, so the gradient is a gather as well.

    Exact because padding attends to nothing but itself: whatever gradient it carries is dropped.
    """

    @staticmethod
    def forward(ctx, x, index, inverse):
        ctx.save_for_backward(inverse, index)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx, gradient):
        inverse, index = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None


class Keys(torch.autograd.Function):
    """Rows of x as the slots' keys (B, K), where the beginning all sets share stands in every slot.

    A token's gradient is that of its own place and, for the shared ones, the sum over the slots of column
    `shared`; for all others that is column 0, which nobody attends to.
    """

    @staticmethod
    def forward(ctx, x, keys, places, shared):
        ctx.save_for_backward(keys, places, shared)
        return x.index_select(0, keys.reshape(-1))

    @staticmethod
    def backward(ctx, gradient):
        keys, places, shared = ctx.saved_tensors
        in_slots = gradient.reshape(*keys.shape, gradient.shape[-1]).sum(0).index_select(0, shared)
        return gradient.index_select(0, places) + in_slots, None, None, None


@dataclass
class Rows:
    """How the tokens of a row sit: rotary cos and sin (T, head_dim), and turn (head_dim, head_dim), which takes
    a head's values to their signed rotary partners (as a product: gathers along the last axis are slow);
    slots (B, L) of queries and keys (B, K), tokens by number; places and key_places (T,), where each token
    sits in those; shared (T,), see `Keys`; mask (B, L, K)."""

    cos: torch.Tensor
    sin: torch.Tensor
    turn: torch.Tensor
    slots: torch.Tensor
    places: torch.Tensor
    keys: torch.Tensor
    key_places: torch.Tensor
    shared: torch.Tensor
    mask: torch.Tensor


class Block:
    """The stages of a pre-norm block: `w` weights by GGUF name, `lora` (a, b) pairs by name, `scale` alpha / rank.

    An architecture overrides what is its own: rotary pairs, activation, further norms.
    """

    saved: tuple[str, ...] = ("q", "k", "v", "o", "log_sums", "middle", "gate", "up")
    rotary = "halves"
    saves_placed = True  # q and k are saved as `place` makes them; where heads are normalized, as they were before

    def __init__(self, shape: BlockShape):
        self.shape = shape

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of its norms and biases."""
        return VECTORS[self.shape.architecture]

    def vector_size(self, name: str) -> int:
        return self.shape.hidden

    def vector_sizes(self) -> dict[str, int]:
        return {name: self.vector_size(name) for name in self.vectors}

    def saved_widths(self) -> dict[str, int]:
        """Width of each saved value, a float32 (T, width)."""
        s = self.shape
        q, kv, h, f = s.heads * s.head_dim, s.kv_heads * s.head_dim, s.hidden, s.feed_forward
        widths = dict(q=q, k=kv, v=kv, o=q, log_sums=s.heads, mixed=h, middle=h, gate=f, up=f, narrowed=h)
        return {name: widths[name] for name in self.saved}

    def activate(self, gate):
        return Silu.apply(gate)

    def norm(self, x, weight):
        return RmsNorm.apply(x, weight, self.shape.rms_eps)

    def linear(self, x, name, w, lora, scale):
        y = F.linear(x, w[name])
        if f"{name}.bias" in w:
            y = y + w[f"{name}.bias"]
        if name in lora:
            a, b = lora[name]
            y = y + F.linear(F.linear(x, a) * scale, b)
        return y

    def project(self, x, w, lora, scale):
        h = self.norm(x, w["attn_norm"])
        return tuple(self.linear(h, name, w, lora, scale) for name in ATTENTION[:3])

    def place(self, q, k, w, rows: Rows):
        """q and k as attention multiplies them: turned by their tokens' positions, q scaled."""
        s = self.shape
        q = self.rotate(q, s.heads, w, "attn_q_norm", rows, 1 / math.sqrt(s.head_dim))
        return q, self.rotate(k, s.kv_heads, w, "attn_k_norm", rows)

    def rotate(self, x, heads, w, norm, rows: Rows, scale=1.0):
        """x (T, heads * head_dim) turned by its tokens' positions, each head normalized first where `norm` is in w."""
        x = x.reshape(-1, heads, self.shape.head_dim)
        if norm in w:
            x = self.norm(x, w[norm])
        cos, sin = (t.unsqueeze(1) if scale == 1 else (t * scale).unsqueeze(1) for t in (rows.cos, rows.sin))
        return (x * cos + torch.matmul(x, rows.turn) * sin).reshape(-1, heads * self.shape.head_dim)

    def attend(self, q, k, v, rows: Rows, log_sums=None, dots=None):
        """Attention of placed q and k: o (T, heads * head_dim) and log_sums (T, heads).

        Backwards it takes those sums, and dots (T, heads).
        """
        s, (b, n), m = self.shape, rows.slots.shape, rows.keys.shape[1]
        group = s.heads // s.kv_heads
        order, keys = rows.slots.reshape(-1), (rows.keys, rows.key_places, rows.shared)

        def by_head(values, tokens, each, width):  # `each` rows of a head for a token
            values = values.reshape(b, tokens, s.kv_heads, each * width).transpose(1, 2)
            return values.reshape(b, s.kv_heads, tokens * each, width)

        q = by_head(Slots.apply(q, order, rows.places), n, group, s.head_dim)
        k, v = (by_head(Keys.apply(t, *keys), m, 1, s.head_dim) for t in (k, v))
        if log_sums is not None:
            log_sums, dots = (by_head(t.index_select(0, order), n, group, 1) for t in (log_sums, dots))
        o, log_sums = Attention.apply(q, k, v, rows.mask, log_sums, dots)
        o, log_sums = (
            t.reshape(b, s.kv_heads, n, -1).transpose(1, 2).reshape(b * n, -1) for t in (o, log_sums)
        )
        return Slots.apply(o, rows.places, order), log_sums.index_select(0, rows.places)

    def d_attend(self, grads, d_o, q, k, v, o, log_sums, w, rows: Rows):
        """Gradients of q, k and v from the saved values."""
        heads = (-1, self.shape.heads, self.shape.head_dim)
        dots = (d_o.reshape(heads) * o.reshape(heads)).sum(-1)
        placed = (q, k) if self.saves_placed else self.place(q, k, w, rows)
        *d_placed, d_v = grads.through(
            lambda q, k, v, l: self.attend(q, k, v, rows, log_sums, dots)[0], (*placed, v), (), (d_o,))
        # Without a norm this is a rotation alone, whose gradient does not depend on where it is taken.
        d_q, d_k = grads.through(lambda q, k, l: self.place(q, k, w, rows), (q, k), (), d_placed)
        return d_q, d_k, d_v

    def mix(self, x, o, w, lora, scale):
        return x + self.linear(o, "attn_output", w, lora, scale)

    def widen(self, middle, w, lora, scale):
        h = self.norm(middle, w["ffn_norm"])
        return tuple(self.linear(h, name, w, lora, scale) for name in ("ffn_gate", "ffn_up"))

    def narrow(self, middle, gate, up, w, lora, scale):
        return middle + self.linear(self.activate(gate) * up, "ffn_down", w, lora, scale)

    def forward(self, x, w, lora, scale, rows: Rows):
        """Returns y (T, hidden) and the saved values, in the order of `saved`."""
        q, k, v = self.project(x, w, lora, scale)
        placed = self.place(q, k, w, rows)
        o, log_sums = self.attend(*placed, v, rows)
        q, k = placed if self.saves_placed else (q, k)
        middle = self.mix(x, o, w, lora, scale)
        gate, up = self.widen(middle, w, lora, scale)
        return self.narrow(middle, gate, up, w, lora, scale), q, k, v, o, log_sums, middle, gate, up

    def backward(self, dy, x, saved, w, lora, scale, rows: Rows):
        """Returns dx and {name: (da, db)}: the stages in reverse, each from its saved inputs."""
        q, k, v, o, log_sums, middle, gate, up = saved
        grads = Gradients(lora)
        d_middle, d_gate, d_up = grads.through(
            lambda m, g, u, l: self.narrow(m, g, u, w, l, scale), (middle, gate, up), ("ffn_down",), (dy,))
        (d_widen,) = grads.through(
            lambda m, l: self.widen(m, w, l, scale), (middle,), ("ffn_gate", "ffn_up"), (d_gate, d_up))
        d_middle = d_middle + d_widen
        d_x, d_o = grads.through(
            lambda x, o, l: self.mix(x, o, w, l, scale), (x, o), ("attn_output",), (d_middle,))
        d_qkv = self.d_attend(grads, d_o, q, k, v, o, log_sums, w, rows)
        (d_project,) = grads.through(lambda x, l: self.project(x, w, l, scale), (x,), ATTENTION[:3], d_qkv)
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
