"""The base model in use, as a person asks about it: what it is, and whether it can learn here."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from ..errors import IdleTuneError
from ..formats.gguf_file import GgufFile
from ..learning.pipeline import TrainingPipeline
from ..model.base_model import BaseModel


@dataclass(frozen=True)
class ModelInfo:
    """Sizes from the GGUF file; `verdict` is the memory plan of training, or why it cannot train."""

    name: str
    architecture: str
    parameters: int
    bytes: int
    quantization: str  # the tensor type that most weights have
    context_tokens: int
    trains: bool
    verdict: str


def model_info(model: BaseModel, pipeline: Callable[[], TrainingPipeline]) -> ModelInfo:
    """What is known of the model; nothing is computed with it. `pipeline` makes the one that would train it."""
    gguf = GgufFile(model.path)
    trains, verdict = training_verdict(pipeline)
    sizes: dict[str, int] = {}
    for tensor in gguf.tensors.values():
        sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + prod(tensor.shape)
    return ModelInfo(
        name=str(gguf.metadata.get("general.name") or model.path.stem),
        architecture=str(gguf.metadata.get("general.architecture", "")),
        parameters=sum(sizes.values()),
        bytes=sum(path.stat().st_size for path in gguf.paths),
        quantization=max(sizes, key=sizes.__getitem__),
        context_tokens=model.context_tokens,
        trains=trains,
        verdict=verdict,
    )


def training_verdict(pipeline: Callable[[], TrainingPipeline]) -> tuple[bool, str]:
    """Whether the model can train in the memory it is given; how, or why not."""
    try:
        trainers = pipeline().trainers
        return True, str(trainers.plan(trainers.new_lora()))
    except IdleTuneError as error:
        return False, str(error)
