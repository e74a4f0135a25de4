"""An adapter made elsewhere, on its way in: it passes a gate of its own before it serves, or nothing is changed.

Its numbers are finite and of a plausible size, the engine decodes with it and gives finite logits, and general text
does not become less likely by more than the gate allows. One that a user names is taken for what it is; one that comes
from a fleet is held against the user's own answers as well. What it says is not looked at: this is no safety check.
"""

import math
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from ..errors import DamagedDataError, IdleTuneError, UsageError
from ..examples import Example
from ..formats.gguf_file import GgufFile, sha256
from ..formats.model_shape import ModelShape
from ..model.base_model import BaseModel
from ..settings import Settings
from ..state.adapter_records import AdapterVersion
from ..training.lora import Lora, read_adapter
from .adapters import Adapters
from .serving import load, serve

PROBE_TOKENS = 96  # of each of the probe's paragraphs
LARGEST_SCALE = 1000.0  # alpha / rank; PEFT's defaults give 1, the largest seen in use is 16
LARGEST_VALUE = 1e4  # of a matrix; trained ones stay below 10


def adopt(
    path: Path,
    model: BaseModel,
    adapters: Adapters,
    settings: Settings,
    held_out: Sequence[Example] = (),
    knows: Iterable[int] = (),
) -> AdapterVersion:
    """Serve the adapter in `path`, and let training start from it; both are recorded together.

    A file that is one of this home's own adapters, or a copy of one, is recorded as its child: it knows what that one
    knows, and the sets `knows`. The `held_out` examples must not become less likely than what serves now makes them.
    UsageError or DamagedDataError when it does not pass; what served before serves then.
    """
    path = Path(path)
    lora = read_adapter(path, ModelShape.of(GgufFile(model.path)))
    check_plausible(lora, path.name)
    digest = sha256(path)
    serving = _mean_loss(model, held_out) if held_out else 0.0
    candidate = adapters.add(lora, settings, [], adapters.own_version(digest), digest, knows=knows)
    try:
        losses = _tried(model, adapters, candidate, settings)
        if held_out:
            losses |= _held_against(model, held_out, serving)
        adapters.promote(candidate.version, losses, f"adopted from {path.name}", adopted=True)
    except BaseException as error:
        reason = str(error) if isinstance(error, IdleTuneError) else "its gate was interrupted"
        adapters.reject(candidate.version, {}, reason)
        raise
    finally:
        serve(model, adapters)
    return adapters.get(candidate.version)


def check_plausible(lora: Lora, name: str) -> None:
    """DamagedDataError for values that no training gives."""
    if not np.isfinite(lora.flat).all():
        count = int((~np.isfinite(lora.flat)).sum())
        raise DamagedDataError(f"{name} holds {count} values that are NaN or infinite; train or convert it again")
    if not 0 < abs(lora.scale) <= LARGEST_SCALE:
        limit = f"{LARGEST_SCALE:g} is the most that is plausible"
        raise DamagedDataError(f"{name} is scaled by {lora.scale:g} (alpha / rank), {limit}; check its alpha")
    if (largest := float(np.abs(lora.flat).max())) > LARGEST_VALUE:
        raise DamagedDataError(f"{name} holds the value {largest:g}, more than {LARGEST_VALUE:g}; convert it again")


def probe_examples(model: BaseModel) -> list[Example]:
    """The general text, the beginning of each paragraph an example, every token a label."""
    text = (files("idletune") / "data" / "general_probe.txt").read_text(encoding="utf-8")
    return [model.encode_text(part, max_tokens=PROBE_TOKENS) for part in text.split("\n\n") if part.strip()]


def _tried(model: BaseModel, adapters: Adapters, candidate: AdapterVersion, settings: Settings) -> dict[str, float]:
    """Losses of general text in the engine that will serve it, without and with the adapter; nats per token."""
    examples = probe_examples(model)
    model.remove_adapter()
    base = _mean_loss(model, examples)
    load(model, adapters, candidate)
    model.check_finite()
    adapted = _mean_loss(model, examples)
    if not math.isfinite(adapted):
        raise DamagedDataError("general text has no finite loss with this adapter; train or convert it again")
    rise = adapted / base - 1
    if not rise <= settings.probe_tolerance:
        raise UsageError(
            f"with this adapter the loss of general text rises {rise:.1%}, more than {settings.probe_tolerance:.1%}"
            " (probe_tolerance): it costs the model its language; lower the adapter's alpha, or allow more with --set"
        )
    return {"probe_base": base, "probe_adapted": adapted}


def _held_against(model: BaseModel, held_out: Sequence[Example], serving: float) -> dict[str, float]:
    """Losses of the user's own answers in the engine: of what serves now, and with the candidate that is loaded."""
    adapted = _mean_loss(model, held_out)
    if not adapted < serving:
        raise UsageError(
            f"with this adapter your own answers become no more likely: {serving:.3f} to {adapted:.3f} nats per token;"
            " it is not taken"
        )
    return {"engine_serving": serving, "engine_adapted": adapted}


def _mean_loss(model: BaseModel, examples: Sequence[Example]) -> float:
    total, count = model.negative_log_likelihood(list(examples))
    return total / max(1, count)
