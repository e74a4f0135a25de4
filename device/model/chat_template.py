"""From messages to tokens, with the model's own chat template: one way for answering and for training.

What a person wrote never becomes a control token: the text of one (`<|im_end|>`) inside a message is taken
apart before the template sees it, in training rows and in conversations alike.
"""

import json
from datetime import datetime
from functools import partial

import numpy as np

from ..errors import UsageError
from ..training.rows import IGNORED, Example

PLAIN = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}{{ 'assistant: ' }}"


class ChatTemplate:
    """Renders and tokenizes conversations. `engine` gives tokenize, control_texts and metadata."""

    def __init__(self, engine):
        self._engine = engine
        # A base model without a template still gets a fixed, learnable form.
        source = engine.metadata.get("tokenizer.chat_template") or PLAIN
        self._render = _compiled(source, eos_token=engine.text_of("eos"), bos_token=engine.text_of("bos"))
        self.end_of_turn = self._find_end_of_turn()

    def render(self, messages: list[dict]) -> str:
        """The conversation as text, up to where the assistant's next turn begins."""
        safe = [{**m, "content": neutralize(m["content"].strip(), self._engine.control_texts)} for m in messages]
        try:
            return self._render(messages=safe)
        except Exception as error:  # jinja2 raises whatever the template raises
            raise UsageError(f"the model's chat template refuses this conversation: {error}") from None

    def encode_prompt(self, messages: list[dict]) -> list[int]:
        text, first = self.render(messages), self._engine.text_of("bos")
        # Some templates write the first token themselves; once is enough.
        return self._engine.tokenize(text, special=True, begin=not (first and text.startswith(first)))

    def encode_reply(self, response: str) -> list[int]:
        """An assistant's turn as the model would have generated it: the text, then the end of the turn."""
        safe = neutralize(response.strip(), self._engine.control_texts)
        return [*self._engine.tokenize(safe, special=False), self.end_of_turn]

    def _find_end_of_turn(self) -> int:
        """The control token that the template writes after an assistant's turn (files often name another)."""
        spoken, asked = "a reply", {"role": "user", "content": "a question"}
        messages = [asked, {"role": "assistant", "content": spoken}, asked]  # some want the user's turn last
        try:
            _, found, after = self._render(messages=messages).rpartition(spoken)
        except Exception:  # one for single questions, say: whether it takes a conversation is seen when there is one
            return self._engine.end_of_text
        tokens = self._engine.tokenize(after, special=True) if found else []
        return tokens[0] if tokens and self._engine.is_end(tokens[0]) else self._engine.end_of_text

    def encode_exchange(
        self, question: str, response: str, system: str, shown: list[dict], longest: int | None,
        learn_question: bool = False,
    ) -> Example:
        """A training example: the prompt as `chat` sends it, the response and the end of turn as labels; with
        `learn_question` all from the question's first token on.

        What does not fit `longest` goes: of the exchanges shown before the question the first ones, then the end of
        the response, then the prompt's front.
        """
        prompt, reply = self.encode_prompt(conversation(question, system, shown)), self.encode_reply(response)
        if longest is not None:
            while shown and len(prompt) + len(reply) > longest:
                shown = shown[2:]
                prompt = self.encode_prompt(conversation(question, system, shown))
            reply = reply[: longest - 1]
            prompt = prompt[-max(1, longest - len(reply)) :]
        asked = self.question_range(prompt, question) if learn_question else None
        return labelled([*prompt, *reply], start=asked.start if asked and asked.start else len(prompt))

    def question_range(self, prompt: list[int], question: str) -> range | None:
        """Positions of the question's own tokens in its prompt; None where it is cut, or merged with what is around."""
        part = self._engine.tokenize(neutralize(question.strip(), self._engine.control_texts), special=False)
        start = find_last(prompt, part)
        return None if start is None else range(start, start + len(part))


def _compiled(source: str, **texts: str):
    """A template as transformers renders it: `render(messages=...)`, sandboxed, with a generation prompt.

    UsageError when it does not compile.
    """
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _generation_tags()]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        template = environment.from_string(source)
    except Exception as error:  # jinja2's own, or what Python says of the code made from it
        raise UsageError(f"the model's chat template does not compile ({error}); use another model") from None
    return partial(
        template.render, add_generation_prompt=True, raise_exception=_refuse, tools=None, documents=None,
        strftime_now=lambda form: datetime.now().strftime(form), **texts,
    )


def _generation_tags():
    from jinja2.ext import Extension

    class GenerationTags(Extension):
        """{% generation %} marks the assistant's turns for training libraries; it changes no text."""

        tags = {"generation"}

        def parse(self, parser):
            parser.stream.skip(1)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return GenerationTags


def _refuse(message: str):
    raise ValueError(message)


def conversation(question: str, system: str = "", shown: list[dict] = ()) -> list[dict]:
    """The messages of a single question, with turns shown before it."""
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *shown, {"role": "user", "content": question}]


def labelled(tokens: list[int], start: int) -> Example:
    """Tokens with the labels of those from `start` on: labels[i] is the token that follows position i."""
    labels = np.full(len(tokens), IGNORED, np.int32)
    labels[start - 1 : -1] = tokens[start:]
    return Example(np.array(tokens, np.int32), labels)


def neutralize(text: str, control_texts: list[str]) -> str:
    """Take apart the text of control tokens, so that it stays text."""
    for control in control_texts:
        if control in text:
            text = text.replace(control, control[:1] + " " + control[1:])
    return text


def find_last(tokens: list[int], part: list[int]) -> int | None:
    """Where `part` begins for the last time in `tokens`; None when it does not occur."""
    for start in range(len(tokens) - len(part), -1, -1):
        if part and tokens[start : start + len(part)] == part:
            return start
    return None
