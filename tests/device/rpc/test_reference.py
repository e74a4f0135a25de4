from pathlib import Path

from idletune.rpc.reference import page


def test_the_committed_page_is_what_the_code_gives():
    committed = Path(__file__).parents[3] / "docs" / "rpc.md"
    assert committed.read_text(encoding="utf-8") == page(), "run: python -m idletune.rpc.reference > docs/rpc.md"
