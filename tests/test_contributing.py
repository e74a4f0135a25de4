"""The recipes of CONTRIBUTING.md name what is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = sorted(
    {found for found in re.findall(r"`((?:device|export|tests|benchmarks|android_bridge|docs)/[\w/.]+\.\w+)`", TEXT)}
)
TARGETS = sorted(set(re.findall(r"`?make ([a-z][\w-]*)", TEXT)))
NAMES = {
    "device/idletune/selection/policies.py": ("_POLICIES", "class Policy", "def _decide_when_full", "def _generator"),
    "device/idletune/formats/families/__init__.py": ("FAMILIES",),
    "device/idletune/formats/families/family.py": ("class Family", "def attention", "def feed_forward", "def rope"),
    "device/idletune/formats/loader_keys.py": ("guarded_keys",),
    "device/idletune/formats/sublayers.py": ("class FeedForwardKind", "class Sublayer", "def saved_widths", "TARGETS"),
    "export/idletune_export/graphs/sublayers.py": ("BODIES", "def arguments"),
    "device/idletune/formats/gguf_checks.py": ("ALIKE_LAYERS",),
    "device/idletune/settings.py": ("SAME_UNDER_ANOTHER_NAME", "class Settings"),
    "device/idletune/state/private_settings.py": ("PRIVATE",),
    "tests/device/training/test_gradients.py": ("TINY",),
    "device/idletune/rpc/methods/declaration.py": ("def method", "API_VERSION"),
    "device/idletune/commands/parser.py": ("def make_parser", "def _command"),
    "device/idletune/commands/options.py": ("def open_runtime", "def store_of", "def home_of", "def settings_of"),
    "device/idletune/chat_files/formats.py": ("ALL",),
    "tests/chat_samples.py": ("SAMPLES",),
    "benchmarks/attack/clients.py": ("METHODS",),
}


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_a_recipe_names_is_there(file):
    assert (ROOT / file).is_file() or "NAME" in file


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_a_recipe_names_is_one(target):
    assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("file, names", NAMES.items())
def test_a_name_that_a_recipe_uses_is_in_its_file(file, names):
    text = (ROOT / file).read_text(encoding="utf-8")
    for name in names:
        assert name in text and name.split()[-1] in TEXT
