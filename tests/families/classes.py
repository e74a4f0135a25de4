"""The class of a family in PyTorch: transformers' own, or the one here."""

from pathlib import Path

import torch
import transformers
from families.gemma4 import Config, Gemma4ForCausalLM
from families.models import TinyModel


class SearchableConfig(Config):
    def __contains__(self, name: str) -> bool:
        return name in vars(self)


class Gemma4ForPeft(Gemma4ForCausalLM):
    """With what PEFT asks of a language model's class beside."""

    prepare_inputs_for_generation = None

    def __init__(self, config: Config):
        super().__init__(config)
        self.config = SearchableConfig(**vars(config))

    def forward(self, input_ids, **_):
        return super().forward(input_ids)


OURS = {"Gemma4ForCausalLM": Gemma4ForPeft}


def class_of(tiny: TinyModel) -> type:
    return OURS.get(tiny.model_class) or getattr(transformers, tiny.model_class)


def load(tiny: TinyModel, folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """The model of a folder, ready to compute. Soft caps on attention need the plain implementation of it."""
    attention = "eager" if "attn_logit_softcapping" in tiny.config else "sdpa"
    return class_of(tiny).from_pretrained(folder, attn_implementation=attention, dtype=dtype).eval()
