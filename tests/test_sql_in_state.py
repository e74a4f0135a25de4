"""SQL stands in state/ alone: everything else speaks to the tables' modules there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATE = ROOT / "device" / "idletune" / "state"
SOURCES = [
    path
    for folder in ("device", "export", "android_bridge")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if STATE not in path.parents
]
SQL = re.compile(r"\s*(SELECT\s|INSERT\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+TABLE\s|PRAGMA\s|VACUUM)")
CALLS = {"execute", "executemany", "executescript", "row", "rows"}  # of sqlite3 and of Store


def sql_in(source: str) -> list[str]:
    """The SQL statements and the calls that take one, as source text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        text = isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS
        if text or called:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_stands_in_state_alone(path):
    assert not sql_in(path.read_text(encoding="utf-8"))


def test_the_test_can_fail():
    assert sql_in("store.rows(sql)") and sql_in("sql = 'DELETE FROM events'")
    assert sql_in((STATE / "dialogue_sets.py").read_text(encoding="utf-8"))
