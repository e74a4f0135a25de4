"""Which adapter the model answers with: the promoted one, as long as it is whole and gives finite numbers."""

from collections.abc import Callable
from typing import TypeVar

from ..errors import IdleTuneError
from ..model.base_model import BaseModel
from ..model.context import NonFiniteOutput
from ..state.adapter_records import AdapterVersion
from .adapters import Adapters

Result = TypeVar("Result")


def serve(model: BaseModel, adapters: Adapters) -> None:
    """Make the model answer with the promoted adapter, or alone where there is none.

    A version whose file is gone or damaged, or whose logits are not finite, is dropped, and the one before it serves.
    """
    while (current := adapters.current()) is not None:
        if model.adapter == current.path:
            return
        try:
            load(model, adapters, current)
            model.check_finite()
            return
        except IdleTuneError as error:
            adapters.drop_promoted(str(error))
    model.remove_adapter()


def load(model: BaseModel, adapters: Adapters, adapter: AdapterVersion) -> None:
    """Make the model answer with a version, promoted or not. DamagedDataError when its file is not whole."""
    with adapters.readable(adapter) as path:
        model.load_adapter(path, known_as=adapter.path)


def drop_broken(model: BaseModel, adapters: Adapters, reason: str) -> None:
    """Drop the version that the model answers with, unless another process did so already; the one before serves."""
    current = adapters.current()
    if current is not None and model.adapter == current.path:
        adapters.drop_promoted(reason)
    serve(model, adapters)


def with_sound_adapter(model: BaseModel, adapters: Adapters, work: Callable[[], Result]) -> Result:
    """The result of `work`. If the adapter in use gives non-finite numbers it is dropped and `work` runs again.

    NonFiniteOutput where the base model alone does so.
    """
    while True:
        try:
            return work()
        except NonFiniteOutput as error:
            if model.adapter is None:
                raise
            drop_broken(model, adapters, str(error))
