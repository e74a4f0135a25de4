"""The table of promises in SECURITY.md: each stands where it is quoted from, and each is held by a test that exists."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r'^\| (\S+\.md) \| "(.+)" \| (.+) \|$')
sys.path.append(str(ROOT / "benchmarks"))


def rows() -> list[tuple[str, str, list[str]]]:
    """(document, promise, what holds it) of each row."""
    found = [ROW.match(line) for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()]
    return [(row[1], row[2], re.findall(r"`([^`]+)`", row[3])) for row in found if row]


@cache
def text_of(document: str) -> str:
    """A document on one line, as Markdown reads it; of SECURITY.md what stands before its table."""
    text = (ROOT / document).read_text(encoding="utf-8")
    text = text.split("\n| in | promise |")[0] if document == "SECURITY.md" else text
    return " ".join(text.split())


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@cache
def parts_of_the_attack() -> set[str]:
    from attack_promises import PARTS

    return set(PARTS)


def test_every_row_of_the_table_is_read():
    lines = (ROOT / "SECURITY.md").read_text(encoding="utf-8").split("| in | promise |")[1].splitlines()[2:]
    assert len(rows()) == len([line for line in lines if line.startswith("|")]) > 30
    promises = [(document, promise) for document, promise, _ in rows()]
    assert len(set(promises)) == len(promises), "a promise stands there twice"
    assert {document for document, _ in promises} >= {"README.md", "docs/rpc.md", "SECURITY.md"}


@pytest.mark.parametrize("document, promise, holders", rows(), ids=[promise[:50] for _, promise, _ in rows()])
def test_a_promise_is_made_and_held(document, promise, holders):
    assert promise in text_of(document), f"{document} no longer says it: change the table, and the test with it"
    assert holders
    for holder in holders:
        if part := re.fullmatch(r"make attack: (\w+)", holder):
            assert part[1] in parts_of_the_attack()
        else:
            file, _, name = holder.partition("::")
            assert name in names_in(file), f"there is no {holder}"
