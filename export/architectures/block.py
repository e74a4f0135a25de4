"""What the transformer blocks of all architectures have in common, cut at the products with frozen weights.

`forward` returns the block's output and every such product; `backward` differentiates stage by stage from
these, so it repeats no product with a frozen weight. A stage is small enough for autograd to be exact and
cheap. Written for tracing: flat (tokens, width) tensors, no data-dependent shapes, no scatter.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from idletune.training.shape import ATTENTION, BlockShape


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

    An architecture overrides what is its own: names of its vectors, rotary pairs, activation, further norms.
    """

    vectors: tuple[str, ...] = ("attn_norm", "ffn_norm")
    saved: tuple[str, ...] = ("q", "k", "v", "o", "middle", "gate", "up")
    rotary = "halves"

    def __init__(self, shape: BlockShape):
        self.shape = shape

    def vector_size(self, name: str) -> int:
        return self.shape.hidden

    def vector_sizes(self) -> dict[str, int]:
        return {name: self.vector_size(name) for name in self.vectors}

    def saved_widths(self) -> dict[str, int]:
        """Width of each saved value, a float32 (T, width)."""
        s = self.shape
        q, kv, h, f = s.heads * s.head_dim, s.kv_heads * s.head_dim, s.hidden, s.feed_forward
        widths = dict(q=q, k=kv, v=kv, o=q, mixed=h, middle=h, gate=f, up=f, narrowed=h)
        return {name: widths[name] for name in self.saved}

    def activate(self, gate):
        return Silu.apply(gate)

    def norm(self, x, weight):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.shape.rms_eps) * weight

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

    def rotate(self, x, heads, w, norm, rows: Rows):
        """x (T, heads * head_dim) turned by its tokens' positions, each head normalized first where `norm` is in w."""
        x = x.reshape(-1, heads, self.shape.head_dim)
        if norm in w:
            x = self.norm(x, w[norm])
        turned = x * rows.cos.unsqueeze(1) + torch.matmul(x, rows.turn) * rows.sin.unsqueeze(1)
        return turned.reshape(-1, heads * self.shape.head_dim)

    def attend(self, q, k, v, w, rows: Rows):
        s, (b, n), m = self.shape, rows.slots.shape, rows.keys.shape[1]
        group = s.heads // s.kv_heads
        order, keys = rows.slots.reshape(-1), (rows.keys, rows.key_places, rows.shared)
        q = Slots.apply(self.rotate(q, s.heads, w, "attn_q_norm", rows), order, rows.places)
        k = Keys.apply(self.rotate(k, s.kv_heads, w, "attn_k_norm", rows), *keys)
        v = Keys.apply(v, *keys)
        # Grouped queries share their key: fold the group into the rows of one product, no copies of K and V.
        q = q.reshape(b, n, s.kv_heads, group, s.head_dim).permute(0, 2, 3, 1, 4)
        q = (q * (1 / math.sqrt(s.head_dim))).reshape(b * s.kv_heads, group * n, s.head_dim)
        k = k.reshape(b, m, s.kv_heads, s.head_dim).permute(0, 2, 3, 1).reshape(b * s.kv_heads, s.head_dim, m)
        v = v.reshape(b, m, s.kv_heads, s.head_dim).permute(0, 2, 1, 3).reshape(b * s.kv_heads, m, s.head_dim)
        scores = torch.bmm(q, k).reshape(b, s.kv_heads, group, n, m) + rows.mask[:, None, None]
        weights = torch.softmax(scores, -1).reshape(b * s.kv_heads, group * n, m)
        o = torch.bmm(weights, v).reshape(b, s.kv_heads, group, n, s.head_dim).permute(0, 3, 1, 2, 4)
        o = o.reshape(b * n, s.heads * s.head_dim)
        return Slots.apply(o, rows.places, order)

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
        o = self.attend(q, k, v, w, rows)
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
        d_qkv = grads.through(lambda q, k, v, l: self.attend(q, k, v, w, rows), (q, k, v), (), (d_o,))
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
