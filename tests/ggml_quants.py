"""Quantizes and dequantizes by ggml itself, through the shared library that llama-cpp-python carries."""

import ctypes
from functools import cache
from pathlib import Path

import llama_cpp
import numpy as np
from idletune.formats.gguf_file import GgufFile
from idletune.formats.tensor_types import TENSOR_TYPES, TYPE_IDS
from mutated_gguf import Editable

FLOATS = ctypes.POINTER(ctypes.c_float)


class TypeTraits(ctypes.Structure):
    """ggml_type_traits of ggml.h."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("block_size", ctypes.c_int64),
        ("block_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, FLOATS, ctypes.c_int64)),
    ]


@cache
def ggml() -> ctypes.CDLL:
    library = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    library.ggml_get_type_traits.restype = ctypes.POINTER(TypeTraits)
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, FLOATS, ctypes.c_void_p, *[ctypes.c_int64] * 3, FLOATS]
    return library


def quantize(weights: np.ndarray, name: str) -> np.ndarray:
    """float32 (rows, columns) -> the stored bytes, uint8 (rows, bytes per row)."""
    weights, kind = np.ascontiguousarray(weights, np.float32), TENSOR_TYPES[TYPE_IDS[name]]
    rows, columns = weights.shape
    stored = np.empty((rows, columns // kind.block * kind.size), np.uint8)
    source = weights.ctypes.data_as(FLOATS)
    written = ggml().ggml_quantize_chunk(TYPE_IDS[name], source, stored.ctypes.data, 0, rows, columns, None)
    assert written == stored.nbytes
    return stored


def dequantize(stored: np.ndarray, name: str) -> np.ndarray:
    """The stored bytes, uint8 (rows, bytes per row) -> float32 (rows, columns)."""
    stored, kind = np.ascontiguousarray(stored), TENSOR_TYPES[TYPE_IDS[name]]
    weights = np.empty((len(stored), stored.shape[1] // kind.size * kind.block), np.float32)
    traits = ggml().ggml_get_type_traits(TYPE_IDS[name]).contents
    assert (traits.block_size, traits.type_size) == (kind.block, kind.size)
    traits.to_float(stored.ctypes.data, weights.ctypes.data_as(FLOATS), weights.size)
    return weights


def write_quantized(path: Path, out: Path, name: str) -> Path:
    """Write a GGUF file of float32 tensors anew, its matrices in another format; every row must divide into blocks."""
    file, edited = GgufFile(path), Editable(path)
    edited.blocks = b""
    for tensor in edited.tensors:
        stored = file.raw(tensor[0].decode())
        if len(tensor[1]) > 1:
            stored, tensor[2] = quantize(stored.view(np.float32), name), TYPE_IDS[name]
        tensor[3] = len(edited.blocks)
        edited.blocks += stored.tobytes() + bytes(-stored.nbytes % 32)
    return edited.write(out)
