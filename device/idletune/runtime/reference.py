"""Writes the reference page of the Python API: `python -m idletune.runtime.reference > docs/python-api.md`."""

import inspect
import re

from .opened_home import OpenedHome
from .runtime import Runtime

OPENING = """# The Python API

Written by `python -m idletune.runtime.reference > docs/python-api.md` from the code.

```python
from pathlib import Path

from idletune.runtime import Runtime

with Runtime(Path("~/my-home").expanduser(), Path("model.gguf")) as runtime:
    print(runtime.chat("What may my dog eat?").text)
```

`Runtime` is the one object for commands, RPC and programs of one's own. Errors are `UsageError` (wrong use or input;
the message names the next step), its `StorageError`, and `DamagedDataError` (a file or the state cannot be trusted).
"""


def page() -> str:
    """The page in Markdown."""
    parts, methods = [], []
    for name, member in {**vars(OpenedHome), **vars(Runtime)}.items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            parts.append(_part(name, member))
        else:
            methods.append(_method(name, member))
    rows = "| part | type | |\n|---|---|---|\n" + "".join(parts)
    opened = _method("Runtime", Runtime.__init__, inspect.getdoc(Runtime))
    return "\n".join([OPENING, opened, "## Parts\n", rows, "## Methods\n", *methods]).rstrip("\n") + "\n"


def _part(name: str, member: property) -> str:
    kind = inspect.signature(member.fget).return_annotation if member.fget else ""
    return f"| `{name}` | `{_type(kind)}` | {inspect.getdoc(member)} |\n"


def _method(name: str, function: object, help: str | None = None) -> str:
    """A heading, the signature without `self`, and the docstring. AssertionError for a method without one."""
    help = help or inspect.getdoc(function)
    assert help and callable(function), f"Runtime.{name} has no docstring"
    signature = inspect.signature(function)
    parameters = [_parameter(p) for p in signature.parameters.values() if p.name != "self"]
    result = (
        "" if signature.return_annotation in (None, inspect.Signature.empty) else _type(signature.return_annotation)
    )
    arrow = f" -> {result}" if result else ""
    one_line = f"{name}({', '.join(parameters)}){arrow}"
    inner = ",\n    ".join(parameters)
    shown = one_line if len(one_line) <= 100 else f"{name}(\n    {inner},\n){arrow}"
    return f"### {name}\n\n```python\n{shown}\n```\n\n{help}\n"


def _parameter(parameter: inspect.Parameter) -> str:
    kind = "" if parameter.annotation is inspect.Parameter.empty else f": {_type(parameter.annotation)}"
    if parameter.default is inspect.Parameter.empty:
        return f"{parameter.name}{kind}"
    default = parameter.default
    shown = "..." if callable(default) or default == float("inf") else repr(default)
    return f"{parameter.name}{kind} = {shown}"


def _type(annotation: object) -> str:
    """A type as one writes it, without the names of modules."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return re.sub(r"(?:\w+\.)+(?=\w)", "", str(annotation)).replace("NoneType", "None")


if __name__ == "__main__":
    print(page(), end="")
