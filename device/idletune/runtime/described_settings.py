"""The settings as people and pages see them: value, default, help, bounds and choices."""

from dataclasses import fields
from typing import Any

from ..selection.policies import POLICY_NAMES
from ..settings import Settings

CHOICES = {"policy": POLICY_NAMES}  # of names that are registered above the settings


def choices_of(spec) -> tuple[str, ...]:
    """The values that a setting (a dataclass field) takes; empty where they are not listed."""
    return CHOICES.get(spec.name, spec.metadata["choices"])


def describe_settings(settings: Settings) -> list[dict[str, Any]]:
    """Each setting with its value, default, help and bounds, as plain values."""
    return [
        {
            "name": spec.name,
            "type": type(spec.default).__name__,
            "value": getattr(settings, spec.name),
            "default": spec.default,
            "help": spec.metadata["help"],
            "choices": list(choices_of(spec)),
            "least": spec.metadata["least"],
            "most": spec.metadata["most"],
        }
        for spec in fields(Settings)
    ]
