"""What a developer points at: a preset's name, a GGUF file, a Hugging Face folder or a hub id."""

import re
from dataclasses import dataclass
from pathlib import Path

from idletune.errors import UsageError
from idletune.formats.gguf_file import model_paths

# Name -> the file that `make model` or `make model-gemma` puts there.
PRESETS = {
    "smollm2-135m": Path(".cache/models/smollm2-135m-instruct-q4_1.gguf"),
    "gemma3-270m": Path(".cache/models/gemma-3-270m-q4_k_m.gguf"),
}
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "LICENSE*", "NOTICE*"]


@dataclass(frozen=True)
class Source:
    """A model on this disk."""

    name: str
    path: Path

    @property
    def is_gguf(self) -> bool:
        return self.path.is_file()


def find_source(text: str) -> Source:
    """UsageError names what was tried."""
    if text in PRESETS:
        if not PRESETS[text].is_file():
            raise UsageError(f"the preset {text} needs {PRESETS[text]}; run make model (make model-gemma) here first")
        return Source(text, PRESETS[text])
    path = Path(text)
    if path.is_file():
        path = one_file(path)
    if path.is_file() or path.is_dir():
        return Source(path.resolve().stem if path.is_file() else path.resolve().name, path)
    if HUB_ID.fullmatch(text) and path.suffix != ".gguf":
        return Source(text.split("/")[1], _download(text))
    raise UsageError(f"no model {text!r}: no preset ({', '.join(PRESETS)}), no file or folder, no hub id (owner/name)")


def one_file(path: Path) -> Path:
    """The path of a GGUF file; UsageError for a part of a split model, which conversions do not read."""
    if (parts := len(model_paths(path))) > 1:
        raise UsageError(f"{path.name} is the first of {parts} parts; make one file of them: llama-gguf-split --merge")
    return path


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"cannot fetch {hub_id} from the hub ({reason}); give a local folder") from None
