"""The licence notice that goes with a model."""

from pathlib import Path

from idletune.formats.gguf_file import GgufFile

FIELDS = (
    "name",
    "organization",
    "author",
    "license",
    "license.name",
    "license.link",
    "source.url",
    "base_model.0.repo_url",
)
FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt", "NOTICE.md")


def licence_notice(source: Path) -> str:
    """What a GGUF's metadata or a folder's licence files say of the model's terms."""
    return _of_file(source) if source.is_file() else _of_folder(source)


def _of_file(path: Path) -> str:
    metadata = GgufFile(path).metadata
    lines = [f"{field}: {metadata[key]}" for field in FIELDS if (key := f"general.{field}") in metadata]
    if "general.license" not in metadata:
        lines.append("license: not named in the file; look it up before you pass the model on")
    files = sorted(path.parent.glob(path.stem + ".LICENSE*"))
    terms = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    about = "The base model of this bundle, as its file describes itself.\n\n" + "\n".join(lines) + "\n"
    return "\n\n".join([about, *terms])


def _of_folder(folder: Path) -> str:
    texts = [
        f"{name}\n\n{(folder / name).read_text(encoding='utf-8', errors='replace')}"
        for name in FILES
        if (folder / name).is_file()
    ]
    unknown = f"The base model of this bundle was converted from {folder.name}, which names no licence.\n"
    return "\n\n".join(texts) or unknown
