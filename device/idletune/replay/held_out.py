"""The exchanges that are never trained on: what they measure, before and after."""

from __future__ import annotations

from collections.abc import Sequence

from ..dialogue import Exchange
from ..examples import Example
from ..learning.rouge import rouge1
from ..model.chat_template import conversation
from ..progress import Bars
from ..runtime import Runtime
from .report import Measure

Turns = list[dict]  # messages of the chat template


class HeldOut:
    """Losses of `count` of the exchanges, evenly spaced in time, and greedy answers to their questions."""

    def __init__(self, runtime: Runtime, exchanges: list[Exchange], reply_tokens: int, count: int, bars: Bars):
        self.runtime, self.reply_tokens, self.bars = runtime, reply_tokens, bars
        self.exchanges = [exchanges[number * len(exchanges) // count] for number in range(count)]

    def measure(self, label: str, few_shot: Sequence[Turns] | None = None) -> Measure:
        """With the model as it is now, in llama.cpp. `few_shot`: turns to show before each of the questions."""
        model, turns = self.runtime.model, few_shot or [[] for _ in self.exchanges]
        with self.bars(label, len(self.exchanges)) as bar:
            total, tokens = model.negative_log_likelihood(self.examples(turns))
            replies = model.generate(
                [self.prompt(e, shown) for e, shown in zip(self.exchanges, turns)],
                max_tokens=self.reply_tokens,
                temperature=0.0,
                top_p=1.0,
                seeds=[self.runtime.settings.seed] * len(self.exchanges),
                progress=bar,
            )
        answers = [reply.text for reply in replies]
        scores = [rouge1(answer, e.response) for answer, e in zip(answers, self.exchanges)]
        return Measure(total / tokens, sum(scores) / len(scores), tokens, answers)

    def few_shot(self) -> list[Turns]:
        """The answered exchanges that a new conversation shows before each of the questions."""
        found = []
        for exchange in self.exchanges:
            self.runtime.new_conversation()
            found.append(self.runtime.retrieved(exchange.question))
        return found

    def examples(self, few_shot: Sequence[Turns]) -> list[Example]:
        """The exchanges as examples; turns shown before one do not take of its own tokens."""
        model, s = self.runtime.model, self.runtime.settings
        return [
            model.encode_exchange(
                e.question,
                e.response,
                system=s.system,
                few_shot=turns,
                max_tokens=s.context_tokens if turns else s.example_tokens,
            )
            for e, turns in zip(self.exchanges, few_shot)
        ]

    def prompt(self, exchange: Exchange, few_shot: Turns) -> list[int]:
        """Tokens of the prompt for the exchange's question, cut to what the context holds."""
        messages = conversation(exchange.question, self.runtime.settings.system, few_shot)
        return self.runtime.model.truncate_history(messages, self.reply_tokens, len(few_shot))[0]
