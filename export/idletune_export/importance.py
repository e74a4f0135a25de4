"""How much each column of a weight matters: the mean square of what is multiplied with it.

llama.cpp's quantizer spends its few bits by these numbers ("importance matrix"). Measured with
transformers on the project's own story, never on the text that quality is judged by.
"""

import ctypes
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from idletune.model.llama_engine import llama

from .base import Base

LONGEST = 128  # tokens of one text
TEXTS = 32


@torch.inference_mode()
def column_importance(folder: Path) -> dict[str, np.ndarray]:
    """GGUF tensor name -> float32 (columns,) of every linear layer of a Hugging Face folder's blocks."""
    from .reference import Reference

    reference, names = Reference(folder), Base(folder).gguf_names()
    squares: dict[str, torch.Tensor] = {}

    def watch(name):
        def hook(module, inputs):
            x = inputs[0].reshape(-1, inputs[0].shape[-1])
            squares[name] = squares.get(name, 0) + (x * x).sum(0)

        return hook

    layers = {name: reference.model.get_submodule(module) for module, name in names.items()}
    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    count = 0
    for text in calibration_texts():
        tokens = reference.tokenizer.encode(text)[:LONGEST]
        reference.model(torch.tensor([tokens]))
        count += len(tokens)
    for hook in hooks:
        hook.remove()
    return {name: (total / count).numpy() for name, total in squares.items()}


def calibration_texts() -> list[str]:
    lines = (files("idletune") / "data" / "demo_stream.jsonl").read_text(encoding="utf-8").splitlines()
    exchanges = [json.loads(line) for line in lines]
    step = max(1, len(exchanges) // TEXTS)
    return [f"{e['question']}\n{e['response']}" for e in exchanges[::step]][:TEXTS]


def as_llama_cpp(importance: dict[str, np.ndarray]):
    """An array of llama_model_imatrix_data, ended by one without a name; it keeps the numbers alive."""
    array = (llama.llama_model_imatrix_data * (len(importance) + 1))()
    array.kept = [np.ascontiguousarray(values, np.float32) for values in importance.values()]
    for entry, name, values in zip(array, importance, array.kept):
        entry.name, entry.size = name.encode(), values.size
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return array
