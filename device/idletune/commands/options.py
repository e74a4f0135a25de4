"""What was given on the command line, and by the environment where it was not: home, model, settings."""

import os
from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from ..model.bundle import base_of
from ..runtime import Runtime, default_home
from ..settings import Settings, load_settings, parse_setting, present_name
from ..small_files import is_file, user_path
from ..state.private_settings import PRIVATE
from ..state.store import FILE_NAME, Store, open_store

DEFAULT_MODEL = Path(".cache/models/smollm2-135m-instruct-q4_1.gguf")
PATHS = ("lexicons", "key_file")  # settings that are paths


def open_runtime(arguments) -> Runtime:
    return Runtime(home_of(arguments), model_of(arguments), settings_of(arguments), backend=arguments.backend)


def settings_of(arguments) -> Settings:
    """Defaults, then the home's settings.json, then the command line."""
    settings = Settings(**load_settings(home_of(arguments) / "settings.json"))
    return replace(
        settings, **{present_name(name): parse_setting(name, text) for name, text in _changes(arguments).items()}
    )


def private_settings_of(arguments) -> dict:
    """Those of the settings given that hold the user's words; the home keeps them, no script does."""
    return {name: parse_setting(name, text) for name, text in _changes(arguments).items() if name in PRIVATE}


def options_of(arguments) -> list[str]:
    """The options as they were given, for commands that are started later and in another folder; none is private."""
    # Not resolved: what belongs to a model or a key lies beside the link to it, as in Hugging Face's cache.
    options = ["--model", str(model_of(arguments).absolute()), "--backend", arguments.backend]
    for name, text in _changes(arguments).items():
        if name in PRIVATE:
            continue
        options += ["--set", f"{name}={user_path(text).absolute() if text and name in PATHS else text}"]
    return options


def store_of(arguments) -> Store:
    """The state alone, for what needs no model; UsageError where there is none."""
    home, settings = home_of(arguments), settings_of(arguments)
    if not (home / FILE_NAME).is_file():
        raise UsageError(f"no state in {home}; name the home with --home")
    return open_store(home, settings)


def home_of(arguments) -> Path:
    return arguments.home or default_home()


def model_of(arguments) -> Path:
    path = base_of(arguments.model or user_path(os.environ.get("IDLETUNE_MODEL", DEFAULT_MODEL)))
    if not is_file(path):
        raise UsageError(f"no base model at {path}; run make model, or name a GGUF file or a bundle with --model")
    return path


def _changes(arguments) -> dict[str, str]:
    """The settings given on the command line, by name, as text."""
    changes = dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in arguments.set)
    if getattr(arguments, "policy", None):
        changes["policy"] = arguments.policy
    if arguments.key_file is not None:
        changes["key_file"] = str(arguments.key_file)
    return changes
