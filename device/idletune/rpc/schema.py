"""What a method takes and gives, declared once: checked at each call, printed on the reference page.

A small part of JSON Schema, as plain dataclasses: the device needs no package for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from .errors import INVALID_PARAMS, TOO_LARGE, RpcError

LONGEST_TEXT = 64 * 1024  # characters
LONGEST_PATH = 4096
LARGEST_ID = 2**63 - 1  # what SQLite holds
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


@dataclass(frozen=True)
class Field:
    """A named value. `type` is JSON's name for it; `longest` counts a string's characters."""

    name: str
    type: str
    help: str
    required: bool = True
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    longest: int = LONGEST_TEXT
    is_path: bool = False
    nullable: bool = False

    def check(self, value: object) -> None:
        """RpcError (invalid_params or too_large) unless `value` is what is declared."""
        if value is None and self.nullable:
            return
        if not isinstance(value, TYPES[self.type]) or isinstance(value, bool) != (self.type == "boolean"):
            raise self._wrong(f"takes {self.type}, not {_name(value)}")
        if self.choices and value not in self.choices:
            raise self._wrong(f"takes one of {', '.join(self.choices)}")
        if isinstance(value, str):
            self._check_text(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_number(value)

    def to_schema(self) -> dict:
        """The same as JSON Schema."""
        limits = {
            "enum": list(self.choices) or None,
            "minimum": self.least,
            "maximum": self.most,
            "maxLength": self.longest if self.type == "string" and not self.choices else None,
        }
        kind = [self.type, "null"] if self.nullable else self.type
        return {"type": kind, "description": self.help, **{k: v for k, v in limits.items() if v is not None}}

    def _check_text(self, value: str) -> None:
        if len(value) > self.longest:
            problem = f"has {len(value)} characters; {self.longest} are the limit"
            raise RpcError(TOO_LARGE, f"parameter {self.name} {problem}")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise self._wrong(f"has half a character at position {error.start}; send whole Unicode text") from None
        if self.is_path and (not value or "\0" in value):
            raise self._wrong("takes a path, of one character or more, none of them NUL")

    def _check_number(self, value: int | float) -> None:
        if isinstance(value, float) and not isfinite(value):
            raise self._wrong("takes a finite number")
        if self.least is not None and value < self.least:
            raise self._wrong(f"must be at least {self.least}")
        if self.most is not None and value > self.most:
            raise self._wrong(f"must be at most {self.most}")

    def _wrong(self, problem: str) -> RpcError:
        return RpcError(INVALID_PARAMS, f"parameter {self.name} {problem}")


@dataclass(frozen=True)
class Method:
    """A method: its declaration and the function behind it, called with the call's context and its parameters."""

    name: str
    help: str
    params: tuple[Field, ...]
    result: tuple[Field, ...]
    run: Callable[..., dict]

    def check(self, params: object) -> dict:
        """The parameters by name, each as declared; RpcError otherwise."""
        if not isinstance(params, dict):
            raise RpcError(INVALID_PARAMS, f"{self.name} takes its parameters by name, in an object")
        known = {field.name: field for field in self.params}
        for name, value in params.items():
            if name not in known:
                names = ", ".join(known) or "none"
                raise RpcError(INVALID_PARAMS, f"{self.name} has no parameter {name[:40]!r}; it takes: {names}")
            known[name].check(value)
        for field in self.params:
            if field.required and field.name not in params:
                raise RpcError(INVALID_PARAMS, f"{self.name} needs the parameter {field.name}: {field.help}")
        return params


def text(name: str, help: str, **limits: Any) -> Field:
    return Field(name, "string", help, **limits)


def path(name: str, help: str, **limits: Any) -> Field:
    return Field(name, "string", help, longest=LONGEST_PATH, is_path=True, **limits)


def number(name: str, help: str, **limits: Any) -> Field:
    return Field(name, "number", help, **limits)


def integer(name: str, help: str, **limits: Any) -> Field:
    return Field(name, "integer", help, **limits)


def identifier(name: str, help: str, **limits: Any) -> Field:
    """The number of a row in the state."""
    return Field(name, "integer", help, least=1, most=LARGEST_ID, **limits)


def boolean(name: str, help: str, **limits: Any) -> Field:
    return Field(name, "boolean", help, **limits)


def object_(name: str, help: str, **limits: Any) -> Field:
    return Field(name, "object", help, **limits)


def array(name: str, help: str, **limits: Any) -> Field:
    return Field(name, "array", help, **limits)


def _name(value: object) -> str:
    """JSON's name for a value's type."""
    if value is None:
        return "null"
    return next(name for name in ("boolean", *TYPES) if isinstance(value, TYPES[name]))
