"""Objects of OpenAI's API: a completion, a chunk of a streamed one, a model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OWNER = "idletune"
FINISH = {"end": "stop", "length": "length"}
# Thoughts stand where several servers put them; OpenAI's own API shows none.
PARTS = {"event.chat_text": "content", "event.chat_thought": "reasoning_content"}


@dataclass(frozen=True)
class Form:
    """How a kind of completion looks: what its choice says, of a whole answer and of a piece of a streamed one."""

    whole_object: str
    chunk_object: str
    whole: Callable[[dict], dict]  # of the method's result
    piece: Callable[[str, str, bool], dict]  # of an event's name and text; True for the first one
    end: dict

    def answer(self, result: dict, model_id: str, created: int) -> dict:
        """The whole answer; `result` is that of the method."""
        choice = {"index": 0, **self.whole(result), "logprobs": None, "finish_reason": FINISH[result["stop"]]}
        return {
            **_head(result["completion"], self.whole_object, model_id, created),
            "system_fingerprint": fingerprint(result),
            "choices": [choice],
            "usage": usage(result),
        }

    def chunk(
        self, id: str, model_id: str, created: int, said: dict | None, finish: str | None = None, **further: Any
    ) -> dict:
        """A part of a streamed answer; with nothing `said` it has no choice (the one that tells the usage)."""
        choice = {"index": 0, **(said or {}), "logprobs": None, "finish_reason": finish}
        head = _head(id, self.chunk_object, model_id, created)
        return {**head, "choices": [] if said is None else [choice], **further}


def _message(result: dict) -> dict:
    message = {"role": "assistant", "content": result["text"], "refusal": None}
    if "thoughts" in result:
        message["reasoning_content"] = result["thoughts"]
    return {"message": message}


def _delta(event: str, text: str, first: bool) -> dict:
    role = {"role": "assistant", "content": ""} if first else {}
    return {"delta": {**role, PARTS[event]: text}}


CHAT = Form("chat.completion", "chat.completion.chunk", _message, _delta, {"delta": {}})
TEXT = Form(
    "text_completion",
    "text_completion",
    lambda result: {"text": result["text"]},
    lambda event, text, first: {"text": text},
    {"text": ""},
)


def model(id: str) -> dict:
    return {"id": id, "object": "model", "created": 0, "owned_by": OWNER}


def usage(result: dict) -> dict:
    read, written = result["prompt_tokens"], result["tokens"]
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": result["cached_tokens"]},
    }


def fingerprint(result: dict) -> str:
    """Which adapter answered: another one answers otherwise, also with the same seed."""
    return "base" if result["adapter"] is None else f"adapter-{result['adapter']}"


def _head(id: str, kind: str, model_id: str, created: int) -> dict:
    return {"id": id, "object": kind, "created": created, "model": model_id}
