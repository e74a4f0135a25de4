"""An inference engine on ONNX Runtime, for phones without llama.cpp.

Reads the `onnx` folder of a bundle: base.onnx (logits, last-layer embeddings and the KV cache as outputs),
tokenizer.json and model.json. LoRA matrices are optional inputs of the graph; an adapter is either a
.onnx_adapter file or the GGUF that training writes.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..formats.gguf_file import GgufFile
from ..onnx_runtime.dequantizer import Dequantizer
from ..onnx_runtime.session import InferenceSession, OrtValue, open_session, ort
from ..small_files import read_json_object
from .engine import BatchToken
from .sampling import Sampler
from .tokenizer import Tokenizer

MODEL, DESCRIPTION, TOKENIZER = "base.onnx", "model.json", "tokenizer.json"
SCALE = "lora_scale"


def onnx_folder(path: Path) -> Path:
    """Where the ONNX model of a base.gguf (or of itself) lies; UsageError when it is not there."""
    folder = path.parent if path.suffix == ".onnx" else path.parent / "onnx"
    if not (folder / MODEL).is_file():
        raise UsageError(f"no {MODEL} in {folder}; build the bundle with --onnx int4, or use the llama.cpp backend")
    return folder


class OnnxEngine:
    """An Engine on ONNX Runtime: each sequence has a KV cache of its own, which a decode replaces."""

    shares_cells, cuts_sequences, embeds_with_logits = False, True, True

    def __init__(self, path: Path, *, cells: int, sequences: int, threads: int):
        folder = onnx_folder(Path(path))
        self._description = read_json_object(folder / DESCRIPTION, "a description of a model", "copy the bundle again")
        self._tokenizer = Tokenizer(folder / TOKENIZER)
        self._session: InferenceSession = open_session(folder / MODEL, threads)
        self.cells, self.sequences, self.hidden = cells, sequences, self._description["hidden"]
        self.vocabulary = self._description["vocabulary"]
        self.metadata = {
            "general.architecture": self._description["architecture"],
            "tokenizer.chat_template": self._description.get("chat_template") or "",
        }
        self._ends = set(self._description["ends"])
        self._cache_inputs = [i for i in self._session.get_inputs() if i.name.startswith("past_key_values.")]
        self._outputs = [o.name for o in self._session.get_outputs()]
        self._lora = {i.name: i.shape for i in self._session.get_overridable_initializers()}
        self._caches: dict[int, list[OrtValue]] = {}
        self._lengths: dict[int, int] = {}
        self._adapter: dict[str, OrtValue] = {}
        self._threads = threads
        self._logits: list[np.ndarray] = []  # of the last batch, as the embeddings
        self._embeddings: list[np.ndarray] = []

    def close(self) -> None:
        self._session = None
        self._caches.clear()

    @property
    def closed(self) -> bool:
        return self._session is None

    def tokenize(self, text: str, special: bool, begin: bool = False) -> list[int]:
        first = [self._description["bos"]] if begin and self._description["add_bos"] else []
        return first + self._tokenizer.encode(text, special)

    def piece(self, token: int) -> bytes:
        return self._tokenizer.piece(token)

    @property
    def control_texts(self) -> list[str]:
        return [text for text in self._tokenizer.special if len(text) > 1]

    @property
    def user_defined_texts(self) -> list[str]:
        return [text for text in self._tokenizer.user_defined if len(text) > 1]

    @property
    def end_of_text(self) -> int:
        return self._description["eos"]

    def is_end(self, token: int) -> bool:
        return token in self._ends

    def text_of(self, which: Literal["bos", "eos"]) -> str:
        token = self._description.get(which)
        return "" if token is None else self._tokenizer.text(token)

    def decode(self, batch: list[BatchToken], embeddings: bool = False) -> None:
        if sum(self._lengths.values()) + len(batch) > self.cells:
            self.clear()
            raise UsageError(f"no room for {len(batch)} more tokens in a context of {self.cells}; raise context_tokens")
        empty = np.empty(0, np.float32)
        self._logits, self._embeddings = [empty] * len(batch), [empty] * len(batch)
        # One run a sequence: the graph has the KV cache of one as its input.
        for sequence in dict.fromkeys(item.sequence for item in batch):
            own = [i for i, item in enumerate(batch) if item.sequence == sequence]
            logits, hidden = self._run(sequence, [batch[i] for i in own])
            for row, i in enumerate(own):
                self._logits[i], self._embeddings[i] = logits[row], hidden[row]

    def logits(self, index: int) -> np.ndarray:
        return self._logits[index]

    def embedding(self, index: int) -> np.ndarray:
        return self._embeddings[index].copy()

    def sampler(self, temperature: float, top_p: float, seed: int) -> Sampler:
        return Sampler(temperature, top_p, seed)

    def sample(self, sampler: Sampler, index: int) -> int:
        return sampler.sample(self._logits[index])

    def free_sampler(self, sampler: Sampler) -> None:
        """Python frees it."""

    def clear(self) -> None:
        self._caches.clear()
        self._lengths.clear()

    def remove_sequence(self, sequence: int, start: int = 0) -> int:
        self.copy_sequence(sequence, sequence, start)
        return start

    def copy_sequence(self, source: int, target: int, length: int) -> None:
        length = min(length, self._lengths.get(source, 0))
        if length == 0:
            self._caches.pop(target, None)
            self._lengths.pop(target, None)
        elif source != target or length < self._lengths[source]:
            self._caches[target] = [_value(v.numpy()[:, :, :length]) for v in self._caches[source]]
            self._lengths[target] = length

    def set_adapter(self, path: Path | None, scale: float) -> None:
        arrays = {} if path is None else self._read_adapter(path)
        if arrays:
            arrays[SCALE] = arrays[SCALE] * np.float32(scale)
        self._adapter = {name: _value(array) for name, array in arrays.items()}
        self.clear()

    def _run(self, sequence: int, items: list[BatchToken]) -> tuple[np.ndarray, np.ndarray]:
        past = self._lengths.get(sequence, 0)
        assert [item.position for item in items] == list(range(past, past + len(items)))
        feeds = {
            "input_ids": _value(np.array([[item.token for item in items]], np.int64)),
            "attention_mask": _value(np.ones((1, past + len(items)), np.int64)),
            "position_ids": _value(np.arange(past, past + len(items), dtype=np.int64)[None]),
        }
        cache = self._caches.get(sequence) or [self._empty(value.shape) for value in self._cache_inputs]
        feeds |= {value.name: kept for value, kept in zip(self._cache_inputs, cache)} | self._adapter
        out = dict(zip(self._outputs, self._session.run_with_ort_values(self._outputs, feeds)))
        self._caches[sequence] = [out[v.name.replace("past_key_values", "present")] for v in self._cache_inputs]
        self._lengths[sequence] = past + len(items)
        return out["logits"].numpy()[0], out["embeddings"].numpy()[0]

    def _empty(self, shape: list) -> OrtValue:
        return _value(np.zeros((1, shape[1], 0, shape[3]), np.float32))

    def _read_adapter(self, path: Path) -> dict[str, np.ndarray]:
        """The graph's LoRA inputs; DamagedDataError when the file is no adapter for this model."""
        arrays = self._read_gguf_adapter(path) if path.suffix == ".gguf" else _read_onnx_adapter(path)
        sizes = self._description["linears"]
        for name, array in arrays.items():
            module, _, side = name.removesuffix(".weight").rpartition(".lora_")
            rows, columns = sizes.get(module, (0, 0))
            fits = array.shape[1:] == (columns,) if side == "A" else array.shape[:1] == (rows,)
            if name != SCALE and not fits:
                raise DamagedDataError(f"{path} does not fit the base model at {name}; it was made for another")
        return arrays

    def _read_gguf_adapter(self, path: Path) -> dict[str, np.ndarray]:
        file, wanted = GgufFile(path), self._description["architecture"]
        if file.metadata.get("adapter.type") != "lora" or file.metadata.get("general.architecture") != wanted:
            raise DamagedDataError(f"{path} is not a LoRA adapter for {wanted}; train one with /train")
        dequantizer, arrays, rank = Dequantizer(self._threads), {}, 1
        for name, tensor in file.tensors.items():
            weight, _, side = name.rpartition(".lora_")
            array = np.empty(tensor.shape, np.float32)
            dequantizer.dequantize(file.raw(name), tensor.type, array)
            module = self._description["modules"].get(weight)
            heads = self._description["permuted"].get(weight.split(".")[2]) if module else None
            rank = len(array) if side == "a" else rank
            if side == "b" and heads:  # from neighbouring rotary pairs (llama.cpp) to NeoX-style halves
                array = array.reshape(heads, -1, 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
            arrays[f"{module}.lora_{side.upper()}.weight"] = np.ascontiguousarray(array)
        alpha = file.metadata.get("adapter.lora.alpha") or rank
        return arrays | {SCALE: np.array([alpha / rank], np.float32)}


def _read_onnx_adapter(path: Path) -> dict[str, np.ndarray]:
    try:
        values = ort.AdapterFormat.read_adapter(str(path)).get_parameters()
        arrays = {name: value.numpy().copy() for name, value in values.items()}
        assert SCALE in arrays
    except Exception as error:  # onnxruntime raises its own types
        raise DamagedDataError(f"{path} is not an ONNX Runtime adapter of an IdleTune model ({error})") from None
    return arrays


def _value(array: np.ndarray) -> OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
