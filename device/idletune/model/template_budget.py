"""The budget of work that a chat template renders within, and what its operations cost.

An operation is charged before it is done, by the size of what it reads and makes: work, memory and output are bounded
by one number. What would cost more than its operands show is refused: huge integers, wide formats and indentation.
"""

import re
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from string import Formatter
from typing import Any

from jinja2.exceptions import SecurityError

CHARACTERS_A_UNIT = 16  # or elements
MAX_INTEGER_BITS = 4096
MAX_INDENT = 16  # characters


class Budget:
    """Units of work that are left to a rendering; SecurityError when they are spent."""

    def __init__(self) -> None:
        self.left = 0

    def charge(self, units: int) -> None:
        self.left -= max(0, units)  # a template can call the filter of a charge, with a number of its own
        if self.left < 0:
            raise SecurityError("it does more work than a conversation of this size needs")

    def charge_size(self, size: int) -> None:
        """Charge for reading or making so many characters or elements."""
        self.charge(1 + size // CHARACTERS_A_UNIT)

    def charge_value(self, value: Any) -> int:
        """Charge for a value and all it contains, as for printing it; returns its size."""
        if isinstance(value, str):
            self.charge_size(len(value))
            return len(value)
        if isinstance(value, dict):
            value = [*value.keys(), *value.values()]
        if isinstance(value, (list, tuple, KeysView, ItemsView, ValuesView)):
            self.charge_size(len(value))
            return len(value) + sum(map(self.charge_value, value))
        self.charge_size(len(value) if isinstance(value, range) else 0)
        return 1

    def charged(self, value: Any) -> Any:
        """The value, after charging for it; a generator becomes the list of its elements."""
        if isinstance(value, Iterator):
            value = list(self.each(value))
        self.charge_value(value)
        return value

    def each(self, values: Iterable, units: int = 1) -> Iterator:
        """The values one by one, charging `units` for each."""
        for value in values:
            self.charge(units)
            yield value


def charge_filter(budget: Budget, name: str, value: Any, args: Sequence, kwargs: Mapping[str, Any]) -> None:
    """Charge for a filter's result where it can be larger than its operands, which are charged already."""
    if name == "join" and hasattr(value, "__len__"):
        between = args[0] if args else kwargs.get("d", "")
        budget.charge_size(len(value) * budget.charge_value(between))
    elif name == "replace":
        _charge_replace(budget, _text(value), args, kwargs)
    elif name in ("indent", "tojson"):
        widths = (*args, *kwargs.values(), *(kwargs.get("separators") or ()))
        if any((len(width) if isinstance(width, (str, list, tuple)) else width or 0) > MAX_INDENT for width in widths):
            raise SecurityError(f"{name} by more than {MAX_INDENT} characters")
        budget.charge_size(MAX_INDENT * (_text(value).count("\n") if name == "indent" else budget.charge_value(value)))
    elif name == "int" and isinstance(value, str) and len(value) > MAX_INTEGER_BITS // 4:
        raise SecurityError("a number of that many digits")


def charge_method(budget: Budget, owner: Any, name: str, args: Sequence, kwargs: Mapping[str, Any]) -> None:
    """Charge for a call of a method of a string or container."""
    budget.charge_size(len(owner))
    if not isinstance(owner, str):
        return
    if name == "join" and args:
        budget.charge_size(len(owner) * len(args[0]) if hasattr(args[0], "__len__") else 0)
    elif name == "replace":
        _charge_replace(budget, owner, args, kwargs)
    elif name == "format":
        specs = [spec or "" for _, field, spec, _ in Formatter().parse(owner) if field is not None]
        if any(not re.fullmatch(r"[^{}\d]*\d{0,2}(\.\d{1,2})?[^{}\d]*", spec) for spec in specs):
            raise SecurityError("a format that wide")
        budget.charge_size(len(specs) * (100 + sum(map(budget.charge_value, (*args, *kwargs.values())))))


def _charge_replace(budget: Budget, text: str, args: Sequence, kwargs: Mapping[str, Any]) -> None:
    old, new = (_text(arg) for arg in (*args, *kwargs.values(), "", "")[:2])
    budget.charge_size(text.count(old) * len(new))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def check_integers(operator: str, left: Any, right: Any) -> None:
    """SecurityError for a product or power beyond MAX_INTEGER_BITS; floats overflow by themselves."""
    if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
        if bits > MAX_INTEGER_BITS:
            raise SecurityError("a number that large")
