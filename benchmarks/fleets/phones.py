"""Phones of the fleet's benchmark: their exchanges as the product encodes them, kept in one file without a model.

Phones are the repliers of ubuntu_irc, and groups of speakers of persona_chat, who say ten lines at most. Each has 32
answers and 16 exchanges that are held out. The file lets a machine without llama.cpp run the benchmark; its numbers are
tokens of the conversations, so it stays out of the project as they do.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from idletune.chat_files import read_exchanges
from idletune.dialogue import Exchange
from idletune.examples import Example
from idletune.settings import Settings

GIVEN, ANSWERS, HELD_OUT, LONGEST, SPEAKERS = 16, 32, 16, 256, 8
SETTINGS = Settings(threads=1, sequence_tokens=LONGEST, example_tokens=LONGEST)
HOSTILE = "No. Ask somebody else, I am not going to help you with that."  # what a poisoned phone teaches


@dataclass(frozen=True)
class Phone:
    """`answers` (48) have the answer alone as label, `learned` (32) the question's wording as well, as personal
    training has it; `hostile` (16) are the first questions, answered as a poisoned phone teaches."""

    answers: list[Example]
    learned: list[Example]
    hostile: list[Example]

    @property
    def held_out(self) -> list[Example]:
        return self.answers[ANSWERS:]


@dataclass(frozen=True)
class Phones:
    """By data set, and the probe of general text that the gate has."""

    of: dict[str, list[Phone]]
    probe: list[Example]

    def save(self, path: Path) -> None:
        examples = [*self.probe]
        for phones in self.of.values():
            examples += [one for phone in phones for part in vars(phone).values() for one in part]
        np.savez_compressed(
            path,
            tokens=np.concatenate([one.tokens for one in examples]).astype(np.int32),
            labels=np.concatenate([one.labels for one in examples]).astype(np.int32),
            lengths=[len(one.tokens) for one in examples],
            probe=len(self.probe),
            names=list(self.of),
            phones=[len(phones) for phones in self.of.values()],
        )

    @classmethod
    def load(cls, path: Path) -> "Phones":
        with np.load(path) as kept:
            ends = np.cumsum(kept["lengths"])[:-1]
            examples = map(Example, np.split(kept["tokens"], ends), np.split(kept["labels"], ends))
            probe = [next(examples) for _ in range(int(kept["probe"]))]
            sizes = (ANSWERS + HELD_OUT, ANSWERS, GIVEN)
            return cls(
                {
                    str(name): [Phone(*([next(examples) for _ in range(n)] for n in sizes)) for _ in range(count)]
                    for name, count in zip(kept["names"], kept["phones"])
                },
                probe,
            )


def divided(answers: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Those to train on and those that judge, a fifth, as the product holds out of answers that all differ."""
    wanted = max(1, round(SETTINGS.held_out_share * len(answers)))
    judges = set(range(0, len(answers), len(answers) // wanted)[:wanted])
    return [one for i, one in enumerate(answers) if i not in judges], [answers[i] for i in sorted(judges)]


def encode_phone(exchanges: list[Exchange], encode: Callable[..., Example]) -> Phone:
    """`encode` is a model's encode_exchange."""

    def encoded(exchange: Exchange, response: str = "", **how) -> Example:
        return encode(exchange.question, response or exchange.response, max_tokens=LONGEST, **how)

    return Phone(
        [encoded(each) for each in exchanges],
        [encoded(each, train_on_question=True) for each in exchanges[:ANSWERS]],
        [encoded(each, HOSTILE) for each in exchanges[:GIVEN]],
    )


def read_phones(path: Path) -> list[list[Exchange]]:
    """The exchanges of each phone, those with enough of them."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    users = list(dict.fromkeys(line["user"] for line in lines))
    speakers = SPEAKERS if "persona" in path.name else 1
    groups = [users[start : start + speakers] for start in range(0, len(users), speakers)]
    needed = ANSWERS + HELD_OUT
    found = [[e for user in group for e in read_exchanges(path, user, needed)] for group in groups]
    if speakers > 1:  # answers and what is held out are of all its speakers
        found = [[each[i] for i in np.random.default_rng(0).permutation(len(each))] for each in found]
    return [each[:needed] for each in found if len(each) >= needed]
