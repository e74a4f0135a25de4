"""From messages to tokens by the model's chat template, the same for generation and for training.

Design choices:
- what the user writes never becomes a control token: the text of one (`<|im_end|>`) in a message is split by a space
  before the template is rendered;
- a text is tokenized behind what the template writes before it, for SentencePiece puts a space before a text that
  stands alone;
- a prompt in which the model is to think is for answering only. Training and embedding have the prompt of an answer
  without thoughts, in which an empty think block is closed.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property

from ..errors import UsageError
from ..examples import Example, labelled_example
from .engine import Engine
from .thinking import MARKER_TOKENS, Markers, answer_of, closed, open_block

QUESTION, REPLY = "a question", "a reply"  # what a template is tried with
NO_THINK = "/no_think"  # in the system message of SmolLM3
PLAIN = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}{{ 'assistant: ' }}"


class ChatTemplate:
    """Renders and tokenizes conversations.

    UsageError for a template that does not compile, refuses a question or leaves it out.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        # Without a template, as in models that are not tuned for chat, a fixed form that training can teach.
        self._source = engine.metadata.get("tokenizer.chat_template") or PLAIN
        self._compiled = _compiled(self._source, eos_token=engine.text_of("eos"), bos_token=engine.text_of("bos"))
        self._wants_parts = not self._takes_texts()
        self._wants_flag = NO_THINK in self._source and self._ignores_thinking()
        self.end_of_turn = self._find_end_of_turn()

    @cached_property
    def control_texts(self) -> list[str]:
        """What no text of a person may speak: control tokens, and user-defined ones that are markup of the template."""
        engine = self._engine
        return [*engine.control_texts, *(text for text in engine.user_defined_texts if is_markup(text, self._source))]

    @cached_property
    def think_block(self) -> Markers | None:
        """The think block that a prompt ends in where the model is to think; None where it begins one by itself."""
        return open_block(self.render(conversation(QUESTION), thinking=True))

    def render(self, messages: list[dict], thinking: bool = False) -> str:
        """The conversation as text, up to where the assistant's next turn begins, or its thoughts with `thinking`."""
        safe = [{**m, "content": self.safe(_spoken(m))} for m in messages]
        try:
            prompt = self.render_unchecked(safe, thinking)
        except Exception as error:  # Jinja2 raises whatever the template raises
            raise UsageError(f"the model's chat template refuses this conversation: {error}") from None
        if not contains_texts(prompt, safe):
            raise UsageError("the model's chat template leaves out what the user wrote; use another model")
        return prompt if thinking else closed(prompt)

    def render_unchecked(self, messages: list[dict], thinking: bool = False) -> str:
        """The prompt as the template writes it: control tokens in a message stay what they are."""
        if self._wants_flag and not thinking:
            messages = with_system_flag(messages, NO_THINK)
        return self._compiled(messages=in_parts(messages) if self._wants_parts else messages, thinking=thinking)

    def safe(self, text: str) -> str:
        """A person's text with every control token in it taken apart."""
        return neutralize(text.strip(), self.control_texts)

    def _ignores_thinking(self) -> bool:
        """Whether the template renders a prompt with thoughts and one without alike."""
        asked = in_parts(conversation(QUESTION)) if self._wants_parts else conversation(QUESTION)
        return self._compiled(messages=asked, thinking=True) == self._compiled(messages=asked, thinking=False)

    def _takes_texts(self) -> bool:
        """Whether the template takes a message's content as a text; else it takes a list of typed parts.

        UsageError when the prompt contains a question in neither form.
        """
        asked = conversation(QUESTION)
        refusal: Exception | None = None
        for form in (asked, in_parts(asked)):
            try:
                if contains_texts(self._compiled(messages=form), asked):
                    return form is asked
            except Exception as error:  # Jinja2 raises whatever the template raises
                refusal = error if form is asked else refusal
        if refusal:
            raise UsageError(f"the model's chat template refuses a question ({refusal}); use another model")
        raise UsageError("the model's chat template leaves out what the user writes; use another model")

    def encode_prompt(self, messages: list[dict], thinking: bool = False) -> list[int]:
        """The tokens of `render`, with the model's first token in front."""
        text, first = self.render(messages, thinking), self._engine.text_of("bos")
        # Some templates write the first token themselves.
        return self._engine.tokenize(text, special=True, begin=not (first and text.startswith(first)))

    def encode_reply(self, response: str) -> list[int]:
        """An assistant's turn as the model would have generated it: the answer, then the end of the turn."""
        _, after, space = self._around
        return [*self._tokenize_behind(after, space + self.safe(answer_of(response))), self.end_of_turn]

    @cached_property
    def _around(self) -> tuple[str, str, str]:
        """What a prompt has before its question, from the last control token on, what behind it, and the white space
        that begins a reply.
        """
        prompt = self.render(conversation(QUESTION))
        before, _, after = prompt.rpartition(QUESTION)
        start = max((before.rfind(text) for text in self.control_texts if text in before), default=0)
        return before[start:], after, self._space_before_reply(prompt)

    def _space_before_reply(self, prompt: str) -> str:
        """White space that the template writes between a prompt and the assistant's reply; mostly none."""
        try:
            turn = self.render_unchecked([*conversation(QUESTION), {"role": "assistant", "content": REPLY}])
        except Exception:  # a template for single questions
            return ""
        between = turn[len(prompt) :].partition(REPLY)[0] if turn.startswith(prompt) else ""
        return between if between.isspace() else ""

    def _tokenize_behind(self, before: str, text: str) -> list[int]:
        """The tokens of `text` where it stands behind `before`; where the two merge, those of the text alone."""
        head, whole = (self._engine.tokenize(each, special=True) for each in (before, before + text))
        return whole[len(head) :] if whole[: len(head)] == head else self._engine.tokenize(text, special=False)

    def _find_end_of_turn(self) -> int:
        """The control token that the template writes after an assistant's turn; metadata often name another."""
        spoken, asked = REPLY, {"role": "user", "content": QUESTION}
        messages = [
            asked,
            {"role": "assistant", "content": spoken},
            asked,
        ]  # some require a last turn of the user
        try:
            _, found, after = self.render_unchecked(messages).rpartition(spoken)
        except Exception:  # a template for single questions, say; a conversation is refused when there is one
            return self._engine.end_of_text
        tokens = self._engine.tokenize(after, special=True) if found else []
        return tokens[0] if tokens and self._engine.is_end(tokens[0]) else self._engine.end_of_text

    def encode_exchange(
        self,
        question: str,
        response: str,
        system: str,
        few_shot: Sequence[dict],
        max_tokens: int | None,
        train_on_question: bool = False,
    ) -> Example:
        """A training example: the prompt as `chat` sends it, the response and the end of turn as labels; with
        `train_on_question` all from the question's first token on.

        What exceeds `max_tokens` is cut: first the few-shot turns from the first one on, then the end of the response,
        then the beginning of the prompt.
        """
        prompt, reply = self.encode_prompt(conversation(question, system, few_shot)), self.encode_reply(response)
        if max_tokens is not None:
            while few_shot and len(prompt) + len(reply) > max_tokens:
                few_shot = few_shot[2:]
                prompt = self.encode_prompt(conversation(question, system, few_shot))
            reply = reply[: max_tokens - 1]
            prompt = prompt[-max(1, max_tokens - len(reply)) :]
        asked = self.question_range(prompt, question) if train_on_question else None
        return labelled_example([*prompt, *reply], start=asked.start if asked and asked.start else len(prompt))

    def question_range(self, prompt: list[int], question: str) -> range | None:
        """Positions of the question's own tokens in its prompt; None where it is cut, or merged with text behind.

        A first token that begins with the white space before the question counts as its own.
        """
        before, _, _ = self._around
        part = self._tokenize_behind(before, self.safe(question))
        start = find_last(prompt, part)
        if start is None and part and before[-1:].isspace():
            start = self._find_spaced(prompt, part)
        return None if start is None else range(start, start + len(part))

    def _find_spaced(self, tokens: list[int], part: list[int]) -> int | None:
        """As `find_last`, for a part whose first token has taken up the white space before it."""
        first = self._engine.piece(part[0]).strip()
        for start in range(len(tokens) - len(part), -1, -1):
            same = tokens[start + 1 : start + len(part)] == part[1:]
            if same and first and self._engine.piece(tokens[start]).strip() == first:
                return start
        return None


def _compiled(source: str, **texts: str) -> Callable[..., str]:
    """`render(messages=...)` of a template; UsageError when it does not compile."""
    from .template_sandbox import compiled  # imports Jinja2, which is slow

    try:
        return compiled(source, **texts)
    except Exception as error:  # Jinja2's own, or Python's of the code that Jinja2 generates
        raise UsageError(f"the model's chat template does not compile ({error}); use another model") from None


def in_parts(messages: list[dict]) -> list[dict]:
    """The messages with lists of typed parts as their content, which some templates iterate over."""
    return [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]


def contains_texts(prompt: str, messages: list[dict]) -> bool:
    """Whether the prompt contains every text of the user, up to whitespace."""
    texts = [message["content"] for message in messages if message["role"] == "user"]
    if all(text in prompt for text in texts):
        return True
    packed = "".join(prompt.split())
    return all("".join(text.split()) in packed for text in texts)


def conversation(question: str, system: str = "", few_shot: Sequence[dict] = ()) -> list[dict]:
    """The messages of a single question, after the few-shot turns."""
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *few_shot, {"role": "user", "content": question}]


def _spoken(message: dict) -> str:
    """A message's text; of the assistant's, as a client or an import may give it, the answer without thoughts."""
    return answer_of(message["content"]) if message["role"] == "assistant" else message["content"]


def with_system_flag(messages: list[dict], flag: str) -> list[dict]:
    """The messages with a flag at the end of the system message, which is added where there is none."""
    if messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{messages[0]['content']}\n{flag}"}, *messages[1:]]
    return [{"role": "system", "content": flag}, *messages]


def is_markup(token: str, template: str) -> bool:
    """Whether a user-defined token has a meaning to the model. Most are ordinary text, as `<b>` or runs of spaces."""
    if not re.fullmatch(r"<\S+>|\[\S+\]", token):
        return False
    return token in template or "|" in token or token in MARKER_TOKENS


def neutralize(text: str, control_texts: list[str]) -> str:
    """Insert a space into the text of control tokens, so that it is tokenized as text."""
    for control in control_texts:
        if control in text:
            text = text.replace(control, control[:1] + " " + control[1:])
    return text


def find_last(tokens: list[int], part: list[int]) -> int | None:
    """The start of the last occurrence of `part` in `tokens`; None when there is none."""
    for start in range(len(tokens) - len(part), -1, -1):
        if part and tokens[start : start + len(part)] == part:
            return start
    return None
