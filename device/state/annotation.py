"""The questions to the user: was this reply good, and if not, what would have been?

- A prompt is a row in the database, so a question survives a restart and an answer survives a kill.
- The user's patience is the scarce good: a few questions a day, none at night, none twice, the most
  worthwhile first. A prompt that was shown stays the next one until it is answered, at no new cost.
- "Never ask about this" goes by the question, kept as a hash: it holds when the question comes again,
  and the store need not keep the very text the user wanted gone.
"""

import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from ..errors import UsageError
from .store import BIN_BYTES, Store, check_bin, size_of_embeddings

_WAITING = """
    SELECT prompts.id, dialogue_set_id, question, reply, state, asked_at, length(embedding) AS embedding_bytes
    FROM prompts JOIN dialogue_sets ON dialogue_sets.id = dialogue_set_id
    WHERE state IN ('pending', 'shown')"""
_WORTH = " ORDER BY state = 'shown' DESC, idd DESC, dialogue_set_id DESC"
_NOT_ASKED = """
    SELECT id, question FROM dialogue_sets
    WHERE answered_at IS NULL AND id NOT IN (
        SELECT dialogue_set_id FROM prompts WHERE dialogue_set_id IS NOT NULL
    )"""


@dataclass(frozen=True)
class Prompt:
    """One question to the user: a dialogue set of the buffer that awaits a verdict."""

    id: int
    dialogue_set_id: int
    question: str
    reply: str
    state: str  # "pending" or "shown"
    asked_at: float | None
    embedding_bytes: int


class AnnotationQueue:
    """Asks about buffered sets, at most `daily_limit` a calendar day, never in the quiet hours.

    Quiet are the local hours from `quiet_from` up to `quiet_until`, over midnight too; equal hours: none.
    """

    def __init__(
        self, store: Store, daily_limit: int = 5, quiet_from: int = 22, quiet_until: int = 8,
        clock: Callable[[], float] | None = None, bin_bytes: int = BIN_BYTES,
    ):
        if daily_limit < 0:
            raise UsageError(f"the daily limit is {daily_limit}; use 0 (never ask) or more")
        for hour in (quiet_from, quiet_until):
            if not 0 <= hour <= 23:
                raise UsageError(f"quiet hours begin or end at {hour}; use whole hours from 0 to 23")
        self.daily_limit, self.quiet_from, self.quiet_until = daily_limit, quiet_from, quiet_until
        self.bin_bytes = bin_bytes
        self._store, self._clock = store, clock or store.clock

    def refill(self) -> int:
        """Queue a prompt for each unanswered set that was never asked about; returns how many."""
        with self._store.transaction() as db:
            never = {row["question_hash"] for row in self._store.rows("SELECT question_hash FROM never_ask")}
            rows = [self._store.unseal("dialogue_sets", row["id"], row) for row in self._store.rows(_NOT_ASKED)]
            ids = [(row["id"],) for row in rows if self._hash(row["question"]) not in never]
            db.executemany("INSERT INTO prompts (dialogue_set_id) VALUES (?)", ids)
            return len(ids)

    def next(self, now: float | None = None) -> Prompt | None:
        """The prompt to show now, marked as shown; None in quiet hours, at the limit, or with none left."""
        now = self._clock() if now is None else now
        if self.is_quiet(now) or not self.daily_limit:
            return None
        with self._store.transaction() as db:
            prompt = next(iter(self.pending()), None)
            if prompt is None or prompt.state == "shown":
                return prompt
            if self.asked_today(now) >= self.daily_limit:
                return None
            db.execute("UPDATE prompts SET state = 'shown', asked_at = ? WHERE id = ?", (now, prompt.id))
            return replace(prompt, state="shown", asked_at=now)

    def accept(self, prompt_id: int) -> int:
        """The model's reply becomes the response. Returns the dialogue set's id."""
        with self._store.transaction():
            prompt = self._waiting(prompt_id)
            if not prompt.reply.strip():
                raise UsageError(f"the reply of prompt {prompt_id} is empty; edit or dismiss it")
            return self._answer(prompt, "accepted", prompt.reply)

    def edit(self, prompt_id: int, text: str) -> int:
        """The user's text becomes the response. Returns the dialogue set's id.

        Raises UsageError for an empty text, and for one that does not fit the bin in the reply's place.
        """
        with self._store.transaction():
            prompt = self._waiting(prompt_id)
            if not isinstance(text, str) or not text.strip():
                raise UsageError(f"an empty answer to prompt {prompt_id}; write one, or dismiss the prompt")
            check_bin((prompt.question, text.strip()), prompt.embedding_bytes, self.bin_bytes)
            return self._answer(prompt, "edited", text.strip())

    def dismiss(self, prompt_id: int) -> None:
        """No answer: the set stays in the buffer, and is not asked about again."""
        with self._store.transaction():
            self._close(self._waiting(prompt_id), "dismissed")

    def never_ask(self, prompt_id: int) -> None:
        """Never ask this question again; its set leaves the buffer, as do others that wait with the same."""
        with self._store.transaction() as db:
            unwanted = self._hash(self._waiting(prompt_id).question)
            db.execute("INSERT OR IGNORE INTO never_ask VALUES (?, ?)", (unwanted, self._clock()))
            for prompt in self.pending():
                if self._hash(prompt.question) == unwanted:
                    self._close(prompt, "never")
                    db.execute("DELETE FROM dialogue_sets WHERE id = ?", (prompt.dialogue_set_id,))

    def pending(self) -> list[Prompt]:
        """All prompts without an answer, in the order they will be shown; the shown one first."""
        return [self._parse(row) for row in self._store.rows(_WAITING + _WORTH)]

    def asked_today(self, now: float | None = None) -> int:
        """How many prompts were shown on the local calendar day of `now`."""
        today = datetime.fromtimestamp(self._clock() if now is None else now).date()
        midnight = datetime.combine(today, time.min)
        next_midnight = datetime.combine(today + timedelta(days=1), time.min)
        sql = "SELECT count(*) FROM prompts WHERE asked_at >= ? AND asked_at < ?"
        return self._store.rows(sql, midnight.timestamp(), next_midnight.timestamp())[0][0]

    def is_quiet(self, now: float) -> bool:
        """Whether `now` lies in the quiet hours, counted around the clock from their beginning."""
        hour = datetime.fromtimestamp(now).hour
        return (hour - self.quiet_from) % 24 < (self.quiet_until - self.quiet_from) % 24

    def _waiting(self, prompt_id: int) -> Prompt:
        row = self._store.row(_WAITING + " AND prompts.id = ?", prompt_id)
        if row is not None:
            return self._parse(row)
        past = self._store.row("SELECT state FROM prompts WHERE id = ?", prompt_id)
        if past is None:
            problem = "is not known, or its dialogue set was replaced"
        elif past["state"] == "shown":
            problem = "lost its dialogue set, which was deleted"
        else:
            problem = f"is answered already ({past['state']})"
        raise UsageError(f"prompt {prompt_id} {problem}; ask for the next one")

    def _parse(self, row) -> Prompt:
        plain = self._store.unseal("dialogue_sets", row["dialogue_set_id"], row)
        plain["embedding_bytes"] = size_of_embeddings((plain["embedding_bytes"] - self._store.sealer.overhead) // 4)
        return Prompt(**plain)

    def _hash(self, question: str) -> str:
        return self._store.sealer.digest(question_hash(question))

    def _answer(self, prompt: Prompt, state: str, response: str) -> int:
        with self._store.transaction() as db:
            sealed = self._store.seal("dialogue_sets", prompt.dialogue_set_id, response=response)
            db.execute(
                "UPDATE dialogue_sets SET response = ?, answered_at = ? WHERE id = ?",
                (sealed["response"], self._clock(), prompt.dialogue_set_id),
            )
            self._close(prompt, state)
        return prompt.dialogue_set_id

    def _close(self, prompt: Prompt, state: str) -> None:
        with self._store.transaction() as db:
            db.execute(
                "UPDATE prompts SET state = ?, answered_at = ? WHERE id = ?",
                (state, self._clock(), prompt.id),
            )


def question_hash(question: str) -> str:
    """The same for two spellings that differ in case, spaces or Unicode form only."""
    normal = " ".join(unicodedata.normalize("NFKC", question).casefold().split())
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()
