"""The LLM multiplies an answered dialogue set by saying its question in other words.

A 135M model paraphrases badly, so the work is in the asking and the checking: the prompt is a plain list
of examples to be continued (small models follow a pattern better than an instruction), and what comes back
must share enough words with the original to keep its meaning, and few enough not to be a copy.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..model.base_model import BaseModel
from ..settings import Settings
from .rouge import rouge1, words

# Pairs of everyday questions, worded apart; none is of any benchmark's data.
EXAMPLES = (
    ("How long should I boil an egg?", "For how many minutes does an egg need to boil?"),
    ("my laptop is really slow today, what can I do?", "What should I do about my laptop being so slow?"),
    ("What's the best time of year to visit Norway?", "When in the year is it best to go to Norway?"),
    ("Can you help me write a thank you note to my aunt?", "I need help with writing my aunt a note to say thank you."),
    ("Why does my back hurt after running?", "What makes my back hurt when I have been running?"),
    ("I don't think that bus goes to the station.", "That bus does not go to the station, I think."),
)
SAID, REWORDED = "Original:", "Reworded:"
LONGEST_RATIO = 2.5  # words of the paraphrase to words of the original, either way
CONTEXT_PER_SET = 160  # words of a question that is worth paraphrasing; longer ones are copied, not reworded


@dataclass
class SynthesisReport:
    """How many paraphrases were asked for and accepted, and why the rest were dropped."""

    asked: int = 0
    accepted: int = 0
    dropped: Counter = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        return self.asked - self.accepted

    @property
    def acceptance(self) -> float:
        return self.accepted / self.asked if self.asked else 0.0


def paraphrase_prompt(text: str) -> str:
    """The list of examples that ends where the paraphrase of `text` begins."""
    shots = "".join(f"{SAID} {a}\n{REWORDED} {b}\n\n" for a, b in EXAMPLES)
    return f"{shots}{SAID} {' '.join(text.split())}\n{REWORDED}"


class Checker:
    """Says what is wrong with a paraphrase, or None; `least` and `most` bound its ROUGE-1 F."""

    def __init__(self, least: float, most: float):
        self.least, self.most = least, most

    def problem(self, paraphrase: str, original: str, siblings: Iterable[str] = ()) -> str | None:
        if not paraphrase:
            return "empty"
        if self._leaks(paraphrase):
            return "prompt leak"
        ratio = len(words(paraphrase)) / max(1, len(words(original)))
        if not 1 / LONGEST_RATIO <= ratio <= LONGEST_RATIO:
            return "length"
        similarity = rouge1(paraphrase, original)
        if similarity < self.least:
            return "meaning lost"
        if similarity > self.most:
            return "copy"
        if any(rouge1(paraphrase, other) > self.most for other in siblings):
            return "repeated"
        return None

    @staticmethod
    def _leaks(paraphrase: str) -> bool:
        lowered = paraphrase.lower()
        marks = (SAID.lower(), REWORDED.lower(), "<|", "reworded", "in other words:")
        return any(mark in lowered for mark in marks) or any(
            rouge1(paraphrase, side) > 0.8 for pair in EXAMPLES for side in pair
        )


def clean(text: str) -> str:
    """The first line of what the model wrote, without quotes around it."""
    lines = text.strip().splitlines()
    return lines[0].strip().strip('"').strip() if lines else ""


class Synthesizer:
    """Asks the base model (no adapter) for paraphrases, many at once, and keeps the good ones."""

    def __init__(self, model: BaseModel, settings: Settings):
        self.model, self.settings = model, settings
        self.checker = Checker(settings.rouge_least, settings.rouge_most)

    def paraphrase(self, texts: list[str], report: SynthesisReport, seed: int, progress=None) -> list[list[str]]:
        """Accepted paraphrases of each text, up to `settings.paraphrases`; `report` is added to.

        None of a text that is too long to be reworded, or for the context.
        """
        asked = {i: self._ask(text) for i, text in enumerate(texts) if len(words(text)) <= CONTEXT_PER_SET}
        wanted = [
            i
            for i, (prompt, room) in asked.items()
            if self.model.fits(len(prompt) + room)
            for _ in range(self.settings.paraphrases)
        ]
        prompts, rooms = [asked[i][0] for i in wanted], [asked[i][1] for i in wanted]
        replies = self.model.generate(
            prompts,
            max_tokens=rooms,
            temperature=self.settings.paraphrase_temperature,
            top_p=0.95,
            seeds=[seed + n for n in range(len(prompts))],
            stop_text="\n",
            progress=progress,
        )
        accepted: list[list[str]] = [[] for _ in texts]
        for i, reply in zip(wanted, replies):
            text = clean(reply.text)
            problem = self.checker.problem(text, texts[i], accepted[i])
            report.asked += 1
            if problem is None:
                report.accepted += 1
                accepted[i].append(text)
            else:
                report.dropped[problem] += 1
        return accepted

    def _ask(self, text: str) -> tuple[list[int], int]:
        """The prompt, and the tokens a paraphrase may take: one that runs on would be dropped for its length."""
        return self.model.tokenize(paraphrase_prompt(text), begin=True), 8 + round(1.6 * len(self.model.tokenize(text)))
