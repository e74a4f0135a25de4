"""llama.cpp through its C API: a model, one context, decoding, adapters.

Only the C functions that the runtime needs; chat, batches of prompts and losses are built on them in the files beside.
Every decoded output comes with its last-layer embedding, so a reply is embedded at no cost beyond generating it.
"""

import ctypes
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..formats.gguf_checks import check_metadata
from ..formats.gguf_file import GgufFile
from ..settings import cores
from .engine import BATCH_TOKENS, BatchToken
from .sampling import TOP_K
from .thread_count import ThreadCount

try:
    import llama_cpp.llama_cpp as llama
except (ImportError, RuntimeError, OSError, FileNotFoundError) as cause:  # no package, or no library behind it
    raise UsageError(
        f"llama.cpp does not load ({cause}); install llama-cpp-python, or set LLAMA_CPP_LIB_PATH to the folder "
        "of a libllama of the same version"
    ) from None


@llama.llama_log_callback
def _quiet(level: Any, text: Any, data: Any) -> None:
    pass


# Sequences where each keeps matrices of state, which are allocated at once: 20.7 MB each were measured for the shape of
# Qwen 3.5 0.8B (LFM2, which keeps the last inputs of its convolutions alone: 0.4 MB). Three are what a conversation and
# a batch of two take (see context.held).
MOST_WITH_STATE_MATRICES = 3
# llama.cpp leaves the logits of these out while embeddings are on (src/models/lfm2.cpp).
LOGITS_OR_EMBEDDINGS = ("lfm2", "lfm2moe")


def silence() -> None:
    """Initialize llama.cpp with its log switched off."""
    llama.llama_backend_init()
    llama.llama_log_set(_quiet, ctypes.c_void_p(0))


class LlamaEngine:
    """An Engine on llama.cpp: a model and one context, whose KV cells all sequences share."""

    shares_cells = True

    def __init__(self, path: Path, *, cells: int, sequences: int, threads: int):
        self._model: Any = None  # these are C pointers
        self._context: Any = None
        self._adapter: Any = None
        self._batch: Any = None
        gguf = GgufFile(path)  # checks the file's sizes, with clear errors
        check_metadata(gguf)
        self.metadata = gguf.metadata
        silence()
        self._model = llama.llama_model_load_from_file(os.fsencode(path), llama.llama_model_default_params())
        if not self._model:
            kind = self.metadata.get("general.architecture", "?")
            raise UsageError(f"llama.cpp cannot load {Path(path).name} (architecture {kind!r}); use another model")
        self._vocabulary = llama.llama_model_get_vocab(self._model)
        self.hidden = llama.llama_model_n_embd(self._model)
        self.vocabulary = llama.llama_vocab_n_tokens(self._vocabulary)
        has_matrices = f"{self.metadata['general.architecture']}.ssm.state_size" in self.metadata
        self.cells, self.sequences = cells, min(sequences, MOST_WITH_STATE_MATRICES) if has_matrices else sequences
        keeps_state = llama.llama_model_is_recurrent(self._model) or llama.llama_model_is_hybrid(self._model)
        self.cuts_sequences = not keeps_state
        self.embeds_with_logits = self.metadata["general.architecture"] not in LOGITS_OR_EMBEDDINGS
        self._threads = None if threads else ThreadCount(cores())
        self._context = self._new_context(threads or cores())
        self._memory = llama.llama_get_memory(self._context)
        self._batch = llama.llama_batch_init(BATCH_TOKENS, 0, 1)

    def close(self) -> None:
        """Free everything, in the order llama.cpp requires; a second call does nothing."""
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
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            tokens = (llama.llama_token * room)()
            count = llama.llama_tokenize(self._vocabulary, data, len(data), tokens, room, begin, special)
            if count >= 0:
                return list(tokens[:count])
            room = -count  # llama.cpp returns the size needed, negated

    def piece(self, token: int) -> bytes:
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    @cached_property
    def control_texts(self) -> list[str]:
        return self._texts_with(llama.LLAMA_TOKEN_ATTR_CONTROL)

    @cached_property
    def user_defined_texts(self) -> list[str]:
        return self._texts_with(llama.LLAMA_TOKEN_ATTR_USER_DEFINED)

    def _texts_with(self, attribute: int) -> list[str]:
        """The texts of the tokens with an attribute, but for single characters."""
        attributes = (llama.llama_vocab_get_attr(self._vocabulary, token) for token in range(self.vocabulary))
        texts = (self._text(token) for token, has in enumerate(attributes) if has & attribute)
        return [text for text in texts if len(text) > 1]

    @property
    def end_of_text(self) -> int:
        return llama.llama_vocab_eos(self._vocabulary)

    def is_end(self, token: int) -> bool:
        return bool(llama.llama_vocab_is_eog(self._vocabulary, token))

    def text_of(self, which: Literal["bos", "eos"]) -> str:
        token = getattr(llama, f"llama_vocab_{which}")(self._vocabulary)
        return self._text(token) if token >= 0 else ""

    def decode(self, batch: list[BatchToken], embeddings: bool = False) -> None:
        assert 0 < len(batch) <= BATCH_TOKENS
        # Off unless they are read: with embeddings on, llama.cpp computes the output of every token.
        llama.llama_set_embeddings(self._context, embeddings)
        c_batch = self._batch
        c_batch.n_tokens = len(batch)
        for i, item in enumerate(batch):
            c_batch.token[i], c_batch.pos[i] = item.token, item.position
            c_batch.n_seq_id[i], c_batch.seq_id[i][0], c_batch.logits[i] = 1, item.sequence, item.output
        status = self._decode(c_batch)
        if status:
            self.clear()
            raise UsageError(f"llama.cpp has no room for {len(batch)} more tokens ({status}); raise context_tokens")

    def _decode(self, c_batch: Any) -> int:
        """llama_decode, with as many threads as the machine has left where the settings name no number."""
        if self._threads is None:
            return llama.llama_decode(self._context, c_batch)
        with self._threads.piece() as threads:
            llama.llama_set_n_threads(self._context, threads, threads)
            return llama.llama_decode(self._context, c_batch)

    def logits(self, index: int) -> np.ndarray:
        return np.ctypeslib.as_array(llama.llama_get_logits_ith(self._context, index), (self.vocabulary,))

    def embedding(self, index: int) -> np.ndarray:
        return np.ctypeslib.as_array(llama.llama_get_embeddings_ith(self._context, index), (self.hidden,)).copy()

    def clear(self) -> None:
        llama.llama_memory_clear(self._memory, True)

    def remove_sequence(self, sequence: int, start: int = 0) -> int:
        if llama.llama_memory_seq_rm(self._memory, sequence, start, -1):
            return start
        if not llama.llama_memory_seq_rm(self._memory, sequence, 0, -1):
            raise RuntimeError(f"llama.cpp does not remove sequence {sequence}")
        return 0

    def copy_sequence(self, source: int, target: int, length: int) -> None:
        llama.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def sampler(self, temperature: float, top_p: float, seed: int) -> Any:
        return _sampler_chain(temperature, top_p, seed)

    def free_sampler(self, sampler: Any) -> None:
        llama.llama_sampler_free(sampler)

    def sample(self, sampler: Any, index: int) -> int:
        return llama.llama_sampler_sample(sampler, self._context, index)

    def set_adapter(self, path: Path | None, scale: float) -> None:
        loaded = None
        if path is not None:
            _check_adapter(path, self.metadata)
            loaded = llama.llama_adapter_lora_init(self._model, os.fsencode(path))
            if not loaded:
                raise DamagedDataError(f"llama.cpp cannot use the adapter {path}; roll back, or train anew")
        adapters = (llama.llama_adapter_lora_p_ctypes * 1)(loaded)
        llama.llama_set_adapters_lora(self._context, adapters, int(path is not None), (ctypes.c_float * 1)(scale))
        if self._adapter:
            llama.llama_adapter_lora_free(self._adapter)
        self._adapter = loaded
        self.clear()

    def _new_context(self, threads: int) -> Any:
        context = llama.llama_init_from_model(self._model, self.context_parameters(threads))
        if not context:
            raise UsageError(f"no memory for a context of {self.cells} tokens; lower context_tokens")
        return context

    def context_parameters(self, threads: int) -> Any:
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = self.cells, BATCH_TOKENS, BATCH_TOKENS
        params.n_seq_max, params.kv_unified = self.sequences, True
        params.n_threads = params.n_threads_batch = threads
        params.embeddings, params.pooling_type = True, llama.LLAMA_POOLING_TYPE_NONE
        params.no_perf = True
        return params

    def _text(self, token: int) -> str:
        return (llama.llama_vocab_get_text(self._vocabulary, token) or b"").decode("utf-8", "replace")


def _check_adapter(path: Path, base: dict) -> None:
    """DamagedDataError for a file that is no adapter for the base model's architecture."""
    metadata = GgufFile(path).metadata
    if metadata.get("adapter.type") != "lora" or metadata.get("general.architecture") != base["general.architecture"]:
        architecture = base["general.architecture"]
        raise DamagedDataError(f"{path} is not a LoRA adapter for {architecture}; train one with /train")


def _sampler_chain(temperature: float, top_p: float, seed: int) -> Any:
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    if temperature <= 0:
        steps = [llama.llama_sampler_init_greedy()]
    else:
        steps = [
            llama.llama_sampler_init_top_k(TOP_K),
            llama.llama_sampler_init_top_p(top_p, 1),
            llama.llama_sampler_init_temp(temperature),
            llama.llama_sampler_init_dist(seed),
        ]
    for step in steps:
        llama.llama_sampler_chain_add(chain, step)
    return chain
