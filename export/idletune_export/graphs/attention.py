"""Causal attention over packed sequences in blocks of queries, with a backward pass of few operators.

- A block of queries sees no key behind its own end, so its products and everything elementwise stop there: with
  QUERY_BLOCKS blocks they cost (QUERY_BLOCKS + 1) / (2 QUERY_BLOCKS) of the whole square, two thirds for 3. More
  blocks save less each time and add operators, which ONNX Runtime starts one after the other.
- The softmax is not one operator. The forward pass divides the result instead of the weights, an array of head_dim
  columns instead of one of as many as there are keys, and returns the log-sum-exp. The backward pass computes the
  weights from it again, and the row sums of weights times their gradients from the output and its gradient (Dao 2023,
  FlashAttention-2, arXiv 2307.08691, algorithms 1 and 2).
- Scores are clamped at -60 below the highest to avoid denormals: exp of a masked score would be denormal, and ONNX
  Runtime's CPU kernels take ten times as long for these. exp(-60) is 1e-26, lost in the rounding of a float32 sum of
  1 or more.
- Grouped queries share their key: they are rows of one product, there are no copies of K and V.
"""

from dataclasses import dataclass
from typing import NamedTuple

import spox.opset.ai.onnx.v20 as op
from spox import Var

from .shapes import REST, SAME, integers, last_two_transposed, number, reshape, size
from .tape import Tape, Value

QUERY_BLOCKS = 3
LOWEST_SCORE = -60.0


@dataclass
class Segments:
    """Where the T tokens of a packed sequence stand in attention; the fields are inputs of the graphs, by these names.

    query_tokens (B, L) and key_tokens (B, K): the tokens of each segment's queries and keys, by number;
    query_positions, key_positions (T,): where each token lies in those, flattened; prefix_columns (T,): the column of
    a token of the shared prefix in the keys, 0 (the padding) for all others; attention_mask (B, L, K), added to the
    scores. The last L keys of a segment are its queries' own tokens.
    """

    query_tokens: Var
    query_positions: Var
    key_tokens: Var
    key_positions: Var
    prefix_columns: Var
    attention_mask: Var


class QueryBlock(NamedTuple):
    """A range of queries of a segment and the number of keys it may see, each int64 (1,)."""

    start: Var
    end: Var
    seen: Var


def causal_attention(
    tape: Tape, q: Value, k: Value, v: Value, segments: Segments, head_dim: Var, soft_cap: Var | None
) -> Value:
    """softmax(q k^T + mask) v: q (T, heads * head_dim), scaled already; k and v (T, kv heads * head_dim).

    With `soft_cap`, scores s are capped as soft_cap * tanh(s / soft_cap) before the mask. Saves attn_out, the result
    (T, heads * head_dim), and log_sum_exp (T, heads).
    """
    core = _Core(segments, head_dim, soft_cap)
    out, log_sum_exp = tape.given("attn_out"), tape.given("log_sum_exp")
    if out is None or log_sum_exp is None:
        out, log_sum_exp = core.forward(q.var, k.var, v.var)
    attended = tape.record(
        out, [q, k, v], lambda gradient: core.backward(gradient, q, k, v, attended, tape.saved["log_sum_exp"])
    )
    tape.save("log_sum_exp", Value(log_sum_exp))
    return tape.save("attn_out", attended)


class _Core:
    def __init__(self, segments: Segments, head_dim: Var, soft_cap: Var | None):
        self.segments, self.head_dim, self.soft_cap = segments, head_dim, soft_cap
        self.length, self.blocks = size(segments.query_tokens, 1), _query_blocks(segments)

    def forward(self, q: Var, k: Var, v: Var) -> tuple[Var, Var]:
        queries, keys, values = self._queries(q, self._kv_heads(k)), self._keys(k), self._keys(v)
        parts = [self._attend(queries, keys, values, block) for block in self.blocks]
        out, log_sum_exp = (op.concat(list(part), axis=2) for part in zip(*parts))
        return self._tokens(out, size(q, 1)), self._tokens(log_sum_exp, op.div(size(q, 1), self.head_dim))

    def _attend(self, queries: Var, keys: Var, values: Var, block: QueryBlock) -> tuple[Var, Var]:
        queries, keys, values = self._rows(queries, block), _until(keys, block), _until(values, block)
        scores = self._masked(self._capped(self._scores(queries, keys)), block)
        highest = op.reduce_max(scores, integers(-1))
        exponentials = op.exp(op.clip(op.sub(scores, highest), number(LOWEST_SCORE)))
        total = op.reduce_sum(exponentials, integers(-1))
        return op.div(op.matmul(exponentials, values), total), op.add(highest, op.log(total))

    def backward(self, gradient: Var, q: Value, k: Value, v: Value, out: Value, log_sum_exp: Value) -> list[Var]:
        by_head = reshape(op.mul(gradient, out.var), SAME, REST, self.head_dim)
        row_sums = op.squeeze(op.reduce_sum(by_head, integers(-1)), integers(-1))
        kv_heads = self._kv_heads(k.var)
        rows = [self._queries(tensor, kv_heads) for tensor in (q.var, gradient)]
        rows += [self._queries(tensor, kv_heads, integers(1)) for tensor in (log_sum_exp.var, row_sums)]
        keys, values = self._keys(k.var), self._keys(v.var)
        parts = [self._differentiate(rows, keys, values, block) for block in self.blocks]
        d_q, d_keys, d_values = zip(*parts)
        return [
            self._tokens(op.concat(list(d_q), axis=2), size(q.var, 1)),
            self._summed_keys(_sum(d_keys)),
            self._summed_keys(_sum(d_values)),
        ]

    def _differentiate(self, rows: list[Var], keys: Var, values: Var, block: QueryBlock) -> tuple[Var, Var, Var]:
        """Gradients of the block's queries, and of all keys and values."""
        all_keys = size(keys, 2)
        queries, d_out, log_sum_exp, row_sums = (self._rows(tensor, block) for tensor in rows)
        keys, values = _until(keys, block), _until(values, block)
        capped = self._capped(self._scores(queries, keys))
        scores = self._masked(capped, block)
        weights = op.exp(op.clip(op.sub(scores, log_sum_exp), number(LOWEST_SCORE)))
        d_weights = op.matmul(d_out, last_two_transposed(values))
        d_scores = op.mul(weights, op.sub(d_weights, row_sums))
        if self.soft_cap is not None:
            share = op.div(capped, self.soft_cap)
            d_scores = op.mul(d_scores, op.sub(number(1), op.mul(share, share)))
        unseen = op.sub(all_keys, block.seen)  # keys behind the block have no gradient from it
        return (
            op.matmul(d_scores, keys),
            _padded(op.matmul(last_two_transposed(d_scores), queries), unseen),
            _padded(op.matmul(last_two_transposed(weights), d_out), unseen),
        )

    def _scores(self, queries: Var, keys: Var) -> Var:
        return op.matmul(queries, last_two_transposed(keys))

    def _capped(self, scores: Var) -> Var:
        if self.soft_cap is None:
            return scores
        return op.mul(op.tanh(op.div(scores, self.soft_cap)), self.soft_cap)

    def _masked(self, scores: Var, block: QueryBlock) -> Var:
        """Scores (B, kv heads, queries of a group, keys) with the mask added; a group has one mask."""
        zero = integers(0)
        mask = op.slice(
            self.segments.attention_mask,
            op.concat([block.start, zero], axis=0),
            op.concat([block.end, block.seen], axis=0),
            integers(1, 2),
        )
        by_query = reshape(scores, SAME, SAME, op.sub(block.end, block.start), REST, block.seen)
        return reshape(op.add(by_query, op.unsqueeze(mask, integers(1, 3))), SAME, SAME, REST, block.seen)

    def _kv_heads(self, k: Var) -> Var:
        return op.div(size(k, 1), self.head_dim)

    def _queries(self, tensor: Var, kv_heads: Var, width: Var | None = None) -> Var:
        """(T, heads * width) as (B, kv heads, L * group, width)."""
        by_segment = reshape(op.gather(tensor, self.segments.query_tokens), SAME, SAME, kv_heads, REST)
        return reshape(
            op.transpose(by_segment, perm=[0, 2, 1, 3]), SAME, SAME, REST, self.head_dim if width is None else width
        )

    def _keys(self, tensor: Var) -> Var:
        """(T, kv heads * head_dim) as (B, kv heads, K, head_dim); the shared prefix stands in every segment."""
        by_segment = reshape(op.gather(tensor, self.segments.key_tokens), SAME, SAME, REST, self.head_dim)
        return op.transpose(by_segment, perm=[0, 2, 1, 3])

    def _rows(self, tensor: Var, block: QueryBlock) -> Var:
        """The block's part of a tensor with `group` rows for each query."""
        group = op.div(size(tensor, 2), self.length)
        return op.slice(tensor, op.mul(block.start, group), op.mul(block.end, group), integers(2))

    def _tokens(self, by_head: Var, width: Var) -> Var:
        """(B, kv heads, L * group, n) back as (T, width).

        Also as a gradient: padding attends to nothing but itself, so whatever gradient it carries is dropped.
        """
        by_query = op.transpose(reshape(by_head, SAME, SAME, self.length, REST), perm=[0, 2, 1, 3])
        return op.gather(reshape(by_query, REST, width), self.segments.query_positions)

    def _summed_keys(self, gradient: Var) -> Var:
        """Gradient of keys (B, kv heads, K, head_dim) as that of tokens (T, kv heads * head_dim).

        A token has the gradient of its own place. One of the prefix adds the sum over the segments of its column; for
        all others that column is the padding, whose gradient is 0.
        """
        by_segment = reshape(op.transpose(gradient, perm=[0, 2, 1, 3]), SAME, SAME, REST)
        over_segments = op.reduce_sum(by_segment, integers(0), keepdims=0)
        own = op.gather(reshape(by_segment, REST, size(by_segment, 2)), self.segments.key_positions)
        return op.add(own, op.gather(over_segments, self.segments.prefix_columns))


def _query_blocks(segments: Segments) -> list[QueryBlock]:
    queries, keys = size(segments.query_tokens, 1), size(segments.key_tokens, 1)
    bounds = [op.div(op.mul(queries, integers(n)), integers(QUERY_BLOCKS)) for n in range(1, QUERY_BLOCKS)]
    before = op.sub(keys, queries)
    limits = [integers(0), *bounds, queries]
    return [QueryBlock(start, end, op.add(before, end)) for start, end in zip(limits, limits[1:])]


def _until(tensor: Var, block: QueryBlock) -> Var:
    """The keys that the block sees."""
    return op.slice(tensor, integers(0), block.seen, integers(2))


def _padded(gradient: Var, unseen: Var) -> Var:
    return op.pad(gradient, op.concat([integers(0, 0, 0, 0, 0, 0), unseen, integers(0)], axis=0))


def _sum(parts: tuple[Var, ...]) -> Var:
    total = parts[0]
    for part in parts[1:]:
        total = op.add(total, part)
    return total
