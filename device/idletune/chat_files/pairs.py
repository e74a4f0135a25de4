"""Files with a question and its answer in each record: Alpaca's, and OpenAI's older prompts and completions.

Sources: github.com/tatsu-lab/stanford_alpaca ("Data Release"); platform.openai.com/docs/api-reference/fine-tuning,
legacy completions format.
"""

from collections.abc import Iterable, Iterator

from ..dialogue import Exchange
from .format import RecordFormat
from .messages import Message, Skipped, exchange, field


class Pairs(RecordFormat):
    """A record is an exchange of its own."""

    question: str
    answer: str
    input = ""

    def fits(self, record: dict) -> bool:
        return self.question in record and self.answer in record

    def messages(self, record: dict) -> Iterable[Message | Skipped]:
        asked = [field(record, self.question, str), field(record, self.input, str, "") if self.input else ""]
        return [
            Message(False, "\n\n".join(filter(None, map(str.strip, asked)))),
            Message(True, field(record, self.answer, str)),
        ]

    def exchanges(self, record: dict, place: str) -> Iterator[Exchange | Skipped]:
        asked, answered = self.messages(record)
        assert isinstance(asked, Message) and isinstance(answered, Message)
        yield exchange(asked.text, answered.text, None, place)


class Alpaca(Pairs):
    name, title = "alpaca", "Alpaca instructions"
    question, answer, input = "instruction", "output", "input"


class Completions(Pairs):
    name, title = "completions", "prompts and completions"
    question, answer = "prompt", "completion"
