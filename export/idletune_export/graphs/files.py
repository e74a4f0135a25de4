"""Writes all training graphs: a folder for each kind of sublayer that a model family uses, the head's, and int8's.

- The graphs hold no parameters and no size of a model: one set serves every shape. The weights stay in the GGUF file.
- The backward pass is taken apart into plain operators, because the inference builds of ONNX Runtime, the only ones
  that there are for a phone, have no training API.
- Standard operators of opset 20 alone, so that ONNX Runtime from 1.23 on, desktop or Android, runs them.
"""

from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import onnx
from idletune.formats.families import used_kinds
from idletune.formats.sublayers import Kind, may_be_adapted
from idletune.training.graph_files import sublayer_graph
from spox import Tensor, Var, argument, build

from .head import head_graphs
from .int8 import IntegerProducts, small_graphs
from .primitives import FloatProducts, Linears
from .sublayers import arguments, sublayer
from .tape import Tape, Value


def write_training_graphs(folder: Path) -> None:
    """Write every graph that ships with the runtime under `folder`."""
    for kind, adapted, int8 in product(used_kinds(), (False, True), (False, True)):
        if adapted and not may_be_adapted(kind):
            continue
        for backward in (False, True):
            path = sublayer_graph(folder, kind, adapted=adapted, int8=int8, backward=backward)
            _write(path, *(backward_graph if backward else forward_graph)(kind, adapted, int8))
    for soft_capped in (False, True):
        for name, graph in head_graphs(soft_capped).items():
            _write(folder / "head" / f"{name}.onnx", *graph)
    for name, graph in small_graphs().items():
        _write(folder / "int8" / f"{name}.onnx", *graph)


def forward_graph(kind: Kind, adapted: bool, int8: bool) -> tuple[dict[str, Var], dict[str, Var]]:
    """Inputs and outputs: y, the saved values by name, and what is lent to other sublayers."""
    inputs, tape = arguments(kind, adapted, int8), Tape()
    y = sublayer(tape, Value(inputs["x"]), inputs, _linears(tape, inputs, kind, int8), kind)
    return inputs, {"y": y.var} | {name: value.var for name, value in (tape.saved | tape.lent).items()}


def backward_graph(kind: Kind, adapted: bool, int8: bool) -> tuple[dict[str, Var], dict[str, Var]]:
    """Inputs, dy and the saved values among them, and outputs: dx, and NAME.d_lora_a, NAME.d_lora_b."""
    inputs = arguments(kind, adapted, int8)
    saved = {name: argument(Tensor(np.float32, ("T", name))) for name in _saved_names(kind)}
    dy, tape, x = argument(Tensor(np.float32, ("T", "hidden"))), Tape(saved), Value(inputs["x"])
    linears = _linears(tape, inputs, kind, int8)
    found = tape.gradients(sublayer(tape, x, inputs, linears, kind), dy)
    gradients = {name.replace(".lora_", ".d_lora_"): found[value] for name, value in linears.adapters.items()}
    return {"dy": dy, **saved, **inputs}, {"dx": found[x], **gradients}


@cache
def _saved_names(kind: Kind) -> list[str]:
    inputs, tape = arguments(kind, adapted=False, int8=False), Tape()
    sublayer(tape, Value(inputs["x"]), inputs, _linears(tape, inputs, kind, int8=False), kind)
    return list(tape.saved)


def _linears(tape: Tape, inputs: dict[str, Var], kind: Kind, int8: bool) -> Linears:
    products = FloatProducts(inputs)
    return Linears(tape, inputs, IntegerProducts(inputs, kind.int8_linears, products) if int8 else products)


def _write(path: Path, inputs: dict[str, Var], outputs: dict[str, Var]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    model = build(inputs, outputs, drop_unused_inputs=True)
    del model.graph.value_info[:]
    _name_outputs_at_their_nodes(model.graph)
    used = {value.name: value for value in model.graph.input}  # in an order of spox's that differs from run to run
    del model.graph.input[:]
    model.graph.input.extend(used[name] for name in inputs if name in used)
    onnx.save(model, path)


def _name_outputs_at_their_nodes(graph: onnx.GraphProto) -> None:
    """spox names outputs by Identity nodes; ONNX Runtime would copy the array where its value is used inside too."""
    made = {output for node in graph.node for output in node.output}
    named = {n.input[0]: n.output[0] for n in graph.node if n.op_type == "Identity" and n.input[0] in made}
    kept = [node for node in graph.node if node.op_type != "Identity" or node.input[0] not in made]
    for node in kept:
        for names in (node.input, node.output):
            names[:] = [named.get(name, name) for name in names]
    del graph.node[:]
    graph.node.extend(kept)
