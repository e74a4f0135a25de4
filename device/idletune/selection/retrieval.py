"""Retrieval: dialogue sets that fit a message, put before the conversation as few-shot turns.

They are found by their words: so the first token waits for nothing but the turns themselves. Where a setting says so,
the embeddings of questions rank them, or both ranks fused; the message is then read once more. None of it needs
training, so it works from the first answer on, before there is an adapter.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..conversation import Conversation
from ..dialogue import DialogueSet
from .buffer import Buffer
from .texts import TextIndex

COVERAGE = 0.5  # of a message, by idf, that the question of an unanswered set has to hold
RANK_CONSTANT = 60  # of reciprocal rank fusion (Cormack et al., SIGIR 2009)


def few_shot_count(lengths: Iterable[int], least: int, tokens: int) -> int:
    """How many of the nearest sets become few-shot turns: `least`, and more as long as all stay within `tokens`.

    `lengths` are the sets' tokens, the nearest first. Short answers cost little to read, and it is their number that
    shows a manner; long ones are few. 0 for `least` = 0.
    """
    count = used = 0
    for length in lengths if least else ():
        used += length
        if count >= least and used > tokens:
            break
        count += 1
    return count


def answered_first(found: Sequence[int], answered: Sequence[int]) -> list[int]:
    """All answered sets: those of them that were found, the best first, then the others in their order."""
    known = set(answered)
    return list(dict.fromkeys([*(id for id in found if id in known), *answered]))


def fused(*rankings: Sequence[int]) -> list[int]:
    """The ids in all rankings, each the best first, by the sum of their reciprocal ranks; of equal ones as the first
    ranking has them."""
    scores: defaultdict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, id in enumerate(ranking, start=1):
            scores[id] += 1 / (RANK_CONSTANT + rank)
    return sorted(scores, key=lambda id: -scores[id])


# By the setting's name: of the ranks by words and by embeddings, the one to use. None: no embedding is needed.
RANKINGS: dict[str, Callable[[Sequence[int], Sequence[int]], list[int]] | None] = {
    "words": None,
    "embeddings": lambda by_words, by_embeddings: list(by_embeddings),
    "fused": fused,
}


class Retrieval:
    """The dialogue sets that fit a message best, as many as `few_shot_count` says.

    Answered sets come by their BM25 score over question and answer; those that share no word with the message follow,
    the newest first. `ranking` makes one order of this one and of the one by embeddings; `embed` gives a question's,
    float32 (hidden,). With `recall` one exchange is shown, beside the reply of then, in which the user told something
    and was not asked about it: where it fits better than every answered set and holds enough of the message.
    `count_tokens` gives the number of tokens of a text.
    """

    def __init__(
        self,
        buffer: Buffer,
        least: int,
        tokens: int,
        recall: bool,
        count_tokens: Callable[[str], int],
        ranking: Callable[[Sequence[int], Sequence[int]], list[int]] | None,
        embed: Callable[[str], np.ndarray],
    ):
        self.buffer, self.least, self.tokens, self.recall = buffer, least, tokens, recall
        self._count_tokens, self.texts = count_tokens, TextIndex(buffer)
        self._ranking, self._embed = ranking, embed

    def has_any(self) -> bool:
        """Whether there are answers to show."""
        return self.least > 0 and self.buffer.answered() > 0

    def few_shot_turns(self, message: str, conversation: Conversation, labels: Mapping[str, str] = {}) -> list[dict]:
        """The turns to put before the conversation, the best set last; the ids of their sets are kept in it.

        They stay while the best set is among them: so the conversation's KV cache stays valid.
        """
        embedding = self._embedding(message)  # a pass of the model: nobody waits for the store meanwhile
        with self.buffer.snapshot():  # no other process may remove what was found
            ranked, shown = self._ranked(message, embedding, conversation, labels), conversation.few_shot
            if not (ranked and ranked[0] in shown and all(id in self.buffer for id in shown)):
                count = few_shot_count(map(self._length, ranked), self.least, self.tokens)
                shown = conversation.few_shot = ranked[:count][::-1]
            return [turn for id in shown for turn in _turns(self.buffer.get(id))]

    def ranked(self, message: str, conversation: Conversation, labels: Mapping[str, str] = {}) -> list[int]:
        """The ids of all sets that may be shown, the best first; none where `least` is 0."""
        return self._ranked(message, self._embedding(message), conversation, labels)

    def _embedding(self, message: str) -> np.ndarray | None:
        """The message's, float32 (hidden,); None where nothing is ranked by it."""
        return self._embed(message) if self._ranking and self.has_any() else None

    def _ranked(
        self, message: str, embedding: np.ndarray | None, conversation: Conversation, labels: Mapping[str, str]
    ) -> list[int]:
        if not self.least:
            return []
        found, answered = self.texts.search(message, labels), self.texts.answered()
        known, ranked = set(answered), self._order(embedding, found, answered)
        in_sight = conversation.provenance.sets - set(conversation.few_shot)  # they need not be shown once more
        best = next((id for id in found if id in known or id not in in_sight), None)
        return [best, *ranked] if best is not None and best not in known and self._recalls(best, message) else ranked

    def _order(self, embedding: np.ndarray | None, found: list[int], answered: list[int]) -> list[int]:
        """All answered sets, the best first."""
        by_words = answered_first(found, answered)
        if self._ranking is None or embedding is None:
            return by_words
        known, nearest = set(answered), self.buffer.nearest(embedding, len(self.buffer))
        return self._ranking(by_words, [id for id, _ in nearest if id in known])

    def drop_words(self) -> None:
        """Drop the texts held in memory; they are read anew at the next message."""
        self.texts = TextIndex(self.buffer)

    def _recalls(self, unanswered: int, message: str) -> bool:
        """Whether an unanswered set is shown, which is within the tokens for near ones."""
        fits = self.recall and self.texts.coverage(unanswered, message) >= COVERAGE
        return fits and self._length(unanswered) <= self.tokens

    def _length(self, id: int) -> int:
        return sum(self._count_tokens(turn["content"]) for turn in _turns(self.buffer.get(id)))


def turns_of(question: str, answer: str) -> list[dict]:
    """An exchange as two messages of the chat template."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _turns(shown: DialogueSet) -> list[dict]:
    return turns_of(shown.question, shown.reply if shown.response is None else shown.response)
