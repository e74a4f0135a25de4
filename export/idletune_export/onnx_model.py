"""The inference model for ONNX Runtime: exported with optimum, quantized, LoRA as optional inputs.

- fp32 as optimum writes it, with the KV cache; int4 or int8 weights by onnxruntime's own quantizer, in
  blocks of 32 (int4 with the choice of scales in int4.py), the head always in 8 bits, the embedding table
  as int8 rows;
- every linear layer of the blocks gets `A` and `B` as inputs with an empty default: without an adapter they
  add nothing, and an .onnx_adapter file (or the same arrays) fills them;
- a second output, the last layer's embeddings, for the selection of what to learn from.
"""

import io
import json
import logging
import multiprocessing
import shutil
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from idletune.model.onnx_engine import DESCRIPTION, MODEL, SCALE, TOKENIZER
from idletune.progress import Bars
from idletune.small_files import read_text
from onnx import TensorProto, helper, numpy_helper

from .base import Base
from .hugging_face_folder import load_config, read_json

if TYPE_CHECKING:
    from .reference import Reference

WEIGHTS = {"fp32": None, "int8": 8, "int4": 4}
BLOCK = 32
# Ends of a turn under the names that model families give them, as llama.cpp looks for them.
END_TEXTS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "</s>",
    "<|end|>",
    "<eos>",
    "<|end_of_text|>",
)
LARGEST_FILE = 1_500_000_000  # beyond it the weights lie beside the graph: a protobuf holds 2 GB


def write_onnx_models(folder: Path, outputs: dict[str, Path], scratch: Path) -> None:
    """Export a Hugging Face folder once, and write it with each kind of weights (fp32, int8, int4).

    `outputs` is kind -> folder to make; each is what the device's onnx backend opens.
    """
    exported = scratch / "optimum"
    _export(folder, exported)
    linears = sorted(Base(folder).shapes())
    importance = _importance(folder) if "int4" in outputs else {}
    for kind, output in outputs.items():
        model = onnx.load(exported / "model.onnx")
        places = {module: _linear(model.graph, module) for module in linears}
        head = _linear(model.graph, "lm_head")
        hidden = head.input[0]
        ends = {module: (node.input[0], node.output[0]) for module, node in places.items()}
        if bits := WEIGHTS[kind]:
            model = _quantize_weights(model, bits, head.name, importance)
        _add_lora(model.graph, ends, Base(folder).shapes())
        _add_output(model.graph, hidden, load_config(folder).hidden_size)
        output.mkdir(parents=True)
        _save(model, output / MODEL)
        (output / DESCRIPTION).write_text(json.dumps(describe(folder), indent=1, ensure_ascii=False) + "\n")
        shutil.copyfile(folder / TOKENIZER, output / TOKENIZER)


def describe(folder: Path) -> dict:
    """model.json: what the device needs to know beside the graph."""
    base, tokenizer = Base(folder), read_json(folder / TOKENIZER)
    config, settings = load_config(folder), read_json(folder / "tokenizer_config.json")
    special = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", []) if token.get("special")}
    eos = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
    ends = {eos, *(special[text] for text in END_TEXTS if text in special)} - {None}
    template = folder / "chat_template.jinja"
    return {
        "architecture": base.architecture,
        "hidden": config.hidden_size,
        "vocabulary": config.vocab_size,
        "bos": config.bos_token_id,
        "eos": eos,
        "ends": sorted(ends),
        "add_bos": _adds_bos(tokenizer, settings),
        "chat_template": settings.get("chat_template") or (read_text(template) if template.is_file() else None),
        "linears": base.shapes(),
        "modules": {tensor: module for module, tensor in base.gguf_names().items()},
        "permuted": {module.tensor.split(".")[2]: module.heads for module in base.modules.values() if module.heads},
    }


def _adds_bos(tokenizer: dict, settings: dict) -> bool:
    template = "TemplateProcessing" in json.dumps(tokenizer.get("post_processor"))
    return settings.get("add_bos_token", template)


def _export(folder: Path, output: Path) -> None:
    """optimum's export, in float32, with the KV cache.

    In a process of its own: optimum opens sessions with threads of their own, which ONNX Runtime refuses
    where sessions share a pool (see idletune.onnx_runtime.session).
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        process.submit(_export_here, folder, output).result()


def _export_here(folder: Path, output: Path) -> None:
    import transformers
    from optimum.exporters.onnx import main_export

    logging.getLogger("optimum").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        main_export(str(folder), output, task="text-generation-with-past", dtype="fp32", do_validation=False)


def _linear(graph, module: str) -> onnx.NodeProto:
    """The product of a linear layer, by the name torch gave it."""
    wanted = f"/{_node_path(module)}/MatMul"
    node = next((node for node in graph.node if node.name == wanted), None)
    if node is None:
        raise ValueError(f"optimum's graph has no {wanted}; its names have changed")
    return node


def _node_path(module: str) -> str:
    """model.layers.0.mlp.up_proj -> model/layers.0/mlp/up_proj."""
    parts = module.split(".")
    return "/".join(parts).replace("layers/", "layers.") if "layers" in parts else "/".join(parts)


def _importance(folder: Path) -> dict[str, np.ndarray]:
    """Node name -> float32 (columns,), see importance.py."""
    from .importance import column_importance

    modules = {tensor: module for module, tensor in Base(folder).gguf_names().items()}
    return {f"/{_node_path(modules[name])}/MatMul": values for name, values in column_importance(folder).items()}


def _quantize_weights(model, bits: int, head: str, importance: dict[str, np.ndarray]):
    """Blockwise integer weights for all products, the head in 8 bits, and an int8 embedding table."""
    from onnxruntime.quantization import matmul_nbits_quantizer as onnxruntimes

    onnxruntimes.logger.setLevel(logging.ERROR)  # it reports on every node
    _untie_head(model.graph, head)
    _embed_int8(model.graph)

    def quantized(model, bits, **which):
        quantizer = onnxruntimes.MatMulNBitsQuantizer(
            model, bits=bits, block_size=BLOCK, is_symmetric=False, accuracy_level=4, **which
        )
        if bits == 4:
            from .int4 import ImportanceQuantizer

            quantizer.node_quantizer = ImportanceQuantizer(quantizer.algo_config, importance)
        quantizer.process()
        return quantizer.model.model

    model = quantized(model, bits, nodes_to_exclude=[head])
    model = quantized(model, 8, nodes_to_include=[head])
    return _without_unused(model)


def _untie_head(graph, head: str) -> None:
    """A head that reads the transposed embedding table gets a table of its own, which can be quantized."""
    node = next(node for node in graph.node if node.name == head)
    transpose = next((n for n in graph.node if n.output[0] == node.input[1] and n.op_type == "Transpose"), None)
    if transpose is not None:
        table = next(t for t in graph.initializer if t.name == transpose.input[0])
        array = np.ascontiguousarray(numpy_helper.to_array(table).T)
        graph.initializer.append(numpy_helper.from_array(array, "lm_head.weight.T"))
        node.input[1] = "lm_head.weight.T"
        graph.node.remove(transpose)


def _embed_int8(graph) -> None:
    """Embedding rows as int8 with a scale each, in standard operators."""
    tables = {t.name: t for t in graph.initializer if len(t.dims) == 2}
    node = next(n for n in graph.node if n.op_type == "Gather" and n.input[0] in tables and "embed_tokens" in n.name)
    weights = numpy_helper.to_array(tables[node.input[0]])
    scales = np.maximum(np.abs(weights).max(1, keepdims=True) / 127, 1e-12).astype(np.float32)
    codes = np.rint(weights / scales).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(codes, "embedding.codes"))
    graph.initializer.append(numpy_helper.from_array(scales, "embedding.scales"))
    ids, out, at = node.input[1], node.output[0], list(graph.node).index(node)
    graph.node.remove(node)
    for i, made in enumerate(
        (
            helper.make_node("Gather", ["embedding.codes", ids], ["embedding.rows"]),
            helper.make_node("Cast", ["embedding.rows"], ["embedding.values"], to=TensorProto.FLOAT),
            helper.make_node("Gather", ["embedding.scales", ids], ["embedding.row_scales"]),
            helper.make_node("Mul", ["embedding.values", "embedding.row_scales"], [out]),
        )
    ):
        graph.node.insert(at + i, made)


def _without_unused(model):
    """Drop weights that no node reads any more."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def _add_lora(graph, ends: dict[str, tuple[str, str]], shapes: dict[str, tuple[int, int]]) -> None:
    """y = base(x) + scale * B A x at every linear layer; by default A and B have rank 0 and add nothing."""
    _optional_input(graph, SCALE, np.ones(1, np.float32), [1])
    modules, nodes = {y: module for module, (_, y) in ends.items()}, []
    for node in graph.node:
        nodes.append(node)
        for i, y in enumerate(node.output):
            if y in modules:
                node.output[i] = f"{modules[y]}.base"
                nodes += _lora_nodes(modules[y], ends[modules[y]][0], y)
    for module in ends:
        # A name of its own for every rank: an adapter may cover some layers only, and onnxruntime lets values
        # of one symbolic shape share memory.
        (rows, columns), rank = shapes[module], f"{module}.rank"
        _optional_input(graph, f"{module}.lora_A.weight", np.zeros((0, columns), np.float32), [rank, columns])
        _optional_input(graph, f"{module}.lora_B.weight", np.zeros((rows, 0), np.float32), [rows, rank])
    del graph.node[:]
    graph.node.extend(nodes)


def _lora_nodes(module: str, x: str, y: str) -> list[onnx.NodeProto]:
    a, b = f"{module}.lora_A.weight", f"{module}.lora_B.weight"
    return [
        helper.make_node("Transpose", [a], [f"{a}.T"], perm=[1, 0]),
        helper.make_node("Transpose", [b], [f"{b}.T"], perm=[1, 0]),
        helper.make_node("MatMul", [x, f"{a}.T"], [f"{module}.narrow"]),
        helper.make_node("Mul", [f"{module}.narrow", SCALE], [f"{module}.scaled"]),
        helper.make_node("MatMul", [f"{module}.scaled", f"{b}.T"], [f"{module}.update"]),
        helper.make_node("Add", [f"{module}.base", f"{module}.update"], [y]),
    ]


def _optional_input(graph, name: str, default: np.ndarray, shape: list) -> None:
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    graph.initializer.append(numpy_helper.from_array(default, name))


def _add_output(graph, hidden: str, size: int) -> None:
    graph.node.append(helper.make_node("Identity", [hidden], ["embeddings"]))
    shape: list[str | int | None] = ["batch_size", "sequence_length", size]
    graph.output.append(helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, shape))


def _save(model, path: Path) -> None:
    large = model.ByteSize() > LARGEST_FILE
    onnx.save(model, path, save_as_external_data=large, location=path.name + ".data" if large else None)


def export_onnx_model(
    folder: Path, output: Path, kind: str, reference: "Reference", texts: list[list[int]], scratch: Path, bars: Bars
) -> dict:
    """Write one kind of ONNX model into `output` and measure it beside the original; returns the figures."""
    from idletune.model.base_model import BaseModel

    from .parity import compare

    with tempfile.TemporaryDirectory(dir=scratch) as room:
        write_onnx_models(folder, {kind: output}, Path(room))
    with BaseModel(output / MODEL, context_tokens=512, sequences=1, backend="onnx") as model:
        found = compare({"original": reference.logits, kind: model.logits}, texts, bars)
    return {"weights": kind, **found[kind].to_dict()}
