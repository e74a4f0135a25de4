"""Methods that give what was learned to other programs: export_answers, export_adapter."""

import base64

from ...small_files import user_path
from ..schema import identifier, integer, path, text
from .declaration import Call, method


@method(
    "export_answers",
    (path("path", "a file that does not exist yet; left out: data has the lines", required=False),),
    (integer("answers", "lines"), text("data", "the lines, where no path was given", required=False)),
)
def export_answers(call: Call, path: str | None = None) -> dict:
    """Write the user's answers in OpenAI's fine-tuning format (JSONL), which import reads back; not encrypted."""
    from ...takeout import download_answers
    from ...takeout import export_answers as export

    runtime = call.shared.opened()
    if path is not None:
        return {"answers": export(runtime.store, user_path(path), runtime.settings.system)}
    lines = download_answers(runtime.store, runtime.settings.system)
    return {"answers": len(lines), "data": "".join(lines)}


@method(
    "export_adapter",
    (
        path("path", "NAME.gguf, or any other name for a PEFT folder; left out: data has the GGUF", required=False),
        identifier("version", "the adapter; left out: the one that serves", required=False),
    ),
    (
        integer("version", "the adapter that was written"),
        text("data", "the GGUF in Base64, where no path was given", required=False),
    ),
)
def export_adapter(call: Call, path: str | None = None, version: int | None = None) -> dict:
    """Write an adapter in a form that llama.cpp (GGUF) or PEFT reads; not encrypted, and the home remembers it."""
    from ...takeout import adapter_bytes
    from ...takeout import export_adapter as export

    runtime = call.shared.opened()
    if path is not None:
        return {"version": export(runtime.adapters, user_path(path), runtime.model.path, version).version}
    adapter, data = adapter_bytes(runtime.adapters, version)
    return {"version": adapter.version, "data": base64.b64encode(data).decode()}
