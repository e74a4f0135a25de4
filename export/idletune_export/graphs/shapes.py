"""Sizes and shapes computed inside a graph: no size of a model is a constant of one."""

from functools import cache

import numpy as np
import spox.opset.ai.onnx.v20 as op
from spox import Var

SAME = 0  # in a target of `reshape`: the input's own size on that axis
REST = -1


@cache
def integers(*values: int) -> Var:
    """A constant int64 (n,); one node for all of its uses in a graph."""
    return op.const(np.array(values, np.int64))


@cache
def number(value: float) -> Var:
    """A constant float32 scalar."""
    return op.const(np.array(value, np.float32))


def size(tensor: Var, axis: int) -> Var:
    """The size of an axis as int64 (1,); -1 is the last one."""
    return op.shape(tensor, start=axis, end=axis + 1 if axis != -1 else None)


def reshape(tensor: Var, *target: int | Var) -> Var:
    """Reshape to sizes that are numbers, SAME, REST, or int64 tensors (1,)."""
    parts: list[Var] = []
    numbers: list[int] = []
    for part in target:
        if isinstance(part, int):
            numbers.append(part)
            continue
        parts += [integers(*numbers)] if numbers else []
        parts.append(part)
        numbers = []
    parts += [integers(*numbers)] if numbers else []
    return op.reshape(tensor, op.concat(parts, axis=0) if len(parts) > 1 else parts[0])


def transposed(matrix: Var) -> Var:
    return op.transpose(matrix, perm=[1, 0])


def last_two_transposed(tensor: Var) -> Var:
    """For four axes; ONNX Runtime makes it part of the product that follows."""
    return op.transpose(tensor, perm=[0, 1, 3, 2])
