"""Trainers for a base model: the adapter that training starts from, and layers as the memory budget allows."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..examples import Example
from ..formats.families import FAMILIES
from ..formats.gguf_file import GgufFile
from ..formats.model_shape import ModelShape
from ..model.base_model import BaseModel
from ..progress import Bars
from ..settings import Settings
from ..state.adapter_records import AdapterVersion
from ..state.files import ADOPTED, CHECKPOINT, Files
from ..state.home import QUANTIZED, remove_stored
from ..training.budget import plan_within_budget
from ..training.int8 import use_int8
from ..training.int8_files import Int8Files, MappedInt8
from ..training.layers import Layers
from ..training.lora import Lora, read_adapter, widened
from ..training.objective import TrainingData
from ..training.plan import MemoryPlan
from ..training.trainer import Trainer, evaluate
from ..training.weights import Weights
from .adapters import Adapters

MB = 1_000_000


class Trainers:
    """Makes trainers, and evaluates without training. Opening it reads the header of the base model's GGUF."""

    def __init__(self, adapters: Adapters, model: BaseModel, settings: Settings):
        self.adapters, self.model, self.settings = adapters, model, settings
        self.home = adapters.store.home
        self.gguf = GgufFile(model.path)
        self.shape = ModelShape.of(self.gguf, model.engine.cells)
        self.files, self.checkpoint = Files(adapters.store), self.home / CHECKPOINT
        self._no_files = False  # int8 weights could not be kept in files

    def trainer(self, data: TrainingData, form: str = "") -> tuple[Trainer, MemoryPlan]:
        """A trainer at its first micro-step. UsageError when the memory budget is too small.

        `form`: that of the run's plan in an earlier slice, which is kept wherever it can be.
        """
        lora = self.new_lora()
        plan, mapped = self._mapped_plan(lora, data.tokens, form)
        settings = self._settings(plan)
        examples, objective = data.within(settings.sequence_tokens, settings.preference)
        trainer = Trainer(
            self._layers(lora, plan, mapped),
            examples,
            settings,
            self.checkpoint,
            self.files,
            base=self.model.sha256,
            caches_activations=plan.caches_activations,
            objective=objective,
        )
        return trainer, plan

    def trainer_of(self, lora: Lora, examples: list[Example], trainable: np.ndarray | None = None) -> Trainer:
        """A trainer of another adapter than training starts from, without a checkpoint. UsageError as in `trainer`.

        Its int8 weights are those in the home's files where all that it needs are there; else they take memory.
        """
        tokens = sum(len(example.tokens) for example in examples)
        plan, mapped = self._mapped_plan(lora, tokens, makes=False)
        return Trainer(
            self._layers(lora, plan, mapped),
            examples,
            self._settings(plan),
            base=self.model.sha256,
            caches_activations=plan.caches_activations,
            trainable=trainable,
        )

    def loss(self, examples: list[Example], adapter: AdapterVersion | None) -> float:
        """Mean loss in nats per labelled token, with an adapter or the base alone."""
        lora = self._read(adapter) if adapter else self.new_lora()
        plan = self.plan(lora)
        layers = self._layers(lora, plan)
        if adapter is None:
            lora.alpha = 0.0
        total, count = evaluate(layers, examples, self._settings(plan).sequence_tokens)
        return total / max(1, count)

    def new_lora(self) -> Lora:
        """Where training starts: an earlier adapter, or one without effect. It has the settings' form, or its own where
        that has ranks or modules beyond it."""
        start = self._start()
        if start is not None:
            return widened(self._read(start), self.settings)
        if self._has_start_of_an_earlier_version():
            return read_adapter(self.home / ADOPTED, self.shape)
        return Lora.from_settings(self.shape, self.settings)

    def parent_version(self) -> int | None:
        """The version that `new_lora` starts from."""
        start = self._start()
        if start is not None:
            return start.version
        return self.adapters.newest_adopted() if self._has_start_of_an_earlier_version() else None

    def plan(self, lora: Lora, cached_tokens: int = 0, form: str = "", makes: bool = True) -> MemoryPlan:
        """UsageError when the memory budget is too small. Without `makes` no int8 files are missing."""
        mapped = self._can_keep(lora) and (makes or not self._int8_files(lora).missing())
        allowed = {"int8": self._int8(), "mapped": mapped}
        return plan_within_budget(lora, self.settings, **allowed, cached_tokens=cached_tokens, form=form)

    def prepare(self, bars: Bars, check: Callable[[], None]) -> None:
        """Make the files of int8 weights that are missing; `check` may raise between two of them.

        Those of other base models are removed, and all where storage is short or the settings want none.
        """
        lora = self.new_lora()
        keeps = self._can_keep(lora)
        remove_stored(self.home, but=self.model.sha256 if keeps else "")
        files = self._int8_files(lora)
        if not keeps or not (missing := files.missing()):
            return
        try:
            with bars("quantizing the base model", len(missing)) as bar:
                for number in files.make_all(missing):
                    bar(number)
                    check()
        except OSError:
            self._drop_files()

    def _mapped_plan(
        self, lora: Lora, cached_tokens: int, form: str = "", makes: bool = True
    ) -> tuple[MemoryPlan, MappedInt8 | None]:
        """The plan, and the mapped files if it counts on them; where they cannot be had it is another plan. Missing
        files are made, or with `makes` false not counted on."""
        plan = self.plan(lora, cached_tokens, form, makes)
        if not plan.mapped:
            return plan, None
        try:
            return plan, self._int8_files(lora).map()
        except OSError:
            self._drop_files()
            return self.plan(lora, cached_tokens, form, makes), None

    def _int8(self) -> bool:
        return use_int8(self.settings.matmul_dtype, self.settings.threads)

    def _int8_files(self, lora: Lora) -> Int8Files:
        weights = Weights(self.gguf, self.shape, threads=self.settings.threads)
        return Int8Files(self.home / QUANTIZED / self.model.sha256, weights, lora)

    def _can_keep(self, lora: Lora) -> bool:
        """Whether int8 weights are wanted in files, and storage is left beside them."""
        if self._no_files or not self.settings.int8_files or not self._int8():
            return False
        if (self.home / QUANTIZED).is_symlink():
            return False  # what a link leads to is not ours
        left = shutil.disk_usage(self.home).free - self._int8_files(lora).missing_bytes()
        return left >= self.settings.window_disk_mb * MB

    def _drop_files(self) -> None:
        self._no_files = True
        remove_stored(self.home)

    def _start(self) -> AdapterVersion | None:
        """The adapter that training starts from: the one that serves (`warm_start`), or an adopted one."""
        current = self.adapters.current() if self.settings.warm_start else None
        return current or self.adapters.adopted()

    def _has_start_of_an_earlier_version(self) -> bool:
        """Earlier versions kept an adopted adapter in a file of its own; one that no promoted row names is no start."""
        return self.adapters.adopted_was_replaced() and (self.home / ADOPTED).is_file()

    def _read(self, adapter: AdapterVersion) -> Lora:
        with self.adapters.readable(adapter) as path:
            return read_adapter(path, self.shape)

    def _settings(self, plan: MemoryPlan) -> Settings:
        """The settings with packed sequences as long as the memory allows, and the learning rate of the family."""
        s, family = self.settings, FAMILIES[self.shape.architecture]
        tokens = min(s.sequence_tokens, plan.sequence_tokens)
        return replace(s, sequence_tokens=tokens, learning_rate=s.learning_rate * family.learning_rate)

    def _layers(self, lora: Lora, plan: MemoryPlan, mapped: MappedInt8 | None = None) -> Layers:
        return Layers.planned(self.gguf, lora, plan, self.settings.threads, mapped)
