"""Examples under lists of names in one small file: what travels to the machine that trains.

An example is its tokens and where its labels begin (examples.labelled_example), so a few MB hold tens of thousands.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from idletune.examples import Example, labelled_example


class ExamplesFile:
    """Lists of examples by name ("dolly/|held_out"), equal ones kept once; `facts` is any JSON beside them."""

    def __init__(self) -> None:
        self.facts: dict = {}
        self._numbers: dict[tuple[bytes, int], int] = {}
        self._examples: list[Example] = []
        self._lists: dict[str, list[int]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._lists

    def __getitem__(self, name: str) -> list[Example]:
        return [self._examples[number] for number in self._lists[name]]

    def __setitem__(self, name: str, examples: Iterable[Example]) -> None:
        self._lists[name] = [self._number(example) for example in examples]

    def _number(self, example: Example) -> int:
        key = example.tokens.astype(np.int32).tobytes(), start_of(example)
        if key not in self._numbers:
            self._numbers[key] = len(self._examples)
            self._examples.append(example)
        return self._numbers[key]

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            tokens=np.concatenate([example.tokens for example in self._examples]).astype(np.int32),
            lengths=[len(example.tokens) for example in self._examples],
            starts=[start_of(example) for example in self._examples],
            told=json.dumps({"facts": self.facts, "lists": self._lists}),
        )

    @classmethod
    def read(cls, path: Path) -> "ExamplesFile":
        found = cls()
        with np.load(path) as kept:
            told = json.loads(str(kept["told"]))
            parts = np.split(kept["tokens"], np.cumsum(kept["lengths"])[:-1])
            found._examples = [labelled_example(tokens.tolist(), int(n)) for tokens, n in zip(parts, kept["starts"])]
        found.facts, found._lists = told["facts"], told["lists"]
        keys = [(example.tokens.tobytes(), start_of(example)) for example in found._examples]
        found._numbers = {key: number for number, key in enumerate(keys)}
        return found


def start_of(example: Example) -> int:
    """Where the labelled tokens begin; their number where none is labelled."""
    at = np.flatnonzero(example.labels >= 0)
    return int(at[0]) + 1 if len(at) else len(example.tokens)
