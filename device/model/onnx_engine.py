"""ONNX Runtime as the engine that answers: for phones without llama.cpp.

Reads the `onnx` folder of a bundle: base.onnx (logits, last-layer embeddings and the KV cache as outputs),
tokenizer.json and model.json. LoRA matrices are optional inputs of the graph; an adapter is either a
.onnx_adapter file or the GGUF that training writes.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..errors import DamagedDataError, UsageError
from ..training.weights import Unpacker
from .engine import Item
from .gguf_file import GgufFile
from .onnx_session import open_session
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
    """The same calls as llama_engine.Engine; each sequence has a KV cache of its own."""

    shares_cells = False

    def __init__(self, path: Path, *, cells: int, sequences: int, threads: int):
        folder = onnx_folder(Path(path))
        self._description = _read(folder / DESCRIPTION)
        self._tokenizer = Tokenizer(folder / TOKENIZER)
        self._session = open_session(folder / MODEL, threads)
        self.cells, self.hidden = cells, self._description["hidden"]
        self.vocabulary = self._description["vocabulary"]
        self.metadata = {
            "general.architecture": self._description["architecture"],
            "tokenizer.chat_template": self._description.get("chat_template") or "",
        }
        self._ends = set(self._description["ends"])
        self._cache_inputs = [i for i in self._session.get_inputs() if i.name.startswith("past_key_values.")]
        self._outputs = [o.name for o in self._session.get_outputs()]
        self._lora = {i.name: i.shape for i in self._session.get_overridable_initializers()}
        self._caches: dict[int, list[ort.OrtValue]] = {}
        self._lengths: dict[int, int] = {}
        self._adapter: dict[str, ort.OrtValue] = {}
        self._threads = threads

    def close(self) -> None:
        self._session = None
        self._caches.clear()

    @property
    def closed(self) -> bool:
        return self._session is None

    def tokenize(self, text: str, special: bool, begin: bool = False) -> list[int]:
        """Token ids; with `special`, the text of control tokens becomes those tokens; with `begin`, the token
        that starts every text stands in front, where the model has one."""
        first = [self._description["bos"]] if begin and self._description["add_bos"] else []
        return first + self._tokenizer.encode(text, special)

    def piece(self, token: int) -> bytes:
        return self._tokenizer.piece(token)

    @property
    def control_texts(self) -> list[str]:
        return [text for text in self._tokenizer.special if len(text) > 1]

    @property
    def end_of_text(self) -> int:
        return self._description["eos"]

    def is_end(self, token: int) -> bool:
        return token in self._ends

    def text_of(self, which: str) -> str:
        """The text of the `bos` or `eos` token; empty where there is none."""
        token = self._description.get(which)
        return "" if token is None else self._tokenizer.text(token)

    def decode(self, items: list[Item], embeddings: bool = False) -> None:
        """Run tokens, each sequence's in order; then `logits` and `embedding` hold for them."""
        if sum(self._lengths.values()) + len(items) > self.cells:
            self.clear()
            raise UsageError(f"no room for {len(items)} more tokens in a context of {self.cells}; raise context_tokens")
        self._logits, self._embeddings = [None] * len(items), [None] * len(items)
        for sequence in dict.fromkeys(item.sequence for item in items):
            own = [i for i, item in enumerate(items) if item.sequence == sequence]
            logits, hidden = self._run(sequence, [items[i] for i in own])
            for row, i in enumerate(own):
                self._logits[i], self._embeddings[i] = logits[row], hidden[row]

    def logits(self, item: int) -> np.ndarray:
        return self._logits[item]

    def embedding(self, item: int) -> np.ndarray:
        return self._embeddings[item].copy()

    def sampler(self, temperature: float, top_p: float, seed: int) -> Sampler:
        return Sampler(temperature, top_p, seed)

    def sample(self, sampler: Sampler, item: int) -> int:
        return sampler.sample(self._logits[item])

    def free_sampler(self, sampler: Sampler) -> None:
        """Python frees it."""

    def clear(self) -> None:
        self._caches.clear()
        self._lengths.clear()

    def forget(self, sequence: int, start: int = 0) -> None:
        """Drop a sequence's tokens from position `start` on."""
        self.share(sequence, sequence, start)

    def share(self, source: int, target: int, length: int) -> None:
        """Let `target` begin with the first `length` tokens of `source`."""
        length = min(length, self._lengths.get(source, 0))
        if length == 0:
            self._caches.pop(target, None)
            self._lengths.pop(target, None)
        elif source != target or length < self._lengths[source]:
            self._caches[target] = [_value(v.numpy()[:, :, :length]) for v in self._caches[source]]
            self._lengths[target] = length

    def set_adapter(self, path: Path | None, scale: float) -> None:
        """Load an adapter, or remove it (None); the old one stays when the new one is not usable."""
        arrays = {} if path is None else self._read_adapter(path)
        if arrays:
            arrays[SCALE] = arrays[SCALE] * np.float32(scale)
        self._adapter = {name: _value(array) for name, array in arrays.items()}
        self.clear()

    def _run(self, sequence: int, items: list[Item]) -> tuple[np.ndarray, np.ndarray]:
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

    def _empty(self, shape) -> ort.OrtValue:
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
        unpacker, arrays, rank = Unpacker(self._threads), {}, 1
        for name, tensor in file.tensors.items():
            weight, _, side = name.rpartition(".lora_")
            array = np.empty(tensor.shape, np.float32)
            unpacker.unpack(file.raw(name), tensor.type, array)
            module = self._description["modules"].get(weight)
            heads = self._description["permuted"].get(weight.split(".")[2]) if module else None
            rank = len(array) if side == "a" else rank
            if side == "b" and heads:  # from neighbouring rotary pairs to halves
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


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DamagedDataError(f"{path} is missing or not JSON; copy the bundle again") from None


def _value(array: np.ndarray) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
