"""Exports the training graphs of one model shape, as ONNX: a block forward and backward, and the head.

All layers of a model have one shape, so one pair of graphs serves every layer; weights and adapter are
inputs, and the files hold no parameters at all. Traced with make_fx (which takes the backward pass apart
into plain operators), written by torch.onnx; standard operators only, opset 20, so that ONNX Runtime from
1.23 on, desktop or Android, runs them.
"""

import io
import json
import logging
import warnings
from contextlib import redirect_stdout
from dataclasses import asdict, fields
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from idletune.training.graph_files import VARIANTS
from idletune.training.int8 import INT8_LINEARS
from idletune.training.shape import LINEARS, BlockShape
from onnxscript import opset20
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from .architectures import ARCHITECTURES, Block, Rows
from .int8_graphs import with_int8_products

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of absent packages that have no part in this

OPSET = 20
ROW_INPUTS = tuple(field.name for field in fields(Rows))


def onnx_matmul(a, b):
    """architectures.attention.matmul, for torch.onnx."""
    return opset20.MatMul(a, b)


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
        model = _trace(function, example, outputs, arguments, dimensions).model_proto
    onnx.save(_without_notes(model), path)


def _without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The exporter writes down where in PyTorch every node came from: nine tenths of the file."""
    for part in (*model.graph.node, model.graph, model):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.graph.ClearField("value_info")
    return model


def _trace(function, example, outputs, arguments, dimensions):
    traced = make_fx(
        lambda *values: function(*values),  # make_fx counts a method's self as an argument
        decomposition_table=core_aten_decompositions(), tracing_mode="symbolic",
        _allow_non_fake_inputs=True,
    )(*example)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    free = tuple(dimensions.get(name) for name in arguments)
    return torch.onnx.export(
        _Call(traced).eval(), example, dynamo=True, opset_version=OPSET, verify=False, optimize=True,
        input_names=list(arguments), output_names=outputs, dynamic_shapes=(free,),
        custom_translation_table={torch.ops.idletune.matmul.default: onnx_matmul},
    )


def unlike_sizes(shape: BlockShape, count: int) -> list[int]:
    """Example sizes for free axes: tracing takes an axis for fixed when its size is also one of the model's."""
    taken = {value for value in asdict(shape).values() if isinstance(value, int)}
    taken |= {size for rows_columns in shape.linear_shapes().values() for size in rows_columns}
    taken.add(shape.heads // shape.kv_heads)
    return [prime for prime in (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43) if prime not in taken][:count]


def example_rows(shape: BlockShape, tokens: int, slots: int, longest: int, keys: int) -> Rows:
    """Inputs of plausible shapes for tracing."""
    return Rows(  # a tensor each: tracing takes the same tensor twice for one input
        cos=torch.randn(tokens, shape.head_dim), sin=torch.randn(tokens, shape.head_dim),
        turn=torch.randn(shape.head_dim, shape.head_dim),
        slots=torch.randint(0, tokens, (slots, longest)), places=torch.arange(tokens),
        keys=torch.randint(0, tokens, (slots, keys)), key_places=torch.arange(tokens),
        shared=torch.zeros(tokens, dtype=torch.long), mask=torch.zeros(slots, longest, keys),
    )


def block_inputs(block: Block, targets) -> tuple[dict, dict]:
    """Example inputs of a block and their free axes, in the graph's input order."""
    rank, slots, longest, keys, tokens = unlike_sizes(block.shape, 5)
    dim = {name: torch.export.Dim(name, min=2, max=1 << 20) for name in ("T", "B", "L", "K")}
    rank_dim = torch.export.Dim("R", min=2, max=1024)
    rows = example_rows(block.shape, tokens, slots, longest, keys)
    inputs = {"x": torch.randn(len(rows.cos), block.shape.hidden), **vars(rows)}
    free = {
        "dy": {0: dim["T"]}, "x": {0: dim["T"]}, "cos": {0: dim["T"]}, "sin": {0: dim["T"]},
        "slots": {0: dim["B"], 1: dim["L"]}, "places": {0: dim["T"]},
        "keys": {0: dim["B"], 1: dim["K"]}, "key_places": {0: dim["T"]}, "shared": {0: dim["T"]},
        "mask": {0: dim["B"], 1: dim["L"], 2: dim["K"]},
    }
    linears = block.shape.linear_shapes()
    inputs |= {name: torch.randn(size) * 0.05 for name, size in (block.vector_sizes() | linears).items()}
    inputs["scale"] = torch.tensor(2.0)
    for name in targets:
        rows_out, columns = linears[name]
        inputs[f"{name}.lora_a"] = torch.randn(rank, columns) * 0.05
        inputs[f"{name}.lora_b"] = torch.randn(rows_out, rank) * 0.05
        free[f"{name}.lora_a"], free[f"{name}.lora_b"] = {0: rank_dim}, {1: rank_dim}
    return inputs, free


def export_block_graph(function, arguments: dict, outputs: list[str], dimensions: dict, folder: Path, side: str):
    """Write block_<side>.onnx, and beside it the same with frozen products on int8."""
    path = folder / f"block_{side}.onnx"
    export_graph(function, arguments, outputs, dimensions, path)
    linears = {name: tuple(arguments[name].shape) for name in INT8_LINEARS}
    onnx.save(with_int8_products(onnx.load(path), linears), folder / f"block_{side}_int8.onnx")


def unflatten(block: Block, names, values, targets):
    """The graph's flat inputs as the architecture's arguments: x, w, lora, scale, rows."""
    named = dict(zip(names, values))
    lora = {t: (named[f"{t}.lora_a"], named[f"{t}.lora_b"]) for t in targets}
    weights = {name: named[name] for name in (*block.vectors, *LINEARS)}
    return named["x"], weights, lora, named["scale"], Rows(*(named[name] for name in ROW_INPUTS))


def export_block(block: Block, targets, folder: Path) -> None:
    """Write the graphs block_forward and block_backward for adapters on `targets`."""
    inputs, free = block_inputs(block, targets)
    names = list(inputs)

    def forward(*values):
        return block.forward(*unflatten(block, names, values, targets))

    export_block_graph(forward, inputs, ["y", *block.saved], free, folder, "forward")

    saved = {name: torch.randn(len(inputs["x"]), width) for name, width in block.saved_widths().items()}
    free |= {name: free["x"] for name in saved}
    arguments = {"dy": torch.randn_like(inputs["x"]), **saved, **inputs}

    def backward(dy, *values):
        kept, rest = values[: len(saved)], values[len(saved) :]
        dx, lora = block.backward(dy, rest[0], kept, *unflatten(block, names, rest, targets)[1:])
        return (dx, *(gradient for target in targets for gradient in lora[target]))

    outputs = ["dx", *(f"{target}.{side}" for target in targets for side in ("d_lora_a", "d_lora_b"))]
    export_block_graph(backward, arguments, outputs, free, folder, "backward")


class Head:
    """The last norm, logits and cross-entropy, a part of the vocabulary at a time.

    What is carried from part to part are the highest logit so far, the sum of exp(logit - highest) and, for
    gradients, the sum of exp(logit - highest) times the part's embeddings; all are rescaled when the highest
    changes (the online softmax of Milakov & Gimelshein 2018, arXiv 1805.02867). So neither the whole output
    matrix nor the whole vocabulary's logits ever need to be in memory, and no logit is computed twice.
    `h` (n, hidden) are the values after the norm. (int8_graphs.gather is `gather` on int8.)
    """

    def __init__(self, block: Block):
        self.block = block

    def start(self, x, norm):
        return self.block.norm(x, norm)

    def total(self, h, embedding, highest, total):
        """One part of the vocabulary, for the loss alone: highest and total with this part."""
        logits = F.linear(h, embedding)
        new = torch.maximum(highest, logits.amax(-1, keepdim=True))
        return new, total * torch.exp(highest - new) + torch.exp(logits - new).sum(-1, keepdim=True)

    def gather(self, h, embedding, highest, total, gathered):
        """One part of the vocabulary, with what the gradient needs."""
        logits = F.linear(h, embedding)
        new = torch.maximum(highest, logits.amax(-1, keepdim=True))
        odds, fade = torch.exp(logits - new), torch.exp(highest - new)
        return new, total * fade + odds.sum(-1, keepdim=True), gathered * fade + torch.matmul(odds, embedding)

    def end(self, x, norm, wanted, highest, total, gathered):
        """loss (n,) in nats, and dx (n, hidden) of the summed loss; `wanted` are the labels' embeddings."""
        x = x.detach().requires_grad_()
        h = self.block.norm(x, norm)
        loss = (torch.log(total) + highest).squeeze(-1) - (h * wanted).sum(-1)
        dh = gathered / total - wanted
        return loss.detach(), torch.autograd.grad(h, x, dh.detach())[0]


def export_head(block: Block, folder: Path) -> None:
    """Write head_start.onnx, head_total.onnx, head_gather.onnx and head_end.onnx (see `Head`)."""
    head, hidden = Head(block), block.shape.hidden
    n = torch.export.Dim("n", min=2, max=1 << 20)
    part = torch.export.Dim("V", min=2, max=1 << 20)
    count, words = unlike_sizes(block.shape, 2)
    x = {"x": torch.randn(count, hidden), "norm": torch.ones(hidden)}
    h = {"h": torch.randn(count, hidden), "embedding": torch.randn(words, hidden)}
    sums = {"highest": torch.randn(count, 1), "total": torch.rand(count, 1) + 1}
    gathered = {"gathered": torch.randn(count, hidden)}
    free = {name: {0: n} for name in ("x", "h", "wanted", "highest", "total", "gathered")} | {"embedding": {0: part}}
    wanted = {"wanted": torch.randn(count, hidden)}
    after = ["new_highest", "new_total"]
    export_graph(head.start, x, ["h"], free, folder / "head_start.onnx")
    export_graph(head.total, h | sums, after, free, folder / "head_total.onnx")
    export_graph(head.gather, h | sums | gathered, [*after, "new_gathered"], free, folder / "head_gather.onnx")
    export_graph(head.end, x | wanted | sums | gathered, ["loss", "dx"], free, folder / "head_end.onnx")


def export_training_graphs(shape: BlockShape, folder: Path, variants=VARIANTS) -> None:
    """Write the training graphs of `shape` under `folder`, and shape.json, which tells the device what they take.

    `variants` (see VARIANTS) are the sets of linear layers that may carry an adapter.
    """
    block = ARCHITECTURES[shape.architecture](shape)
    folder.mkdir(parents=True, exist_ok=True)
    export_head(block, folder)
    for variant in variants:
        (folder / variant).mkdir(exist_ok=True)
        export_block(block, VARIANTS[variant], folder / variant)
    description = {
        **asdict(shape), "rotary": block.rotary, "vectors": block.vector_sizes(), "saved": block.saved_widths(),
    }
    (folder / "shape.json").write_text(json.dumps(description, indent=1) + "\n")
