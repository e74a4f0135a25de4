"""Prompts as the product makes them: the exchanges found first stand before the question, as turns."""

from collections.abc import Sequence

from idletune.dialogue import Exchange
from idletune.model.base_model import BaseModel
from idletune.selection.retrieval import few_shot_count
from idletune.settings import Settings


def prompt(model: BaseModel, exchanges: Sequence[Exchange], order: Sequence[int], question: str) -> list[int]:
    """The question behind the first exchanges of an order, as many as the product shows, the best last."""
    s, found = Settings(), [exchanges[number] for number in order]
    count = few_shot_count((_length(model, each) for each in found), s.retrieve, s.retrieve_tokens)
    turns = [turn for each in reversed(found[:count]) for turn in _turns(each)]
    return model.encode_prompt([*turns, {"role": "user", "content": question}])


def _length(model: BaseModel, exchange: Exchange) -> int:
    return len(model.tokenize(exchange.question)) + len(model.tokenize(exchange.response))


def _turns(exchange: Exchange) -> list[dict]:
    """No chat template takes an empty reply."""
    return [{"role": "user", "content": exchange.question}, {"role": "assistant", "content": exchange.response or "."}]
