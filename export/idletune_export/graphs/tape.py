"""Reverse-mode differentiation of a sublayer that is described once, for its forward and its backward graph.

A sublayer's description is a function that calls primitives on a tape. Each primitive records its vector-Jacobian
product. In the forward graph, a value that the description saves is one more output. In the backward graph it is an
input and stands for what was computed, so that no frozen product is repeated; what is not saved and is needed again,
a norm's result above all, is computed again. Nodes that nothing needs are never part of a graph.
"""

from collections.abc import Callable, Mapping, Sequence

import spox.opset.ai.onnx.v20 as op
from spox import Var


class Value:
    """A tensor under construction that depends on what is differentiated: the sublayer's input or an adapter."""

    def __init__(self, var: Var):
        self.var = var


class Record:
    """A primitive that was applied: `vjp` turns the gradient of its output into those of its inputs."""

    def __init__(self, output: Value, inputs: Sequence[Value], vjp: Callable[[Var], Sequence[Var]]):
        self.output, self.inputs, self.vjp = output, inputs, vjp


class Tape:
    """Records primitives; with `given`, the saved values by name, it is the tape of a backward graph."""

    def __init__(self, given: Mapping[str, Var] | None = None):
        self._given = given
        self._records: list[Record] = []
        self.saved: dict[str, Value] = {}
        self.lent: dict[str, Value] = {}  # further outputs of the forward graph, which other sublayers take as inputs

    def record(self, output: Var, inputs: Sequence[Value], vjp: Callable[[Var], Sequence[Var]]) -> Value:
        """The output as a value; `vjp` may use the values' tensors, read when it is called."""
        value = Value(output)
        self._records.append(Record(value, inputs, vjp))
        return value

    def given(self, name: str) -> Var | None:
        """In a backward graph, the input that stands for a saved value: it need not be computed."""
        return None if self._given is None else self._given[name]

    def save(self, name: str, value: Value) -> Value:
        """Keep a value for the backward pass; in the backward graph it becomes the input of this name."""
        self.saved[name] = value
        if self._given is not None:
            value.var = self._given[name]
        return value

    def gradients(self, output: Value, gradient: Var) -> dict[Value, Var]:
        """Gradients of all values that are no results of primitives, from the gradient of `output`."""
        found = {output: gradient}
        for record in reversed(self._records):
            if record.output not in found:
                continue
            for value, part in zip(record.inputs, record.vjp(found.pop(record.output)), strict=True):
                found[value] = op.add(found[value], part) if value in found else part
        return found
