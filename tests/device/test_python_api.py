from pathlib import Path

import pytest
from idletune.runtime import Runtime
from idletune.runtime.opened_home import OpenedHome
from idletune.runtime.reference import page


def test_the_committed_page_is_what_the_code_gives():
    committed = Path(__file__).parents[2] / "docs" / "python-api.md"
    command = "python -m idletune.runtime.reference > docs/python-api.md"
    assert committed.read_text(encoding="utf-8") == page(), f"run: {command}"


def test_every_public_method_is_on_it(monkeypatch):
    names = {name for name in {**vars(OpenedHome), **vars(Runtime)} if not name.startswith("_")}
    assert {name for name in names if f"### {name}\n" in page() or f"| `{name}` |" in page()} == names
    monkeypatch.setattr(Runtime, "dance", lambda self, steps: None, raising=False)
    with pytest.raises(AssertionError, match="Runtime.dance has no docstring"):
        page()
