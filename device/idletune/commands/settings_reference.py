"""The table of docs/settings.md, written from the settings themselves (`make docs`)."""

from dataclasses import fields

from ..runtime.described_settings import choices_of
from ..settings import Settings


def settings_table() -> str:
    """One line a setting: name, default, the values it takes, help."""
    lines = ["| setting | default | takes | |", "|---|---|---|---|"]
    return "\n".join([*lines, *(_row(spec) for spec in fields(Settings))])


def _row(spec) -> str:
    default = f"`{spec.default!r}`" if spec.type is not str else f"`{spec.default}`" if spec.default else "empty"
    return f"| `{spec.name}` | {default} | {_takes(spec)} | {spec.metadata['help'].replace('|', '/')} |"


def _takes(spec) -> str:
    least, most = spec.metadata["least"], spec.metadata["most"]
    if choices := choices_of(spec):
        return ", ".join(f"`{choice}`" for choice in choices)
    if least is not None:
        return f"{least:g} to {most:g}"
    return {bool: "`true`, `false`", str: "text"}.get(spec.type, spec.type.__name__)
