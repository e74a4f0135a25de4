"""Exports the training graphs of one model shape: block_forward, block_backward and head, as ONNX.

All layers of a model have one shape, so one pair of graphs serves every layer; weights and adapter are
inputs, and the files hold no parameters at all. Traced with make_fx (which takes the backward pass apart
into plain operators), written by torch.onnx; standard operators only, opset 20, so that ONNX Runtime from
1.23 on, desktop or Android, runs them.
"""

import io
import json
import warnings
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path

import torch
from idletune.gguf_file import GgufFile
from idletune.training.shape import ModelShape
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from .architectures.llama import LINEARS, NORMS, Llama, Rows, Shape

OPSET = 20
ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
VARIANTS = {"attention": ATTENTION, "all": LINEARS}
ROW_INPUTS = ("cos", "sin", "slots", "places", "mask")


class _Call(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


def export_graph(function, arguments: dict, outputs: list[str], dimensions: dict, path: Path) -> None:
    """Trace `function(*arguments.values())` and write it to `path`; `dimensions` names the free axes."""
    example = tuple(arguments.values())
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        _trace(function, example, outputs, arguments, dimensions).save(path)


def _trace(function, example, outputs, arguments, dimensions):
    traced = make_fx(
        function, decomposition_table=core_aten_decompositions(), tracing_mode="symbolic",
        _allow_non_fake_inputs=True,
    )(*example)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    free = tuple(dimensions.get(name) for name in arguments)
    return torch.onnx.export(
        _Call(traced).eval(), example, dynamo=True, opset_version=OPSET, verify=False, optimize=True,
        input_names=list(arguments), output_names=outputs, dynamic_shapes=(free,),
    )


def example_rows(shape: Shape, tokens=24, slots=3, longest=11) -> Rows:
    """Inputs of plausible shapes for tracing; no two free dimensions are alike."""
    return Rows(
        torch.randn(tokens, shape.head_dim), torch.randn(tokens, shape.head_dim),
        torch.randint(0, tokens, (slots, longest)), torch.arange(tokens), torch.zeros(slots, longest, longest),
    )


def block_inputs(shape: Shape, targets, rank=5) -> tuple[dict, dict]:
    """Example inputs of a block and their free axes, in the graph's input order."""
    dim = {name: torch.export.Dim(name, min=2, max=1 << 20) for name in ("T", "B", "L")}
    rank_dim = torch.export.Dim("R", min=2, max=1024)
    rows = example_rows(shape)
    inputs = {"x": torch.randn(len(rows.cos), shape.hidden), **vars(rows)}
    free = {
        "dy": {0: dim["T"]}, "x": {0: dim["T"]}, "cos": {0: dim["T"]}, "sin": {0: dim["T"]},
        "slots": {0: dim["B"], 1: dim["L"]}, "places": {0: dim["T"]},
        "mask": {0: dim["B"], 1: dim["L"], 2: dim["L"]},
    }
    weights = shape.weight_shapes()
    inputs |= {name: torch.randn(weights[name]) * 0.05 for name in NORMS + LINEARS}
    inputs["scale"] = torch.tensor(2.0)
    for name in targets:
        rows_out, columns = weights[name]
        inputs[f"{name}.lora_a"] = torch.randn(rank, columns) * 0.05
        inputs[f"{name}.lora_b"] = torch.randn(rows_out, rank) * 0.05
        free[f"{name}.lora_a"], free[f"{name}.lora_b"] = {0: rank_dim}, {1: rank_dim}
    return inputs, free


def saved_shapes(shape: Shape, tokens: int) -> dict[str, torch.Tensor]:
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    widths = dict(q=q, k=kv, v=kv, o=q, middle=shape.hidden, gate=shape.feed_forward, up=shape.feed_forward)
    return {name: torch.randn(tokens, width) for name, width in widths.items()}


def unflatten(names, values, targets):
    """The graph's flat inputs as the architecture's arguments: x, w, lora, scale, rows."""
    named = dict(zip(names, values))
    lora = {t: (named[f"{t}.lora_a"], named[f"{t}.lora_b"]) for t in targets}
    weights = {name: named[name] for name in NORMS + LINEARS}
    return named["x"], weights, lora, named["scale"], Rows(*(named[name] for name in ROW_INPUTS))


def export_block(shape: Shape, targets, folder: Path) -> None:
    """Write block_forward.onnx and block_backward.onnx for adapters on `targets`."""
    block = Llama(shape)
    inputs, free = block_inputs(shape, targets)
    names = list(inputs)

    def forward(*values):
        return block.forward(*unflatten(names, values, targets))

    export_graph(forward, inputs, ["y", *block.saved], free, folder / "block_forward.onnx")

    tokens = len(inputs["x"])
    saved = saved_shapes(shape, tokens)
    free |= {name: free["x"] for name in saved}
    arguments = {"dy": torch.randn_like(inputs["x"]), **saved, **inputs}

    def backward(dy, *values):
        kept, rest = values[: len(saved)], values[len(saved) :]
        dx, lora = block.backward(dy, rest[0], kept, *unflatten(names, rest, targets)[1:])
        return (dx, *(gradient for target in targets for gradient in lora[target]))

    outputs = ["dx", *(f"{target}.{side}" for target in targets for side in ("d_lora_a", "d_lora_b"))]
    export_graph(backward, arguments, outputs, free, folder / "block_backward.onnx")


def head_loss(shape: Shape):
    """The last norm, the logits and the cross-entropy of labelled positions, with the gradient of x.

    Written out (softmax @ E - E[label]) so that no one-hot or scatter of the vocabulary's width is made.
    """
    block = Llama(shape)

    def head(x, labels, norm, embedding):
        x = x.detach().requires_grad_()
        h = block.norm(x, norm)
        logits = torch.nn.functional.linear(h, embedding)
        highest = logits.amax(-1, keepdim=True)
        odds = torch.exp(logits - highest)
        total = odds.sum(-1, keepdim=True)
        wanted = embedding.index_select(0, labels)
        loss = (torch.log(total) + highest).squeeze(-1) - (h * wanted).sum(-1)
        dh = torch.matmul(odds, embedding) / total - wanted
        return loss.detach(), torch.autograd.grad(h, x, dh.detach())[0]

    return head


def export_head(shape: Shape, folder: Path) -> None:
    """Write head.onnx: x (n, hidden), labels (n,) -> loss (n,) in nats, dx (n, hidden) of the summed loss."""
    n = torch.export.Dim("n", min=2, max=1 << 20)
    vocabulary = torch.export.Dim("V", min=2, max=1 << 20)
    inputs = {
        "x": torch.randn(7, shape.hidden), "labels": torch.randint(0, 64, (7,)),
        "norm": torch.ones(shape.hidden), "embedding": torch.randn(64, shape.hidden),
    }
    free = {"x": {0: n}, "labels": {0: n}, "embedding": {0: vocabulary}}
    export_graph(head_loss(shape), inputs, ["loss", "dx"], free, folder / "head.onnx")


def shape_of(gguf_path: Path) -> Shape:
    """The graphs' shape of a GGUF model."""
    model = ModelShape.of(GgufFile(gguf_path))
    return Shape(**{field.name: getattr(model, field.name) for field in fields(Shape)})


def export_training_graphs(shape: Shape, folder: Path) -> None:
    """Write all training graphs of `shape` and shape.json under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    export_head(shape, folder)
    for variant, targets in VARIANTS.items():
        (folder / variant).mkdir(exist_ok=True)
        export_block(shape, targets, folder / variant)
    (folder / "shape.json").write_text(json.dumps({"architecture": "llama", **vars(shape)}, indent=1) + "\n")
