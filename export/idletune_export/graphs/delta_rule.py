"""The gated delta rule over packed sequences (Yang et al. 2024, arXiv 2412.06464), as products of (T, T) matrices.

A head's state S decays by exp(g_t) at each token, forgets what it holds for the key and takes the new value:

    u_t = beta_t (v_t - exp(g_t) S_(t-1) k_t)    S_t = exp(g_t) S_(t-1) + u_t k_t^T    o_t = S_t q_t

Written out over all earlier tokens, with D_ts = exp(G_t - G_s), the decay from token s to token t, G the sums of g:

    (1 + L) U = beta V,  L_ts = beta_t D_ts k_t . k_s for s before t        O = (Q K^T * D) U

This is the first chunk of the paper's chunked form; the chunk is here the whole sequence, at most some hundred tokens.
D is 0 where s is of another dialogue set, so that sets and the prefix they share need no states of their own. The
triangular matrix is inverted block by block: two inverted blocks and what lies between them give one of twice the size,
which is as exact as solving row by row. (Powers of L would be fewer products, but they grow, and float32 loses them.)
"""

from dataclasses import dataclass

import numpy as np
import spox.opset.ai.onnx.v20 as op
from spox import Var

from .shapes import SAME, integers, number, reshape, size
from .tape import Tape, Value

LOWEST_DECAY = -60.0  # exp of less is denormal, which ONNX Runtime's kernels compute ten times as slowly


@dataclass
class Visibility:
    """Which tokens belong to each one's past; the fields are inputs of the graphs, by these names.

    visible_tokens float32 (T, T): 1 where token s is token t itself or stands before it in its dialogue set.
    first_blocks int64 (1,): how many blocks of at most 8 rows the inversion begins with, a power of two; doublings
    int64 (1,): how often their size is doubled until one is left.
    """

    visible_tokens: Var
    first_blocks: Var
    doublings: Var


def delta_rule(
    tape: Tape, q: Value, k: Value, v: Value, beta: Value, log_decay: Value, visibility: Visibility
) -> Value:
    """O float32 (H, T, width) for q, k, v (H, T, width), beta and g (H, T, 1); q and k are normalized and scaled."""
    core = _Core(q.var, k.var, v.var, beta.var, log_decay.var, visibility)
    return tape.record(op.matmul(core.scores, core.updates), [q, k, v, beta, log_decay], core.vjp)


class _Core:
    """The matrices of all heads, each (H, T, T) if it is not said otherwise."""

    def __init__(self, q: Var, k: Var, v: Var, beta: Var, log_decay: Var, visibility: Visibility):
        self.q, self.k, self.v, self.beta, self.visible = q, k, v, beta, visibility.visible_tokens
        sums = op.matmul(self.visible, log_decay)  # G (H, T, 1)
        differences = op.sub(sums, last_two_swapped(sums))
        decay = op.mul(op.exp(op.clip(differences, number(LOWEST_DECAY), number(0))), self.visible)
        self.decay = decay
        # The diagonal of decay is exp(0): what is left of it without the diagonal are the tokens before.
        self.decay_before = op.mul(decay, op.sub(number(1), op.eye_like(self.visible)))
        self.overlaps = op.mul(op.matmul(k, last_two_swapped(k)), self.decay_before)
        self.inverse = unit_lower_inverse(op.mul(self.overlaps, beta), visibility)
        self.updates = op.matmul(self.inverse, op.mul(v, beta))  # U (H, T, width)
        self.scores = op.mul(op.matmul(q, last_two_swapped(k)), decay)

    def vjp(self, gradient: Var) -> list[Var]:
        """With W = inverse^T dU: d(beta V) = W, dL = -W U^T."""
        d_updates = op.matmul(last_two_swapped(self.scores), gradient)
        w = op.matmul(last_two_swapped(self.inverse), d_updates)
        d_scores = op.matmul(gradient, last_two_swapped(self.updates))
        d_lower = op.neg(op.matmul(w, last_two_swapped(self.updates)))
        d_products = op.mul(d_scores, self.decay)  # of Q K^T
        d_overlaps = op.mul(op.mul(d_lower, self.decay_before), self.beta)  # of K K^T
        lower_parts = op.mul(d_lower, self.overlaps)
        d_q = op.matmul(d_products, self.k)
        d_k = op.add(
            op.matmul(last_two_swapped(d_products), self.q),
            op.matmul(op.add(d_overlaps, last_two_swapped(d_overlaps)), self.k),
        )
        d_beta = op.add(_row_sums(op.mul(w, self.v)), _row_sums(lower_parts))
        # The gradient of G_t - G_s is that of the two products times themselves.
        d_differences = op.add(op.mul(lower_parts, self.beta), op.mul(d_scores, self.scores))
        d_sums = op.sub(_row_sums(d_differences), last_two_swapped(_column_sums(d_differences)))
        d_log_decay = op.matmul(op.transpose(self.visible, perm=[1, 0]), d_sums)
        return [d_q, d_k, op.mul(w, self.beta), d_beta, d_log_decay]


def unit_lower_inverse(lower: Var, visibility: Visibility) -> Var:
    """(1 + lower)^-1 for strictly lower triangular matrices (H, T, T)."""
    tokens, count = size(lower, 1), visibility.first_blocks
    width = op.div(op.sub(op.add(tokens, count), integers(1)), count)  # of a block, rounded up
    missing = op.sub(op.mul(width, count), tokens)
    nothing = integers(0, 0, 0)
    padded = op.pad(lower, op.concat([nothing, integers(0), missing, missing], axis=0))
    blocks = _inverse_of_small(_blocks(padded, count, width, op.range(*_scalars(0, count, 1)), diagonal=True))

    def doubled(_: Var, going_on: Var, found: Var) -> list[Var]:
        return [going_on, _pairs_joined(padded, found)]

    (whole,) = op.loop(visibility.doublings, op.const(np.array([True])), [blocks], body=doubled)
    whole = reshape(whole, SAME, op.mul(width, count), op.mul(width, count))
    return op.slice(whole, integers(0, 0), op.concat([tokens, tokens], axis=0), integers(1, 2))


def _inverse_of_small(lower: Var) -> Var:
    """(1 - L)(1 + L^2)(1 + L^4), which is exact for L (..., n, n) with n up to 8: L^8 is 0."""
    square = op.matmul(lower, lower)
    fourth = op.matmul(square, square)
    first = op.slice(lower, integers(0, 0), integers(1, 1), integers(0, 1))
    one = op.eye_like(op.squeeze(first, integers(0, 1)))
    return op.matmul(op.matmul(op.sub(one, lower), op.add(one, square)), op.add(one, fourth))


def _pairs_joined(lower: Var, found: Var) -> Var:
    """Inverses (H, n, b, b) of the diagonal blocks as those (H, n / 2, 2 b, 2 b) of blocks of twice the size:
    the inverse of [[A, 0], [B, C]] is [[A^-1, 0], [-C^-1 B A^-1, C^-1]]."""
    count, width = size(found, 1), size(found, 2)
    half = op.div(count, integers(2))
    pairs = reshape(found, SAME, half, integers(2), width, width)
    first, second = (op.squeeze(op.gather(pairs, integers(n), axis=2), integers(2)) for n in (0, 1))
    between = _blocks(lower, count, width, op.range(*_scalars(0, half, 1)), diagonal=False)
    below = op.neg(op.matmul(op.matmul(second, between), first))
    above = op.concat([first, op.mul(below, number(0))], axis=3)
    return op.concat([above, op.concat([below, second], axis=3)], axis=2)


def _blocks(matrix: Var, count: Var, width: Var, numbers: Var, diagonal: bool) -> Var:
    """Blocks (H, n, width, width) of a matrix of count x count blocks: those on the diagonal, or those left of every
    second one on it."""
    split = op.transpose(reshape(matrix, SAME, count, width, count, width), perm=[0, 1, 3, 2, 4])
    at = op.mul(numbers, op.add(count, integers(1)))
    if not diagonal:  # row 2 n + 1, column 2 n
        at = op.add(op.add(at, at), count)
    return op.gather(reshape(split, SAME, op.mul(count, count), width, width), at, axis=1)


def _scalars(start: int, stop: Var, step: int) -> tuple[Var, Var, Var]:
    """Arguments of Range, which takes scalars."""
    return op.const(np.array(start, np.int64)), op.squeeze(stop), op.const(np.array(step, np.int64))


def last_two_swapped(tensor: Var) -> Var:
    """(H, T, S) as (H, S, T)."""
    return op.transpose(tensor, perm=[0, 2, 1])


def _row_sums(tensor: Var) -> Var:
    return op.reduce_sum(tensor, integers(-1))


def _column_sums(tensor: Var) -> Var:
    return op.reduce_sum(tensor, integers(-2))
