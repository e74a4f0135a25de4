"""Does a question find what was told? Recall, answers and choices on benchmarks that others report.

Run: make bench-memory, or python benchmarks/memory_quality.py [--data FOLDER] [--conversations N] [--answers N]
LoCoMo, LongMemEval-S, PrefEval and PersonaMem each run where their data is in the folder (or IDLETUNE_MEMORY_DATA);
none of it belongs to this repository, and the files in benchmarks/memory say where it is. Recall needs no base model:
half a minute a system and conversation at most. Answers and choices are the base model's and take seconds each.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from common import RESULTS, write_results
from idletune.dialogue import Exchange
from idletune.errors import UsageError
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from memory import answers, choices, locomo, longmemeval, personamem, prefeval
from memory.history import History, MemoryQuestion, spread, text_of
from memory.prompts import prompt
from memory.recall import difference, hits, shares
from memory.systems import SYSTEMS, Search, System

DATA = Path(os.environ.get("IDLETUNE_MEMORY_DATA", RESULTS.parents[2] / "shared" / "data"))
NOTHING = "no memory"
SHOWN = {NOTHING: None, **{name: SYSTEMS[name] for name in ("ours", "all-MiniLM-L6-v2, FAISS")}}


def measured_recall(histories: list[History]) -> dict:
    """Each system's recall, and how much more of it ours has at 3."""
    found = {}
    for name, system in SYSTEMS.items():
        with Progress(name, len(histories)) as bar:
            found[name] = hits(histories, system, bar)
    return {
        "histories": len(histories),
        "exchanges": sum(len(history.exchanges) for history in histories),
        "questions": len(found["ours"]),
        "recall": {name: shares(each) for name, each in found.items()},
        "ours_more_at_3": {name: difference(found["ours"], each) for name, each in found.items() if name != "ours"},
    }


class Memory:
    """What a system finds in lists of exchanges, each indexed once; without a system nothing."""

    def __init__(self, system: System | None):
        self._system = system
        self._known: dict[int, tuple[list[Exchange], Search]] = {}  # by the list's identity; it is held meanwhile

    def search(self, exchanges: list[Exchange], question: str) -> list[int]:
        if self._system is None:
            return []
        if id(exchanges) not in self._known:
            self._known[id(exchanges)] = exchanges, self._system([text_of(each) for each in exchanges])
        return self._known[id(exchanges)][1](question)


def measured_answers(model: BaseModel, histories: list[History], most: int) -> dict:
    """F1 of the base model's answers to so many questions, at equal distances."""
    asked = spread([(history.exchanges, each) for history in histories for each in history.questions], most)

    def score(memory: Memory, exchanges: list[Exchange], each: MemoryQuestion) -> float:
        order = memory.search(exchanges, each.question)
        given = prompt(model, exchanges, order, answers.ASKED.format(each.question))
        return answers.f1(answers.answer(model, given), each)

    return {"questions": len(asked), "f1": _means("answers", asked, score)}


def measured_choices(model: BaseModel, loaded: list[choices.Choice], most: int) -> dict:
    """How often the likeliest choice is right."""
    asked = spread([(each.said, each) for each in loaded], most)

    def score(memory: Memory, said: list[Exchange], each: choices.Choice) -> float:
        given = prompt(model, said, memory.search(said, each.question), each.question)
        return choices.pick(model, given, each.choices) == each.right

    chance = sum(1 / len(each.choices) for _, each in asked) / len(asked)
    return {"questions": len(asked), "chance": round(chance, 4), "right": _means("choices", asked, score)}


def _means(label: str, asked: list, score: Callable) -> dict[str, float]:
    """The mean score with no memory and behind what systems find; the same questions for all."""
    found = {}
    for name, system in SHOWN.items():
        memory, total = Memory(system), 0.0
        with Progress(f"{label}, {name}", len(asked)) as bar:
            for number, (exchanges, each) in enumerate(asked, start=1):
                total += score(memory, exchanges, each)
                bar(number)
        found[name] = round(total / len(asked), 4)
    return found


def run(data: Path, model_path: Path, conversations: int | None, most: int) -> dict:
    """All parts whose data is at hand; the others say what is missing."""
    found: dict[str, dict] = {}

    def part(name: str, measure: Callable[[], dict]) -> None:
        try:
            found[name] = measure()
        except UsageError as error:
            print(f"{name}: left out, {error}")

    part("locomo", lambda: measured_recall(locomo.load(data, conversations)))
    part("longmemeval_s", lambda: measured_recall(longmemeval.load(data)))
    part("prefeval", lambda: measured_recall([prefeval.history(data)]))
    if most:
        with BaseModel(model_path, context_tokens=2048, sequences=1) as model:
            part("locomo_answers", lambda: measured_answers(model, locomo.load(data, conversations), most))
            part("prefeval_choices", lambda: measured_choices(model, prefeval.load(data), most))
            part("personamem_choices", lambda: measured_choices(model, personamem.load(data), most))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data sets")
    parser.add_argument("--conversations", type=int, help="of LoCoMo's ten; all by default")
    parser.add_argument(
        "--answers", type=int, default=60, help="questions that the model answers in each part; 0: none"
    )
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    found = run(arguments.data, arguments.model, arguments.conversations, arguments.answers)
    write_results("memory", found)
    for name, figures in found.items():
        print(name, figures)


if __name__ == "__main__":
    main()
