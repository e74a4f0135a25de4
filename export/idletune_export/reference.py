"""The original: a Hugging Face folder answered by transformers, with a PEFT adapter where one is given.

Speaks as BaseModel does (tokenize, logits, greedy answers, adapters), so the same measurements take either.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from .hugging_face_folder import load


class Reference:
    """transformers in float32 on the CPU."""

    def __init__(self, folder: Path):
        self.path = Path(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._base: Any = load(folder)  # transformers gives its models generate() at run time
        self.model: Any = self._base

    def tokenize(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    @torch.inference_mode()
    def logits(self, tokens: list[int]) -> np.ndarray:
        """float32 (n, vocabulary)."""
        return self.model(torch.tensor([tokens])).logits[0].float().numpy()

    @torch.inference_mode()
    def continue_greedily(self, tokens: list[int], count: int) -> list[int]:
        """The `count` most likely tokens after `tokens`; fewer when the model ends."""
        out = self.model.generate(
            torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
            max_new_tokens=count,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=0,
        )
        return out[0, len(tokens) :].tolist()

    def load_adapter(self, folder: Path) -> None:
        from peft import PeftModel

        self.model = PeftModel.from_pretrained(self._base, folder).eval()

    def remove_adapter(self) -> None:
        if self.model is not self._base:
            self._base = self.model.unload()
            self.model = self._base
