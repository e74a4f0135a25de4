"""llama.cpp through its C API: a model, one context, decoding, adapters.

Only what the runtime needs, near the C functions; everything with a meaning of its own (chat, batches of
prompts, losses) is in base_model.py. Embeddings of the last layer come with every decoded output, so
looking at a reply costs nothing more than generating it.
"""

import ctypes
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..settings import cores
from .engine import BATCH, Item
from .gguf_file import GgufFile

try:
    import llama_cpp.llama_cpp as llama
except (ImportError, RuntimeError, OSError, FileNotFoundError) as cause:  # no package, or no library behind it
    raise UsageError(
        f"llama.cpp does not load ({cause}); install llama-cpp-python, or set LLAMA_CPP_LIB_PATH to the folder "
        "of a libllama of the same version"
    ) from None


@llama.llama_log_callback
def _quiet(level, text, data):
    pass


def silence() -> None:
    """Start llama.cpp without its log."""
    llama.llama_backend_init()
    llama.llama_log_set(_quiet, ctypes.c_void_p(0))


class Engine:
    """A loaded model with a context of `cells` KV cells shared by `sequences` conversations."""

    shares_cells = True  # a beginning given to many sequences is held once

    def __init__(self, path: Path, *, cells: int, sequences: int, threads: int):
        self._model = self._context = self._adapter = self._batch = None
        self.metadata = GgufFile(path).metadata  # checks the file's sizes, with clear errors
        silence()
        self._model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        if not self._model:
            kind = self.metadata.get("general.architecture", "?")
            raise UsageError(f"llama.cpp cannot load {Path(path).name} (architecture {kind!r}); use another model")
        self._vocabulary = llama.llama_model_get_vocab(self._model)
        self.hidden = llama.llama_model_n_embd(self._model)
        self.vocabulary = llama.llama_vocab_n_tokens(self._vocabulary)
        self.cells, self.sequences = cells, sequences
        self._context = self._new_context(threads or cores())
        self._memory = llama.llama_get_memory(self._context)
        self._batch = llama.llama_batch_init(BATCH, 0, 1)

    def close(self) -> None:
        """Free everything, in the order llama.cpp needs; a second call does nothing."""
        if self._batch:
            llama.llama_batch_free(self._batch)
        if self._context:
            llama.llama_free(self._context)
        if self._adapter:
            llama.llama_adapter_lora_free(self._adapter)
        if self._model:
            llama.llama_model_free(self._model)
        self._batch = self._context = self._adapter = self._model = None

    @property
    def closed(self) -> bool:
        return self._context is None

    def tokenize(self, text: str, special: bool, begin: bool = False) -> list[int]:
        """Token ids; with `special`, the text of control tokens becomes those tokens; with `begin`, the token
        that starts every text stands in front, where the model has one."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            tokens = (llama.llama_token * room)()
            count = llama.llama_tokenize(self._vocabulary, data, len(data), tokens, room, begin, special)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def piece(self, token: int) -> bytes:
        """A token's bytes; nothing for a control token."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    @cached_property
    def control_texts(self) -> list[str]:
        """The texts of the vocabulary's control tokens."""
        tokens = (t for t in range(self.vocabulary) if llama.llama_vocab_is_control(self._vocabulary, t))
        texts = (self._text(token) for token in tokens)
        return [text for text in texts if len(text) > 1]

    @property
    def end_of_text(self) -> int:
        return llama.llama_vocab_eos(self._vocabulary)

    def is_end(self, token: int) -> bool:
        return bool(llama.llama_vocab_is_eog(self._vocabulary, token))

    def text_of(self, which: str) -> str:
        """The text of the `bos` or `eos` token; empty where there is none."""
        token = getattr(llama, f"llama_vocab_{which}")(self._vocabulary)
        return self._text(token) if token >= 0 else ""

    def decode(self, items: list[Item], embeddings: bool = False) -> None:
        """Run up to BATCH tokens; then `logits` (and `embedding`) hold for the items whose output was wanted."""
        assert 0 < len(items) <= BATCH
        # Only where they are looked at: while embeddings are on, llama.cpp makes every token an output.
        llama.llama_set_embeddings(self._context, embeddings)
        batch = self._batch
        batch.n_tokens = len(items)
        for i, item in enumerate(items):
            batch.token[i], batch.pos[i] = item.token, item.position
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, item.sequence, item.output
        status = llama.llama_decode(self._context, batch)
        if status:
            self.clear()
            raise UsageError(f"llama.cpp has no room for {len(items)} more tokens ({status}); raise context_tokens")

    def logits(self, item: int) -> np.ndarray:
        """A view of the logits (vocabulary,) of an item of the last `decode`."""
        return np.ctypeslib.as_array(llama.llama_get_logits_ith(self._context, item), (self.vocabulary,))

    def embedding(self, item: int) -> np.ndarray:
        """A copy of the last-layer embedding float32 (hidden,) of an item of the last `decode`."""
        return np.ctypeslib.as_array(llama.llama_get_embeddings_ith(self._context, item), (self.hidden,)).copy()

    def clear(self) -> None:
        llama.llama_memory_clear(self._memory, True)

    def forget(self, sequence: int, start: int = 0) -> None:
        """Drop a sequence's tokens from position `start` on."""
        llama.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def share(self, source: int, target: int, length: int) -> None:
        """Let `target` begin with the first `length` tokens of `source`; the cells are shared."""
        llama.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def sampler(self, temperature: float, top_p: float, seed: int):
        """A sampler chain; temperature 0 is greedy. Free it with `free_sampler`."""
        return make_sampler(temperature, top_p, seed)

    def free_sampler(self, sampler) -> None:
        llama.llama_sampler_free(sampler)

    def sample(self, sampler, item: int) -> int:
        return llama.llama_sampler_sample(sampler, self._context, item)

    def set_adapter(self, path: Path | None, scale: float) -> None:
        """Load an adapter, or remove it (None); the old one stays when the new one is not usable."""
        loaded = None
        if path is not None:
            _check_adapter(path, self.metadata)
            loaded = llama.llama_adapter_lora_init(self._model, str(path).encode())
            if not loaded:
                raise DamagedDataError(f"llama.cpp cannot use the adapter {path}; roll back, or train anew")
        adapters = (llama.llama_adapter_lora_p_ctypes * 1)(loaded)
        llama.llama_set_adapters_lora(self._context, adapters, int(path is not None), (ctypes.c_float * 1)(scale))
        if self._adapter:
            llama.llama_adapter_lora_free(self._adapter)
        self._adapter = loaded
        self.clear()

    def _new_context(self, threads: int):
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = self.cells, BATCH, BATCH
        params.n_seq_max, params.kv_unified = self.sequences, True
        params.n_threads = params.n_threads_batch = threads
        params.embeddings, params.pooling_type = True, llama.LLAMA_POOLING_TYPE_NONE
        params.no_perf = True
        context = llama.llama_init_from_model(self._model, params)
        if not context:
            raise UsageError(f"no memory for a context of {self.cells} tokens; lower context_tokens")
        return context

    def _text(self, token: int) -> str:
        return (llama.llama_vocab_get_text(self._vocabulary, token) or b"").decode("utf-8", "replace")


def _check_adapter(path: Path, base: dict) -> None:
    """Refuse what is no adapter for this architecture, before llama.cpp meets it."""
    metadata = GgufFile(path).metadata
    if metadata.get("adapter.type") != "lora" or metadata.get("general.architecture") != base["general.architecture"]:
        architecture = base["general.architecture"]
        raise DamagedDataError(f"{path} is not a LoRA adapter for {architecture}; train one with /train")


def make_sampler(temperature: float, top_p: float, seed: int):
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    if temperature <= 0:
        steps = [llama.llama_sampler_init_greedy()]
    else:
        steps = [
            llama.llama_sampler_init_top_k(40), llama.llama_sampler_init_top_p(top_p, 1),
            llama.llama_sampler_init_temp(temperature), llama.llama_sampler_init_dist(seed),
        ]
    for step in steps:
        llama.llama_sampler_chain_add(chain, step)
    return chain

