"""llama.cpp's own converter on a Hugging Face folder, as a program: it brings its own version of the gguf package.

Run by llama_cpp_converter.py with the converter's folders on PYTHONPATH: FOLDER TARGET.gguf f16|f32. The tokenizer is
written by vocabulary.py from tokenizer.json where its cut is known there; else by llama.cpp, which knows tokenizers by
a hash of what they make of a text, or by their file tokenizer.model.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import gguf
import torch
from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
from idletune.errors import UsageError

from . import vocabulary

KINDS = {"f16": gguf.LlamaFileType.MOSTLY_F16, "f32": gguf.LlamaFileType.ALL_F32}


def convert(folder: Path, target: Path, kind: str) -> None:
    """Write the folder's language model to `target`. What llama.cpp's converter raises passes through."""
    with torch.inference_mode():
        hparams = ModelBase.load_hparams(folder, False)
        made: Any = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
        made.no_mtp = True  # the engine runs no layers that draft tokens
        model = made(folder, KINDS[kind], target)
        model = getattr(model, "impl", model)  # one class delegates to another by the kind of model
        _use_own_vocabulary(model, folder)
        model.write()


def _use_own_vocabulary(model: Any, folder: Path) -> None:
    theirs = model.set_vocab

    def set_vocab() -> None:
        try:
            vocabulary.add_to_gguf(model.gguf_writer, folder, model.hparams["vocab_size"])
        except UsageError:
            theirs()

    if not (folder / "tokenizer.model").is_file():
        model.set_vocab = set_vocab


if __name__ == "__main__":
    logging.disable(logging.INFO)
    convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
