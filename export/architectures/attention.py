"""Causal attention in runs of queries, with a backward pass of few steps, written for tracing.

A run of queries sees no key behind its own end, so its products and everything elementwise stop there: with RUNS runs
they cost (RUNS + 1) / 2 RUNS of the square. Softmax is taken apart: the forward pass divides the result instead of
the weights, and keeps the logarithm of their sum; the backward pass finds the weights from it in one step, and the
row sums of weights times their gradients from the result and its gradient (Dao 2023, FlashAttention-2,
arXiv 2307.08691, algorithms 1 and 2). Scores end at LOWEST below the highest, which float32 sums cannot tell from
nothing: exp of a masked score would be denormal, and cost ten times as much as the others.
"""

import torch
import torch.nn.functional as F

RUNS = 3
LOWEST = -60.0


@torch.library.custom_op("idletune::matmul", mutates_args=())
def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The product of stacks of matrices; ONNX's MatMul as it is, where PyTorch's own is traced with its reshapes."""
    return torch.matmul(a, b)


@matmul.register_fake
def _(a, b):
    return a.new_empty(*a.shape[:-1], b.shape[-1])


class Attention(torch.autograd.Function):
    """softmax(q k^T + mask) v, and the logarithms of the softmax's sums.

    Grouped queries share their key: they are rows of one product, no copies of K and V. q (B, kv heads, L * group,
    head_dim), scaled already; k, v (B, kv heads, K, head_dim), the last L keys being the queries' own tokens; mask
    (B, L, K). Returns o like q, and log_sums (B, kv heads, L * group, 1), which has no gradient. The backward
    pass takes `log_sums` and `dots`, sum(o * do) of each query, of that shape.
    """

    @staticmethod
    def forward(ctx, q, k, v, mask, log_sums, dots):
        ctx.save_for_backward(q, k, v, mask, log_sums, dots)
        parts, sums = [], []
        for run in _runs(mask):
            queries, seen, values = _of_run(run, mask, (q,), (k, v))
            scores = _scores(queries, seen, mask, run)
            top = scores.amax(-1, keepdim=True)
            odds = torch.exp(torch.clamp(scores - top, min=LOWEST))
            total = odds.sum(-1, keepdim=True)
            parts.append(matmul(odds, values) / total)
            sums.append(top + torch.log(total))
        return torch.cat(parts, 2), torch.cat(sums, 2)

    @staticmethod
    def backward(ctx, do, _):
        q, k, v, mask, log_sums, dots = ctx.saved_tensors
        dq, dk, dv = [], 0, 0
        for run in _runs(mask):
            queries, d, sums, along, seen, values = _of_run(run, mask, (q, do, log_sums, dots), (k, v))
            weights = torch.exp(torch.clamp(_scores(queries, seen, mask, run) - sums, min=LOWEST))
            d_scores = weights * (matmul(d, values.transpose(2, 3)) - along)
            dq.append(matmul(d_scores, seen))
            behind = (0, 0, 0, k.shape[2] - run[2])
            dk = dk + F.pad(matmul(d_scores.transpose(2, 3), queries), behind)
            dv = dv + F.pad(matmul(weights.transpose(2, 3), d), behind)
        return torch.cat(dq, 2), dk, dv, None, None, None


def _runs(mask) -> list[tuple]:
    """Where each run's queries start and end, and how many keys they may see."""
    _, queries, keys = mask.shape
    bounds = [queries * number // RUNS for number in range(RUNS + 1)]
    return [(start, end, keys - queries + end) for start, end in zip(bounds, bounds[1:])]


def _of_run(run, mask, by_query, by_key) -> list:
    """What a run sees of tensors with `group` rows for each query, and of those with a row for each key."""
    start, end, keys = run
    group = by_query[0].shape[2] // mask.shape[1]
    return [t[:, :, start * group : end * group] for t in by_query] + [t[:, :, :keys] for t in by_key]


def _scores(queries, keys, mask, run):
    """Masked scores (B, kv heads, queries, keys); the queries of a group have one mask."""
    start, end, seen = run
    scores = matmul(queries, keys.transpose(2, 3))
    by_group = scores.view(*scores.shape[:2], end - start, -1, seen) + mask[:, None, start:end, None, :seen]
    return by_group.view(scores.shape)
