"""The experiments as lists of jobs: what an adapter is trained on, in which form, and what it is judged by.

- as it comes: the product's settings on the answers that it kept, judged alone and behind what retrieval shows;
- few-shot: a share of the answers train behind those that retrieval shows for them, in rows of 256 or 768 tokens;
- forms: other adapters on the same answers;
- taps: typed answers, choices of a simulated user between two replies, and a coin's;
- thumbs: typed answers, and those of the model's replies that a simulated user finds good.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from idletune.examples import Example
from idletune.learning.few_shot import STREAM
from idletune.settings import Settings
from idletune.training.objective import Objective, TrainingData

from .examples_file import ExamplesFile
from .streams import KEPT, ONE_BY_ONE, TAPS

SEEDS = 3
CHOICE_WEIGHT = 0.5  # of a chosen reply beside a typed answer, where an arm says nothing else
LONGEST, LONG_ROWS = 256, 768
SHARES = ((0.5, LONGEST), (1.0, LONGEST), (0.0, LONG_ROWS), (0.5, LONG_ROWS), (1.0, LONG_ROWS))
RATE = Settings().learning_rate
RANK_8 = {"rank": 8, "alpha": Settings().alpha / 2}
FORMS: dict[str, dict] = {
    "rank 8": RANK_8,
    "upper quarter": {"top_share": 0.25},
    "down alone": {"targets": "down"},
    "A frozen": {},
    "all layers, rank 8": {**RANK_8, "top_share": 1.0},
    "attention as well": {"targets": "q,k,v,o,gate,up,down"},
    "attention alone": {"targets": "q,k,v,o"},
    "half the learning rate": {"learning_rate": RATE / 2},
    "twice the learning rate": {"learning_rate": RATE * 2},
    "rank 8, twice the rate": {**RANK_8, "learning_rate": RATE * 2},
    "upper quarter, twice the rate": {"top_share": 0.25, "learning_rate": RATE * 2},
    "down alone, twice the rate": {"targets": "down", "learning_rate": RATE * 2},
    "A frozen, twice the rate": {"learning_rate": RATE * 2},
}


@dataclass
class Job:
    """One adapter. `judged` are the lists of examples whose losses are wanted, by name."""

    experiment: str
    stream: str
    arm: str
    seed: int
    settings: Settings
    examples: list[Example]
    judged: dict[str, list[Example]]
    objective: Objective = field(default_factory=Objective)

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.experiment, self.stream, self.arm, self.seed


class Arm(NamedTuple):
    """How many answers are typed, how many tapped, and how taps are learned."""

    typed: int
    taps: int
    preference: float = 0.0
    weight: float = CHOICE_WEIGHT
    picks: str = "ROUGE-L"  # or "likelihood", or "coin"


def _arms() -> dict[str, Arm]:
    mixed, taps = Arm(16, 48), Arm(0, 96)
    found = {"32 typed": Arm(32, 0), "16 typed": Arm(16, 0), "16 typed, 48 taps": mixed, "96 taps": taps}
    for name, arm in (("16 typed, 48 taps", mixed), ("96 taps", taps)):
        found[f"{name}, preference 0.25"] = arm._replace(preference=0.25)
    found |= {"96 coins": taps._replace(picks="coin"), "16 typed, 48 coins": mixed._replace(picks="coin")}
    found["96 coins, preference 0.25"] = taps._replace(picks="coin", preference=0.25)
    for weight in (0.25, 1.0):
        for preference in (0.0, 0.25):
            told = f", preference {preference}" if preference else ""
            arm = mixed._replace(weight=weight, preference=preference)
            found[f"16 typed, 48 taps{told}, weight {weight:g}"] = arm
    found["16 typed, 48 taps, preference 1"] = mixed._replace(preference=1.0)
    for name, arm in (("16 typed, 48 taps", mixed), ("96 taps", taps)):
        found[f"{name}, by likelihood"] = arm._replace(picks="likelihood")
        found[f"{name}, preference 0.25, by likelihood"] = arm._replace(picks="likelihood", preference=0.25)
    return found


class ThumbsArm(NamedTuple):
    """How many answers are typed, on which share of the other replies (the nearest ones) a thumb goes up, and the
    weight of such a reply beside a typed answer."""

    typed: int
    share: float = 0.0
    weight: float = 1.0


ARMS = _arms()
THUMBS = {
    "16 typed": ThumbsArm(16),
    "16 typed, thumbs on a third": ThumbsArm(16, 1 / 3),
    "16 typed, thumbs on a third, weight 0.25": ThumbsArm(16, 1 / 3, 0.25),
    "thumbs on a third": ThumbsArm(0, 1 / 3),
    "16 typed, thumbs on a tenth": ThumbsArm(16, 1 / 10),
}


def as_it_comes(file: ExamplesFile, streams: Sequence[str] = KEPT, seeds: int = SEEDS) -> Iterator[Job]:
    for stream in streams:
        judged = {"alone": file[f"{stream}|held_out"]}
        if f"{stream}|held_out, words" in file:
            judged["words"] = file[f"{stream}|held_out, words"]
        for seed in range(seeds):
            yield Job("kept", stream, "as it comes", seed, Settings(seed=seed), file[f"{stream}|kept"], judged)


def few_shot(file: ExamplesFile, streams: Sequence[str] = KEPT) -> Iterator[Job]:
    for stream in streams:
        judged = {"alone": file[f"{stream}|held_out"], "words": file[f"{stream}|held_out, words"]}
        for share, tokens in SHARES:
            for seed in range(SEEDS):
                settings = Settings(seed=seed, few_shot_share=share, sequence_tokens=tokens, example_tokens=tokens)
                arm = f"share {share:g}, {tokens} tokens"
                yield Job("kept", stream, arm, seed, settings, behind_others(file, stream, settings), judged)


def behind_others(file: ExamplesFile, stream: str, settings: Settings) -> list[Example]:
    """The kept answers, the settings' share of them behind others, drawn as learning/few_shot.py draws."""
    tokens = settings.example_tokens
    plain = file[f"{stream}|kept" if tokens == LONGEST else f"{stream}|kept, {tokens}"]
    behind = file[f"{stream}|kept behind others, {tokens}"]
    drawn = np.random.default_rng([settings.seed, STREAM]).random(len(plain)) < settings.few_shot_share
    return [other if one else answer for answer, other, one in zip(plain, behind, drawn)]


def forms(
    file: ExamplesFile, streams: Sequence[str] = KEPT, seeds: int = SEEDS, named: Iterable[str] = FORMS
) -> Iterator[Job]:
    """Form after form: adapters of a form train together."""
    for form in named:
        for stream in streams:
            judged = {"alone": file[f"{stream}|held_out"]}
            for seed in range(seeds):
                settings = replace(Settings(seed=seed), **FORMS[form])
                yield Job("kept", stream, f"form: {form}", seed, settings, file[f"{stream}|kept"], judged)


def taps(
    file: ExamplesFile,
    by_likelihood: dict[str, np.ndarray],
    streams: Sequence[str] = TAPS,
    seeds: int = SEEDS,
    named: Iterable[str] = ARMS,
) -> Iterator[Job]:
    """`by_likelihood`: bool (EXCHANGES,) for each stream, where that user picks what ROUGE-L's does not; needed by the
    arms that pick so."""
    for arm_name in named:
        arm = ARMS[arm_name]
        for stream in streams:
            swapped = {
                "ROUGE-L": np.zeros(len(file[f"{stream}|typed"]), bool),
                "coin": np.random.default_rng(0).random(len(file[f"{stream}|typed"])) < 0.5,
                "likelihood": by_likelihood.get(stream),
            }[arm.picks]
            for seed in range(seeds):
                settings = Settings(seed=seed, preference=arm.preference, choice_weight=arm.weight)
                data = tapped_data(file, stream, arm, swapped, seed)
                examples, objective = data.within(settings.sequence_tokens, settings.preference)
                judged = {"alone": file[f"{stream}|held_out"]}
                yield Job("taps", stream, arm_name, seed, settings, examples, judged, objective)


def tapped_data(file: ExamplesFile, stream: str, arm: Arm, swapped: np.ndarray, seed: int) -> TrainingData:
    """Typed answers to the first exchanges, taps on the next ones, as the product trains on them; another seed, another
    order of the exchanges. `swapped`: where the other reply is chosen than by ROUGE-L."""
    typed = file[f"{stream}|typed"]
    chosen, rejected = [
        [file[f"{stream}|{name} {role}"] for name in ("first", "second")] for role in ("chosen", "rejected")
    ]
    order = exchange_order(len(typed), seed)
    taps = order[arm.typed : arm.typed + arm.taps]
    examples = [typed[i] for i in order[: arm.typed]] + [chosen[int(swapped[i])][i] for i in taps]
    numbers = range(len(examples) - len(taps), len(examples))
    others = {number: rejected[1 - int(swapped[i])][i] for number, i in zip(numbers, taps)}
    return TrainingData(examples, dict.fromkeys(numbers, arm.weight), others)


def exchange_order(count: int, seed: int) -> np.ndarray:
    """int64 (count,): the exchanges as they are for seed 0, else in another order."""
    return np.random.default_rng(seed).permutation(count) if seed else np.arange(count)


def thumbs(file: ExamplesFile, streams: Sequence[str] = TAPS, seeds: int = SEEDS) -> Iterator[Job]:
    """Thumbs alone train nothing else; a reply is the first that was sampled."""
    for arm_name, arm in THUMBS.items():
        for stream in streams:
            for seed in range(seeds):
                settings = Settings(seed=seed)
                data = thumbed_data(file, stream, arm, seed)
                examples, objective = data.within(settings.sequence_tokens, settings.preference)
                judged = {"alone": file[f"{stream}|held_out"]}
                yield Job("thumbs", stream, arm_name, seed, settings, examples, judged, objective)


def thumbed_data(file: ExamplesFile, stream: str, arm: ThumbsArm, seed: int) -> TrainingData:
    """Typed answers to the first exchanges in the order of `tapped_data`, the model's own replies to the nearest share
    of the others."""
    typed, near = file[f"{stream}|typed"], file.facts["nearness"][stream]
    order = exchange_order(len(typed), seed)
    others = sorted(order[arm.typed :], key=lambda i: -near[i])
    liked = others[: round(arm.share * len(others))]
    examples = [typed[i] for i in order[: arm.typed]] + [file[f"{stream}|reply"][i] for i in liked]
    return TrainingData(examples, dict.fromkeys(range(arm.typed, len(examples)), arm.weight))


def one_by_one(file: ExamplesFile, seeds: int) -> list[Job]:
    """What is worth a CPU's hours, of what the file has examples for; all of a seed before the next one's.

    The product's own trainer keeps no part of an adapter frozen (the forms "A frozen").
    """
    answered = [stream for stream in ONE_BY_ONE if f"{stream}|typed" in file]
    kept = [stream for stream in ONE_BY_ONE if f"{stream}|kept" in file]
    jobs = [
        *thumbs(file, answered, seeds),
        *taps(file, {}, answered, seeds, ("32 typed", "16 typed, 48 taps", "96 taps")),
        *as_it_comes(file, kept, seeds),
        *forms(file, kept, seeds, ("rank 8", "upper quarter", "down alone", "half the learning rate")),
    ]
    return sorted(jobs, key=lambda job: job.seed)
