"""Per-token losses as llama.cpp computes them: each example alone, its adapter loaded from a file."""

from pathlib import Path

import numpy as np
from idletune.examples import Example
from idletune.formats.gguf_writer import write_gguf
from idletune.model.context import Context, held
from idletune.model.evaluation import Evaluator
from idletune.model.llama_engine import LlamaEngine, llama

CELLS = 256  # of the KV cache


class ExactEngine(LlamaEngine):
    """llama.cpp with a KV cache of float32: its usual float16 moves the losses of so small a model by 1e-3."""

    def context_parameters(self, threads):
        params = super().context_parameters(threads)
        params.type_k = params.type_v = 0  # ggml.h: GGML_TYPE_F32
        params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        return params


def token_losses(path: Path, examples: list[Example], adapter: Path | None = None) -> np.ndarray:
    """Cross-entropy in nats at each labelled position: float64 (labelled,)."""
    engine = ExactEngine(path, cells=CELLS, sequences=held(1), threads=1)
    try:
        engine.set_adapter(adapter, 1.0)
        evaluator = Evaluator(Context(engine, 1))
        return np.concatenate([_losses(evaluator.logits(list(e.tokens)), e.labels) for e in examples])
    finally:
        engine.close()


def _losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    labelled = np.flatnonzero(labels >= 0)
    rows = logits[labelled].astype(np.float64)
    highest = rows.max(axis=1)
    log_sums = np.log(np.exp(rows - highest[:, None]).sum(axis=1))
    return log_sums + highest - rows[np.arange(len(labelled)), labels[labelled]]


def write_adapter(path: Path, lora, architecture: str) -> Path:
    """The adapter's GGUF file, as a home keeps it."""
    metadata = {
        "general.type": "adapter",
        "general.architecture": architecture,
        "adapter.type": "lora",
        "adapter.lora.alpha": lora.alpha,
    }
    write_gguf(path, metadata, lora.tensors())
    return path
