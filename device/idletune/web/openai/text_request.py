"""The body of POST /v1/completions: checked, and turned into the parameters of the method `continue_text`."""

from typing import Any

from .checks import Asked, refuse, wrong

# What is not done here, with the values that ask for nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    "suffix": (None, ""),
    "echo": (None, False),
    "logprobs": (None,),
    "best_of": (None, 1),
}


def text_request(body: dict) -> Asked:
    """What the client asked for. Refused (400) for what is wrong, or not done here."""
    refuse(body, REFUSED)
    return Asked.of(body, {"text": _prompt(body.get("prompt"))})


def _prompt(value: object) -> str:
    prompts = [value] if isinstance(value, str) else value
    if not isinstance(prompts, list) or len(prompts) != 1 or not isinstance(prompts[0], str):
        raise wrong("prompt", "is to be one text; several at once, and lists of tokens, are not supported here")
    return prompts[0]
