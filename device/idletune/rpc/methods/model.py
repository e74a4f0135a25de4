"""Methods on the base model: model, check."""

from dataclasses import asdict

from ..schema import boolean, integer, object_, text
from .declaration import Call, method


@method(
    "model",
    result=(
        text("name", "its name, as its file says"),
        text("architecture", "its architecture in GGUF"),
        integer("parameters", "how many weights it has"),
        integer("bytes", "the size of its file"),
        text("quantization", "the type that most of its weights are stored in"),
        integer("context_tokens", "tokens a conversation may hold"),
        boolean("trains", "whether it can learn on this device"),
        text("verdict", "how it would train and in what memory, or why it cannot"),
    ),
)
def model(call: Call) -> dict:
    """The base model in use, and whether it can learn here."""
    with call.shared.model(call.client) as runtime:
        return asdict(runtime.model_info())


@method(
    "check",
    result=(
        object_(
            "report",
            "as that of idletune check --json: refusal (empty where it can learn), family, adapter, plan, planned_mb,"
            " free_mb, night (answers, minutes, slices, peak_mb; measured) ...",
        ),
    ),
)
def check(call: Call) -> dict:
    """Try what learning takes on this device: a few real training steps. Other calls wait for the seconds it takes."""
    with call.shared.model(call.client) as runtime:
        return {"report": call.shared.compute(runtime.check_model).to_dict()}
