"""What the stages of a training run share."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...examples import Example
from ...model.base_model import BaseModel
from ...progress import Bars
from ...selection.buffer import Buffer
from ...settings import Settings
from ...state.store import Store
from ..adapters import Adapters
from ..answered import AnsweredSet
from ..cancellation import Cancellation
from ..serving import serve


@dataclass(frozen=True)
class Context:
    store: Store
    buffer: Buffer
    adapters: Adapters
    model: BaseModel
    settings: Settings
    cancellation: Cancellation
    bars: Bars

    def encode(
        self, question: str, response: str, train_on_question: bool = False, few_shot: Sequence[dict] = ()
    ) -> Example:
        s = self.settings
        return self.model.encode_exchange(
            question,
            response,
            system=s.system,
            few_shot=few_shot,
            max_tokens=s.example_tokens,
            train_on_question=train_on_question,
        )

    def encode_all(self, sets: list[AnsweredSet]) -> list[Example]:
        """With the answers alone as labels."""
        return [self.encode(s.question, s.response) for s in sets]

    def serve_promoted(self) -> None:
        serve(self.model, self.adapters)
