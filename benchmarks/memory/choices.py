"""Questions with choices: the base model takes the one that it finds likeliest behind what it is shown."""

from dataclasses import dataclass

import numpy as np
from idletune.dialogue import Exchange
from idletune.examples import labelled_example
from idletune.model.base_model import BaseModel


@dataclass(frozen=True)
class Choice:
    """A question with its choices, of which the one numbered `right` is right; `said` is what was said before it."""

    question: str
    choices: list[str]
    right: int
    said: list[Exchange]


def pick(model: BaseModel, prompt: list[int], choices: list[str]) -> int:
    """The number of the choice whose tokens are likeliest on average as the reply to a prompt."""
    losses = []
    for choice in choices:
        reply = model.template.encode_reply(choice)
        total, tokens = model.negative_log_likelihood([labelled_example([*prompt, *reply], start=len(prompt))])
        losses.append(total / tokens)
    return int(np.argmin(losses))
