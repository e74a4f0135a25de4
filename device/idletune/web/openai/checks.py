"""What the bodies of both kinds of completion have in common: how they are sampled, and what is refused."""

from dataclasses import dataclass
from typing import Any

from ..answers import Refused

LARGEST_SEED = 2**32
# What is not done here, with the values that ask for nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "logit_bias": (None, {}),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
}


@dataclass(frozen=True)
class Asked:
    """What a client asked for; `params` are those of the method that answers it."""

    params: dict[str, Any]
    stream: bool
    include_usage: bool

    @classmethod
    def of(cls, body: dict, params: dict[str, Any]) -> "Asked":
        """Refused (400) for what is wrong. Fields that nobody knows are ignored."""
        options = _typed(body, "stream_options", dict, "an object") or {}
        stream = bool(_typed(body, "stream", bool, "a boolean"))
        return cls({**params, **_sampling(body)}, stream, bool(options.get("include_usage")))


def refuse(body: dict, further: dict[str, tuple[Any, ...]]) -> None:
    """Refused (400) where the body asks for what is not done here."""
    for name, harmless in {**REFUSED, **further}.items():
        if (value := body.get(name)) not in harmless or isinstance(value, bool) != (value is False):
            raise unsupported(name, "is not supported here")


def unsupported(param: str, problem: str) -> Refused:
    return Refused(400, "unsupported_parameter", f"{param} {problem}", param)


def wrong(param: str, problem: str) -> Refused:
    return Refused(400, "invalid_value", f"{param} {problem}", param)


def _sampling(body: dict) -> dict[str, Any]:
    longest = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    found = {
        "max_tokens": _number(body, longest, int, 1, 2**31 - 1),
        "temperature": _number(body, "temperature", (int, float), 0, 2),
        "top_p": _number(body, "top_p", (int, float), 0, 1),
        "seed": _number(body, "seed", int, -(2**63), 2**64),
        "stop": _stops(body.get("stop")),
    }
    if found["seed"] is not None:
        found["seed"] %= LARGEST_SEED
    return {name: value for name, value in found.items() if value is not None}


def _stops(value: object) -> list[str] | None:
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return None
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise wrong("stop", "is to be a text or a list of texts")
    return [text for text in stops if text]


def _number(body: dict, name: str, kind: type | tuple[type, ...], least: float, most: float) -> Any:
    value = _typed(body, name, kind, "a whole number" if kind is int else "a number")
    if value is not None and not least <= value <= most:  # NaN is neither
        raise wrong(name, f"is to be from {least:g} to {most:g}")
    return value


def _typed(body: dict, name: str, kind: type | tuple[type, ...], told: str) -> Any:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise wrong(name, f"is to be {told}")
    return value
