"""Chat templates from foreign files, rendered by Jinja2's sandbox within a budget of work.

Design choices:
- Jinja2 parses, compiles and renders; nodes added to the syntax tree charge every block that runs (template_syntax);
- operators, filters, tests, calls and output are charged before they run, by their operands (template_budget);
- the budget grows with the conversation, so that a short one cannot use what a long one needs;
- filters, tests, methods and globals are an allow-list: those that published chat templates use;
- the date is always the same one, so that training sees what answering sees, on whatever day.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, cast

from jinja2 import Template, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace as JinjaNamespace

from .template_budget import Budget, charge_filter, charge_method, check_integers
from .template_syntax import CHARGE, CONCAT, EACH, OPERAND, AddCharges, GenerationTags, refuse_imports

MAX_SOURCE = 100_000  # characters; the longest of 70 published templates has 17,000
DATE = datetime(2024, 7, 26)  # what Llama 3's templates write where nobody tells them the date
UNITS, UNITS_A_MESSAGE, UNITS_A_CHARACTER = 200_000, 10_000, 4  # a unit takes about a microsecond

FILTERS = (
    "capitalize count d default dictsort e escape first float indent int items join last length list lower map max min"
    " reject rejectattr replace reverse safe select selectattr sort string title tojson trim unique upper"
).split()
SHALLOW = (  # read no elements, or pass them on one by one
    "count d default first items last length list map reject rejectattr reverse select selectattr"
).split()
TESTS = (
    "boolean callable defined divisibleby eq equalto even false float ge gt in integer iterable le lt mapping ne none"
    " number odd sameas sequence string true undefined == != < <= > >="
).split()
METHODS = {
    str: (
        "capitalize casefold count endswith find format index isalnum isalpha isascii isdecimal isdigit isidentifier"
        " islower isnumeric isprintable isspace istitle isupper join lower lstrip partition removeprefix removesuffix"
        " replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"
    ).split(),
    dict: ["copy", "get", "items", "keys", "values"],
    list: ["copy", "count", "index"],
    tuple: ["count", "index"],
}


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox as transformers sets it up, with a `budget` that each rendering uses."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationTags],
            finalize=_printed,
        )
        self.budget = Budget()
        plain = ImmutableSandboxedEnvironment()
        plain.filters["tojson"] = _to_json
        self.filters = {name: _filter(plain, name) for name in FILTERS if name in plain.filters}
        self.filters |= {CHARGE: _charge, EACH: _each, OPERAND: _operand, CONCAT: _concatenation}
        self.tests = {name: _test(plain, name) for name in TESTS if name in plain.tests}
        self.globals = {
            "range": safe_range,
            "dict": dict,
            "namespace": Namespace,
            "raise_exception": _refuse,
            "strftime_now": _strftime_now,
        }

    def compiled(self, source: str) -> Template:
        """The template of `source`. Raises SecurityError, and whatever Jinja2 and Python raise of a broken one."""
        if len(source) > MAX_SOURCE:
            raise SecurityError(f"it has {len(source):,} characters, {MAX_SOURCE:,} are allowed")
        tree = self.parse(source)
        refuse_imports(tree)
        tree = AddCharges().visit(tree)
        tree.set_environment(self)
        return self.from_string(tree)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(value) if isinstance(value, (str, list, tuple)) else None for value in (left, right)]
        if sizes == [None, None]:
            check_integers(operator, left, right)
        elif operator == "%":
            raise SecurityError("the operator % formats no text here")
        elif operator == "*":
            times = right if sizes[1] is None else left
            self.budget.charge_size((sizes[0] or sizes[1] or 0) * max(0, times if isinstance(times, int) else 0))
        else:
            self.budget.charge_size((sizes[0] or 0) + (sizes[1] or 0))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, as in the base class
        __self.budget.charge(1)
        operands = [__self.budget.charged(arg) for arg in args]
        named = {n: v if n.startswith("_") or n == "caller" else __self.budget.charged(v) for n, v in kwargs.items()}
        method = getattr(__obj, "__wrapped__", __obj)  # Jinja2 wraps a text's method `format`
        owner = getattr(method, "__self__", None)
        kind = next((kind for kind in METHODS if isinstance(owner, kind)), None)
        if kind and method.__name__ in METHODS[kind]:
            charge_method(__self.budget, owner, method.__name__, operands, named)
        elif not _is_callable_here(__self, __obj, owner):
            name = getattr(__obj, "__name__", type(__obj).__name__)
            raise SecurityError(f"{name!r} is not callable in a chat template")
        return super().call(__context, __obj, *operands, **named)


class Namespace(JinjaNamespace):
    """Jinja2's, but printing it does not print its values, which nobody has charged for."""

    def __repr__(self) -> str:
        return "<Namespace>"


def _budget(context: Context) -> Budget:
    return cast(BoundedEnvironment, context.environment).budget


# These filters take the context, which also keeps Jinja2 from running them as constants when it compiles.


@pass_context
def _charge(context: Context, units: int) -> str:
    _budget(context).charge(units)
    return ""


@pass_context
def _each(context: Context, values: Iterable, units: int) -> Iterator:
    return _budget(context).each(values, units)


@pass_context
def _operand(context: Context, value: Any) -> Any:
    return _budget(context).charged(value)


@pass_context
def _concatenation(context: Context, values: list) -> str:
    _budget(context).charge_value(values)
    return "".join(_printed(context, value, charged=True) for value in values)


@pass_context
def _printed(context: Context, value: Any, charged: bool = False) -> str:
    """A value's text, as Jinja2 would print it; SecurityError for what is not data, such as a function."""
    if isinstance(value, str):
        text = value
    elif value is None or isinstance(value, (bool, int, float, dict, list, tuple, Undefined)):
        text = None
    else:
        raise SecurityError(f"a {type(value).__name__} cannot be printed")
    if not charged:
        _budget(context).charge_value(value)
    return str(value) if text is None else text


def _filter(plain: ImmutableSandboxedEnvironment, name: str) -> Callable:
    """Jinja2's filter of that name, with charges."""

    @pass_context
    def charging(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        if name not in SHALLOW:
            value = budget.charged(value)
        operands = [budget.charged(arg) for arg in args]
        named = {key: budget.charged(arg) for key, arg in kwargs.items()}
        charge_filter(budget, name, value, operands, named)
        result = plain.call_filter(name, value, operands, named, context=context)
        if isinstance(result, Iterator):
            return budget.each(result)
        budget.charge_size(len(result) if hasattr(result, "__len__") else 0)
        return result

    return charging


def _test(plain: ImmutableSandboxedEnvironment, name: str) -> Callable:
    """Jinja2's test of that name, with charges."""

    @pass_context
    def charging(context: Context, value: Any, *args: Any) -> bool:
        budget = _budget(context)
        budget.charge(1)
        if name in ("divisibleby", "even", "odd") and not isinstance(value, (int, float)):
            raise SecurityError(f"only a number can be {name}")  # a text would be formatted by %
        if args:  # a comparison; the others look at the type alone
            value = budget.charged(value)
        return plain.call_test(name, value, [budget.charged(arg) for arg in args], context=context)

    return charging


def _is_callable_here(environment: BoundedEnvironment, value: Any, owner: Any) -> bool:
    known = (Macro, LoopContext, Undefined)
    return (
        isinstance(value, known)
        or isinstance(owner, LoopContext)
        or any(value is known_here for known_here in environment.globals.values())
    )


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str = "") -> None:
    raise ValueError(message)


def _strftime_now(form: str) -> str:
    """The fixed date in that form. Directives have no width, for the C library would take one of any size."""
    if len(form) > 200 or not re.fullmatch(r"([^%]|%[-_0^#]?[A-Za-z%])*", form):
        raise SecurityError("a date in that form")
    return DATE.strftime(form)


def compiled(source: str, **texts: str) -> Callable[..., str]:
    """`render(messages=..., thinking=...)` of a template, as transformers renders it, with a generation prompt.

    Raises whatever Jinja2 and Python raise of a template that does not compile.
    """
    environment = BoundedEnvironment()
    template = environment.compiled(source)
    return partial(_render, environment, template, texts)


def _render(
    environment: BoundedEnvironment,
    template: Template,
    texts: dict[str, str],
    messages: list[dict],
    thinking: bool = False,
) -> str:
    characters = sum(len(str(message["content"])) for message in messages)
    environment.budget.left = UNITS + UNITS_A_MESSAGE * len(messages) + UNITS_A_CHARACTER * characters
    return template.render(
        messages=messages,
        add_generation_prompt=True,
        tools=None,
        documents=None,
        enable_thinking=thinking,
        date_string="26 Jul 2024",
        **texts,
    )
