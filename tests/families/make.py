"""Makes the tiny models: transformers' random weights through llama.cpp's own converter and quantizer.

A process of its own, for the converter brings its own gguf package. Run: python -m families.make NAME=FOLDER ...
Each folder gets original/ (the Hugging Face folder), f32.gguf and quantized.gguf.
"""

import ctypes
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from families.classes import class_of
from families.models import TINY_MODELS, TinyModel
from idletune.model.llama_engine import llama, silence
from idletune_export.converter_process import convert
from tiny_model import SPECIAL, TEMPLATE, byte_alphabet

QUANTIZED = 2  # llama.h: LLAMA_FTYPE_MOSTLY_Q4_0


def make(name: str, folder: Path) -> None:
    """All of one family, at once or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    tiny = TINY_MODELS[name]
    save_random(tiny, part / "original")
    shutil.copytree(part / "original", part / "folder")
    if tiny.rewrite:
        tiny.rewrite(part / "folder")
    convert(part / "folder", part / "f32.gguf", "f32")
    quantize(part / "f32.gguf", part / "quantized.gguf")
    shutil.rmtree(part / "folder")
    try:
        part.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(part)


def save_random(tiny: TinyModel, folder: Path) -> None:
    """A model with random weights, in transformers' own files, and its tokenizer."""
    torch.manual_seed(0)
    model_class = class_of(tiny)
    model = model_class(model_class.config_class(**tiny.options()))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            randomize(name, parameter, generator)
    model.save_pretrained(folder)
    write_tokenizer(folder)


def randomize(name: str, parameter: torch.Tensor, generator: torch.Generator) -> None:
    """Norms spread around the class's own start (1, or 0 where the class adds 1), matrices of a spread that keeps
    hidden states about as large as they are."""
    noise = torch.randn(parameter.shape, generator=generator)
    if name.endswith("A_log"):
        parameter.copy_(0.5 * noise - 1)  # a state that outlives some tokens
    elif parameter.dim() == 1:
        parameter += 0.1 * noise
    else:
        spread = 0.2 if "embed" in name else 1.2 / parameter[0].numel() ** 0.5
        parameter.copy_(spread * noise)


def write_tokenizer(folder: Path) -> None:
    """Byte-level BPE with one merge, as tiny_model's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = [*SPECIAL, *byte_alphabet(), "th"]
    tokenizer = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, [("t", "h")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        add_bos_token=False,
        chat_template=TEMPLATE,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def quantize(source: Path, target: Path) -> None:
    silence()
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = QUANTIZED, 1
    status = llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    assert not status, f"llama.cpp cannot quantize {source}: {status}"


if __name__ == "__main__":
    logging.disable(logging.INFO)
    for wanted in sys.argv[1:]:
        name, folder = wanted.split("=", 1)
        make(name, Path(folder))
