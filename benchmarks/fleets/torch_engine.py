"""Many adapters side by side as an engine (many_adapters), on a GPU where PyTorch finds one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from idletune.examples import Example
from idletune.settings import Settings
from idletune.training.lora import Lora
from idletune.training.objective import labelled
from many_adapters.batches import States
from many_adapters.model import FrozenModel
from many_adapters.training import Run, losses, states_of, train


class TorchEngine:
    """See rounds.Engine."""

    def __init__(self, model: Path):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        of_gpu = f" on {torch.cuda.get_device_name()}, TF32" if self.device.type == "cuda" else ""
        self.name = f"PyTorch {torch.__version__.partition('+')[0]}{of_gpu}"
        self.model = FrozenModel(model, self.device.type)
        self.shape = self.model.shape
        self._states: dict[tuple[str, int], States] = {}

    def train(
        self,
        lora: Lora,
        rows: torch.Tensor,
        examples: Sequence[list[Example]],
        settings: Settings,
        seeds: list[int],
        trainable: np.ndarray | None,
    ) -> torch.Tensor:
        runs = [Run(own, replace(settings, seed=seed)) for own, seed in zip(examples, seeds)]
        mask = None if trainable is None else torch.from_numpy(trainable)
        return train(self._states_of(lora), lora, rows, runs, mask)

    def losses(self, lora: Lora, rows: torch.Tensor, examples: Sequence[list[Example]]) -> np.ndarray:
        found = losses(self._states_of(lora), lora, rows, examples)
        return np.array([np.average(each, weights=list(map(labelled, own))) for each, own in zip(found, examples)])

    def _states_of(self, lora: Lora) -> States:
        """What enters the first sublayer with an adapter, once for all adapters of a form."""
        form = lora.targets, lora.first
        if form not in self._states:
            self._states[form] = states_of(self.model, lora)
        return self._states[form]
