"""Graph inputs that depend on the packed sequence: positions, masks, and how its tokens lie in attention."""

from typing import NamedTuple

import numpy as np

from ..formats.rope import Rope, cos_sin, rotate_half_matrix
from ..formats.sublayers import Attention, GatedDeltaNet, PerLayerInput, ShortConvolution, Sublayer
from .packing import PackedSequence, batch_count
from .weights import Weights

FIRST_BLOCK = 8  # rows of a triangular matrix that the delta rule inverts by powers


class Positions(NamedTuple):
    """What the position inputs of a sublayer depend on (see Attention)."""

    rope: Rope
    head_dim: int
    window: int
    scale: float
    temperature: float
    temperature_length: int

    @classmethod
    def of(cls, attention: Attention) -> "Positions":
        return cls(*(getattr(attention, name) for name in cls._fields))

    def score_scale(self, positions: np.ndarray) -> np.ndarray:
        """The factor on the scores, float32 (1, 1), or (T, 1) where it depends on the position."""
        if not self.temperature:
            return np.full((1, 1), self.scale, np.float32)
        grown = np.log(positions // self.temperature_length + 1.0) * self.temperature + 1
        return (self.scale * grown).astype(np.float32)[:, None]


class SequenceInputs:
    """Inputs of one sequence for every sublayer; those of like sublayers are made once."""

    def __init__(self, sequence: PackedSequence, weights: Weights, threads: int):
        self._sequence, self._weights = sequence, weights
        self._common = {"token_batches": np.array([batch_count(len(sequence.tokens), threads)], np.int64)}
        self._made: dict[Positions, dict[str, np.ndarray]] = {}
        self._earlier: dict[int, np.ndarray] = {}
        self._visible: dict[str, np.ndarray] = {}
        self._embeddings: tuple[np.ndarray, np.ndarray] | None = None
        self.lent: dict[int, dict[str, np.ndarray]] = {}

    def of(self, sublayer: Sublayer) -> dict[str, np.ndarray]:
        """The inputs of one sublayer."""
        if isinstance(sublayer, PerLayerInput):
            return {"layer_embedding": self._layer_embedding(sublayer)}
        if isinstance(sublayer, ShortConvolution):
            return self._common | {"earlier_tokens": self._earlier_tokens(sublayer.taps - 1)}
        if isinstance(sublayer, GatedDeltaNet):
            return self._common | {"earlier_tokens": self._earlier_tokens(sublayer.taps - 1)} | self._past()
        if not isinstance(sublayer, Attention):
            return self._common
        positions = Positions.of(sublayer)
        if positions not in self._made:
            self._made[positions] = self._common | self._make(positions)
        return self._made[positions] | self.lent.get(sublayer.kv_layer, {})

    def lend(self, layer: int) -> dict[str, np.ndarray]:
        """Arrays that a layer's K and V are written to, where other layers borrow them; by name of the output."""
        widths, tokens = self._weights.shape.kv_widths, len(self._sequence.tokens)
        if layer not in widths:
            return {}
        self.lent[layer] = {name: np.empty((tokens, widths[layer]), np.float32) for name in ("keys", "values")}
        return self.lent[layer]

    def state(self, x: np.ndarray) -> np.ndarray:
        """A copy of hidden states (T, hidden), with the borrowed K and V beside them: (T, state_width)."""
        return np.concatenate([x, *(array for lent in self.lent.values() for array in lent.values())], axis=1)

    def take_state(self, state: np.ndarray) -> np.ndarray:
        """The hidden states in what `state` returned; K and V are kept for the layers that borrow them."""
        hidden, at = self._weights.shape.hidden, self._weights.shape.hidden
        for layer in self._weights.shape.kv_widths:
            for name, array in self.lend(layer).items():
                array[...] = state[:, at : at + array.shape[1]]
                at += array.shape[1]
        return np.ascontiguousarray(state[:, :hidden])

    def _layer_embedding(self, sublayer: PerLayerInput) -> np.ndarray:
        if self._embeddings is None:
            tokens = self._sequence.tokens
            self._embeddings = self._weights.embed(tokens), self._weights.layer_embeddings(tokens)
        return self._weights.layer_embedding(sublayer, *self._embeddings)

    def _past(self) -> dict[str, np.ndarray]:
        """Inputs of the delta rule (see delta_rule.Visibility in the export package)."""
        if not self._visible:
            blocks = -(-len(self._sequence.tokens) // FIRST_BLOCK)
            doublings = (blocks - 1).bit_length()
            self._visible = {
                "visible_tokens": self._sequence.visible_tokens(),
                "first_blocks": np.array([1 << doublings]),
                "doublings": np.array([doublings]),
            }
        return self._visible

    def _earlier_tokens(self, count: int) -> np.ndarray:
        if count not in self._earlier:
            self._earlier[count] = self._sequence.earlier_tokens(count)
        return self._earlier[count]

    def _make(self, of: Positions) -> dict[str, np.ndarray]:
        sequence, rope = self._sequence, of.rope
        divisors = self._weights.first_of(rope.divisors, rope.dimensions // 2) if rope.divisors else None
        cos, sin = cos_sin(rope, sequence.positions, of.head_dim, divisors)
        return {
            "cos": cos,
            "sin": sin,
            "rotate_half": rotate_half_matrix(rope, of.head_dim),
            "attention_scale": of.score_scale(sequence.positions),
            **vars(sequence.layout),
            "attention_mask": sequence.layout.mask_within(of.window, sequence.positions),
        }
