"""The product's own trainer as an engine, an adapter after the other, on the CPU."""

from dataclasses import replace

import numpy as np
import torch
from idletune.examples import Example
from idletune.learning.trainers import Trainers
from idletune.settings import Settings
from idletune.training.lora import Lora
from idletune.training.trainer import Trainer


class ProductEngine:
    """See rounds.Engine. `matmul_dtype` is the setting's, for training."""

    def __init__(self, trainers: Trainers, matmul_dtype: str = "auto"):
        self.trainers, self.matmul_dtype = trainers, matmul_dtype
        self.name = f"the product's trainer, {matmul_dtype}"
        self.shape, self.device = trainers.shape, torch.device("cpu")

    def train(
        self,
        lora: Lora,
        rows: torch.Tensor,
        examples: list[list[Example]],
        settings: Settings,
        seeds: list[int],
        trainable: np.ndarray | None,
    ) -> torch.Tensor:
        found = rows.clone()
        for row, own, seed in zip(found, examples, seeds):
            trainer = self._trainer(lora, row, own, replace(settings, seed=seed), trainable)
            trainer.run()
            row[...] = torch.from_numpy(trainer.lora.flat)
        return found

    def losses(self, lora: Lora, rows: torch.Tensor, examples: list[list[Example]]) -> np.ndarray:
        found = []
        for row, own in zip(rows, examples):
            total, count = self._trainer(lora, row, own, self.trainers.settings, None).evaluate(own)
            found.append(total / count)
        return np.array(found)

    def _trainer(self, lora: Lora, row, examples, settings: Settings, trainable) -> Trainer:
        own = Lora(lora.shape, lora.targets, lora.rank, lora.alpha, lora.shape.layers - lora.first)
        own.flat[...] = row.numpy()
        chosen = replace(settings, matmul_dtype=self.matmul_dtype)
        return Trainers(self.trainers.adapters, self.trainers.model, chosen).trainer_of(own, examples, trainable)
