"""Whether a model can be trained on this device, before anything is: family, memory and time, by a short probe.

The probe is the real thing: the trainer trains on exchanges of the built-in story for two steps, under the memory plan
that a night would have. Nothing is kept of it.
"""

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np

from ..chat_files import read_exchanges
from ..errors import IdleTuneError, UsageError
from ..examples import Example
from ..formats.families import FAMILIES
from ..formats.gguf_checks import check_metadata
from ..formats.gguf_file import GgufFile
from ..formats.model_shape import ModelShape
from ..model.base_model import MIN_CELLS, BaseModel
from ..model.chat_template import conversation
from ..onnx_runtime.dequantizer import refuse_unknown_types
from ..progress import Bars, no_bars
from ..settings import Settings
from ..training.budget import found_budget, plan_within_budget
from ..training.int8 import use_int8
from ..training.int8_files import Int8Files, MappedInt8, file_bytes
from ..training.layers import Layers
from ..training.lora import Lora
from ..training.packing import pack, plan_sequences
from ..training.plan import MemoryPlan
from ..training.trainer import Trainer
from ..training.weights import Weights

NIGHT_ANSWERS = 32  # of the built-in story: what a night's time is said for
PROBE_STEPS = 2  # the first one also loads graphs and weights
MB = 1e6


@dataclass
class AdapterFacts:
    """What would be trained."""

    rank: int
    targets: str
    first_layer: int
    layers: int
    parameters: int
    megabytes: float


@dataclass
class NightFacts:
    """Measured by the probe, but for `minutes`, `slices` and `plan`, which follow from it.

    Times of one packed sequence: `step_seconds` of a training step, `frozen_seconds` of the layers below the adapter,
    which run once for all epochs, `start_seconds` of what the first step has to load. `peak_mb` is what the process
    took beyond what it held before; None where the system does not tell.
    """

    answers: int
    answer_tokens: int
    sequence_tokens: int
    steps: int
    start_seconds: float
    frozen_seconds: float
    step_seconds: float
    peak_mb: float | None
    minutes: float = 0.0
    slices: int = 0


@dataclass
class ModelReport:
    """What is known of a model; `refusal` says why it cannot be trained here, and is empty where it can."""

    model: str
    megabytes: float
    parameters: int
    block_formats: dict[str, int]  # tensors by format
    architecture: str
    family: str = ""  # models of it that people know; empty: it is not known
    refusal: str = ""
    thinks: bool | None = None  # whether its chat template can let it think
    adapter: AdapterFacts | None = None
    plan: str = ""
    planned_mb: int | None = None
    budget_mb: int = 0
    file_mb: int = 0  # of int8 weights in the home, mapped
    free_mb: float | None = None  # now, on this device
    night: NightFacts | None = field(default=None)

    @property
    def supported(self) -> bool:
        """Whether the family, its tensors and keys are known, whatever the device has room for."""
        return self.adapter is not None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "supported": self.supported, "fits": not self.refusal}


def known_models() -> str:
    """The families that train, by the models that people know of them."""
    return "; ".join(f"{family.models} ({name})" for name, family in FAMILIES.items())


def check_model(
    path: Path, settings: Settings, free_mb: Callable[[], float | None] = lambda: None, bars: Bars = no_bars
) -> ModelReport:
    """The report on a GGUF file. UsageError and DamagedDataError for what is no model at all."""
    gguf = GgufFile(path)
    check_metadata(gguf)
    report = _of_file(gguf)
    report.free_mb = free_mb()
    report.budget_mb = settings.memory_mb or found_budget(report.free_mb, settings.window_reserve_mb)[0]
    try:
        lora = _what_is_trained(gguf, settings, report)
        with BaseModel(path, context_tokens=settings.context_tokens, threads=settings.threads) as model:
            report.thinks = _thinks(model)
            examples = _story(model, settings)
            plan = _plan(lora, examples, settings, report)
            _refuse_without_memory(plan, report, settings)
            report.night = _probe(gguf, lora, plan, examples, settings, bars)
    except IdleTuneError as error:
        report.refusal = str(error)
    return report


def _of_file(gguf: GgufFile) -> ModelReport:
    tensors, architecture = gguf.tensors.values(), str(gguf.metadata.get("general.architecture", "?"))
    family = FAMILIES.get(architecture)
    return ModelReport(
        model=gguf.path.name,
        megabytes=round(sum(path.stat().st_size for path in gguf.paths) / MB, 1),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        block_formats=dict(Counter(tensor.type.name for tensor in tensors).most_common()),
        architecture=architecture,
        family=family.models if family else "",
    )


def _what_is_trained(gguf: GgufFile, settings: Settings, report: ModelReport) -> Lora:
    """The adapter; UsageError names what of the model training does not know, and models that it does."""
    try:
        shape = ModelShape.of(gguf, context=max(settings.context_tokens, MIN_CELLS))  # as the runtime opens it
        refuse_unknown_types(gguf)
    except UsageError as error:
        raise UsageError(f"{error}. These train: {known_models()}") from None
    lora = Lora.from_settings(shape, settings)
    report.adapter = AdapterFacts(
        lora.rank, settings.targets, lora.first, shape.layers, lora.size, round(lora.size * 4 / MB, 1)
    )
    return lora


def _thinks(model: BaseModel) -> bool:
    asked = conversation("a question")
    return model.template.render(asked, thinking=True) != model.template.render(asked)


def _story(model: BaseModel, settings: Settings) -> list[Example]:
    """Exchanges of the built-in story, as training examples of this model."""
    with as_file(files("idletune") / "data" / "demo_stream.jsonl") as path:
        exchanges = read_exchanges(path, limit=NIGHT_ANSWERS)
    return [
        model.encode_exchange(
            exchange.question,
            exchange.response,
            system=settings.system,
            max_tokens=settings.example_tokens,
            train_on_question=settings.train_on_questions,
        )
        for exchange in exchanges
    ]


def _plan(lora: Lora, examples: list[Example], settings: Settings, report: ModelReport) -> MemoryPlan:
    """As Trainers.plan: UsageError where the memory budget is too small."""
    s, cached_tokens = settings, sum(len(example.tokens) for example in examples)
    int8 = use_int8(s.matmul_dtype, s.threads)
    mapped = s.int8_files and shutil.disk_usage(gettempdir()).free - file_bytes(lora) > s.window_disk_mb * MB
    plan = plan_within_budget(lora, s, int8=int8, mapped=mapped, cached_tokens=cached_tokens, free_mb=report.free_mb)
    report.plan, report.planned_mb, report.file_mb = str(plan), plan.megabytes, plan.mapped_megabytes
    return plan


def _refuse_without_memory(plan: MemoryPlan, report: ModelReport, settings: Settings) -> None:
    wanted = plan.megabytes + settings.window_reserve_mb
    if report.free_mb is not None and report.free_mb < wanted:
        raise UsageError(
            f"{report.free_mb:.0f} MB of memory are free; a night needs {plan.megabytes} and leaves "
            f"{settings.window_reserve_mb} (window_reserve_mb): close other programs, lower memory_mb, "
            "or use a smaller model"
        )


def _probe(
    gguf: GgufFile, lora: Lora, plan: MemoryPlan, examples: list[Example], settings: Settings, bars: Bars
) -> NightFacts:
    """Two training steps on one packed sequence, and its frozen layers once more for their own time."""
    settings = replace(settings, sequence_tokens=min(settings.sequence_tokens, plan.sequence_tokens))
    before = _start_peak()
    layers = Layers.planned(gguf, lora, plan, settings.threads, _mapped(gguf, lora, settings) if plan.mapped else None)
    sequences = plan_sequences(examples, settings.sequence_tokens, np.arange(len(examples)))
    probed = [examples[index] for index in sequences[0]]
    kept = plan.caches_activations
    trainer = Trainer(layers, probed, replace(settings, epochs=3, min_steps=0), caches_activations=kept)
    times = [time.monotonic()]
    with bars("probe", PROBE_STEPS + 1) as bar:

        def count(done: int, note: str) -> None:
            times.append(time.monotonic())
            bar(done, note)

        trainer.run(should_stop=lambda: trainer.done >= PROBE_STEPS, progress=count)
        frozen = _frozen_seconds(layers, probed) if trainer.activation_cache else 0.0
        bar(PROBE_STEPS + 1)
    first, step = np.diff(times)[:PROBE_STEPS]
    whole = Trainer(layers, examples, settings, caches_activations=kept)
    facts = NightFacts(
        answers=len(examples),
        answer_tokens=round(sum(len(example.tokens) for example in examples) / len(examples)),
        sequence_tokens=settings.sequence_tokens,
        steps=len(whole.sequences),
        start_seconds=max(0.0, first - step - frozen),
        frozen_seconds=frozen,
        step_seconds=step,
        peak_mb=_peak_since(before),
    )
    seconds = facts.start_seconds + frozen * len(sequences) + step * facts.steps
    facts.minutes, facts.slices = seconds / 60, math.ceil(seconds / 60 / settings.slice_minutes)
    return facts


def _mapped(gguf: GgufFile, lora: Lora, settings: Settings) -> MappedInt8:
    """The files of int8 weights, made for the probe alone: mapped, they need no name."""
    with TemporaryDirectory(prefix="idletune-") as folder:
        return Int8Files(Path(folder), Weights(gguf, lora.shape, threads=settings.threads), lora).map()


def _frozen_seconds(layers: Layers, examples: list[Example]) -> float:
    start = time.monotonic()
    layers.frozen_forward([pack(examples)], training=True)
    return time.monotonic() - start


def _start_peak() -> float | None:
    """Let the process's peak memory begin anew (proc(5), clear_refs); what it holds now in MB, None if unknown."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status_mb("VmRSS")


def _peak_since(before: float | None) -> float | None:
    peak = _status_mb("VmHWM")
    return None if before is None or peak is None else round(peak - before, 1)


def _status_mb(name: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / MB for line in lines if line.startswith(f"{name}:")), None)
