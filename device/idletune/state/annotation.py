"""The questions to the user: was this reply good, and if not, what would have been?

- A prompt is a row in the database, so a question survives a restart and an answer survives a kill.
- The user's patience is the scarce good: a few questions a day, none at night, none twice, the most
  worthwhile first. A prompt that was shown stays the next one until it is answered, at no new cost.
- Only what was shown can be answered, whichever program asks and answers. Showing a prompt records a digest of its
  texts; an answer to another text than the recorded one, or to one that was never shown, is refused.
- A question may offer a second reply beside the first (second_replies.py): then one tap says which is better.
- "Never ask about this" goes by the question, kept as a hash: it holds when the question comes again,
  and the store need not keep the very text the user wanted gone.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import takewhile

from ..clock import DAY, FakeClock, Moment, SystemClock, ages, given, moments_of
from ..errors import UsageError
from ..local_time import is_hour_between, local_time
from . import choices, provenance, second_replies
from .bins import BIN_BYTES, check_bin, size_of_embeddings
from .integrity import LARGEST_TIME
from .store import Store

DIGEST_CHARACTERS = 16  # hexadecimal; of what was shown

ASKINGS_KEPT = 2000  # more than two days of the highest daily limit
_WAITING = """
    SELECT prompts.id, dialogue_set_id, question, reply, state, asked_at, shown, length(embedding) AS embedding_bytes
    FROM prompts JOIN dialogue_sets ON dialogue_sets.id = dialogue_set_id
    WHERE state IN ('pending', 'shown')"""
_SET = "SELECT question, length(embedding) AS embedding_bytes FROM dialogue_sets WHERE id = ?"
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
    shown: str | None  # digest of the texts as they were shown; answers refer to it
    embedding_bytes: int
    second: str | None = None  # another reply, where the question is which of two is better


class AnnotationQueue:
    """Asks about buffered sets, at most `daily_limit` a calendar day, never in the quiet hours.

    Quiet are the local hours from `quiet_from` up to `quiet_until`, over midnight too; equal hours: none.
    """

    def __init__(
        self,
        store: Store,
        daily_limit: int = 5,
        quiet_from: int = 22,
        quiet_until: int = 8,
        clock: Callable[[], float] | SystemClock | FakeClock | None = None,
        bin_bytes: int = BIN_BYTES,
        ask_choices: float = 0.0,
    ):
        if daily_limit < 0:
            raise UsageError(f"the daily limit is {daily_limit}; use 0 (never ask) or more")
        for hour in (quiet_from, quiet_until):
            if not 0 <= hour <= 23:
                raise UsageError(f"quiet hours begin or end at {hour}; use whole hours from 0 to 23")
        self.daily_limit, self.quiet_from, self.quiet_until = daily_limit, quiet_from, quiet_until
        self.bin_bytes, self.ask_choices = bin_bytes, ask_choices
        self._store, self._moment = store, moments_of(clock or store.clock)

    def refill(self) -> int:
        """Queue a prompt for each unanswered set that was never asked about; returns how many."""
        with self._store.transaction() as db:
            never = {row["question_hash"] for row in self._store.rows("SELECT question_hash FROM never_ask")}
            rows = [self._store.decrypt("dialogue_sets", row["id"], row) for row in self._store.rows(_NOT_ASKED)]
            ids = [(row["id"],) for row in rows if self._hash(row["question"]) not in never]
            db.executemany("INSERT INTO prompts (dialogue_set_id) VALUES (?)", ids)
            return len(ids)

    def next(
        self, now: float | None = None, wanted: Callable[[int], bool] = lambda dialogue_set_id: True
    ) -> Prompt | None:
        """The prompt to show now, marked as shown; None in quiet hours, at the limit, or with none left.

        `wanted` says of a dialogue set's id whether it may be asked about: each reader has its own next prompt.
        """
        moment = self._moment() if now is None else given(now)
        if not self.daily_limit or self.is_quiet(moment.wall) or moment.doubt(self._askings()):
            return None
        with self._store.transaction():
            rows = self._store.rows(_WAITING + _WORTH)
            row = next((row for row in rows if wanted(row["dialogue_set_id"])), None)
            if row is None:
                return None
            prompt = self._parse(row)
            if prompt.state == "pending" and self._asked_on_the_day_of(moment) >= self.daily_limit:
                return None
            return self._show(prompt, moment)

    def accept(self, prompt_id: int, origin: str = "", shown: str | None = None) -> int:
        """The model's reply becomes the response; `origin` says who answered. Returns the dialogue set's id.

        This and the four others raise UsageError for a prompt that was not shown, or shows other texts by now; with
        `shown`, the digest of what the answer was given to, also when the prompt was shown again with others.
        """
        with self._store.transaction():
            prompt = self._waiting(prompt_id, shown)
            if not prompt.reply.strip():
                raise UsageError(f"the reply of prompt {prompt_id} is empty; edit or dismiss it")
            return self._answer(prompt, "accepted", prompt.reply, origin)

    def edit(self, prompt_id: int, text: str, origin: str = "", shown: str | None = None) -> int:
        """The user's text becomes the response. Returns the dialogue set's id.

        Raises UsageError for an empty text, and for one that does not fit the bin in the reply's place.
        """
        with self._store.transaction():
            prompt = self._waiting(prompt_id, shown)
            if not isinstance(text, str) or not text.strip():
                raise UsageError(f"an empty answer to prompt {prompt_id}; write one, or dismiss the prompt")
            check_bin((prompt.question, text.strip()), prompt.embedding_bytes, self.bin_bytes)
            return self._answer(prompt, "edited", text.strip(), origin)

    def choose_shown(self, prompt_id: int, second: bool, origin: str = "", shown: str | None = None) -> int:
        """Of the two replies that the prompt offers, the first or the second is better. Returns the dialogue set's id.

        UsageError also for a prompt that offers one reply.
        """
        with self._store.transaction():
            prompt = self._waiting(prompt_id, shown)
            other = second_replies.find(self._store, prompt.dialogue_set_id)
            if prompt.second is None or other is None:
                raise UsageError(f"prompt {prompt_id} offers one reply; accept, edit or dismiss it")
            provenance.check_not_forgotten(self._store, other.provenance)
            provenance.record(self._store, prompt.dialogue_set_id, other.provenance)  # the words of both are kept
            replies = (other.text, prompt.reply) if second else (prompt.reply, other.text)
            self.choose(prompt.dialogue_set_id, *replies, origin)
        return prompt.dialogue_set_id

    def dismiss(self, prompt_id: int, shown: str | None = None) -> None:
        """No answer: the set stays in the buffer, and is not asked about again."""
        with self._store.transaction():
            self._close(self._waiting(prompt_id, shown), "dismissed")

    def never_ask(self, prompt_id: int, shown: str | None = None) -> None:
        """Never ask this question again; its set leaves the buffer, as do others that wait with the same.

        Their words leave the files, too: at once, or at the next start where another process reads the database.
        """
        with self._store.transaction():
            self._forbid(self._hash(self._waiting(prompt_id, shown).question))
        self._store.try_scrub()

    def answer_set(self, dialogue_set_id: int, response: str, origin: str, accepted: bool) -> None:
        """The user's answer about a set, given without a question; one that is open about it is closed.

        `accepted`: it is the model's own reply. An earlier answer is replaced, and this one is to be learned.
        UsageError for an unknown set, and for a text that does not fit the bin.
        """
        with self._store.transaction() as db:
            row = self._store.row(_SET, dialogue_set_id)
            if row is None:
                raise UsageError(f"no dialogue set {dialogue_set_id}; it was replaced or removed")
            plain = self._store.decrypt("dialogue_sets", dialogue_set_id, row)
            check_bin((plain["question"], response), self._embedding_bytes(row), self.bin_bytes)
            self._keep_response(dialogue_set_id, response, origin)
            db.execute("UPDATE dialogue_sets SET learned_in = NULL WHERE id = ?", (dialogue_set_id,))
            for table in ("synthetic_sets", "paraphrased_sets"):  # made of the earlier answer
                db.execute(f"DELETE FROM {table} WHERE dialogue_set_id = ?", (dialogue_set_id,))
            self._set_state(dialogue_set_id, "accepted" if accepted else "edited")

    def choose(self, dialogue_set_id: int, reply: str, rejected: str, origin: str) -> None:
        """Of two replies about a set, the user's choice becomes its answer; the other one is kept beside it.

        UsageError as in `answer_set`, and for an empty reply.
        """
        if not reply.strip():
            raise UsageError("the chosen reply is empty; give a better one")
        with self._store.transaction():
            self.answer_set(dialogue_set_id, reply, origin, accepted=True)
            choices.record(self._store, dialogue_set_id, rejected)

    def reject(self, dialogue_set_id: int) -> bool:
        """The reply of a set was not good: where it was accepted, that answer goes, and the set is asked about again.

        Returns whether the set has an answer still: a better text that the user gave stays.
        """
        with self._store.transaction() as db:
            row = self._store.row(
                "SELECT dialogue_sets.answered_at, state FROM dialogue_sets LEFT JOIN prompts"
                " ON dialogue_set_id = dialogue_sets.id WHERE dialogue_sets.id = ?",
                dialogue_set_id,
            )
            if row is None or row["answered_at"] is None or row["state"] != "accepted":
                return bool(row and row["answered_at"] is not None)
            db.execute(
                "UPDATE dialogue_sets SET response = NULL, answered_at = NULL, answer_origin = '', learned_in = NULL"
                " WHERE id = ?",
                (dialogue_set_id,),
            )
            choices.remove(self._store, dialogue_set_id)
            self._set_state(dialogue_set_id, "pending")
            return False

    def never_ask_question(self, question: str) -> None:
        """The same as `never_ask`, for a question that need not have been shown. A set with an answer stays."""
        self._forbid(self._hash(question))
        self._store.try_scrub()

    def open_ids(self) -> set[int]:
        """Ids of all prompts without an answer."""
        return {row["id"] for row in self._store.rows(f"SELECT id FROM ({_WAITING})")}

    def pending(self) -> list[Prompt]:
        """All prompts without an answer, in the order they will be shown; the shown one first."""
        return [self._parse(row) for row in self._store.rows(_WAITING + _WORTH)]

    def asked_today(self, now: float | None = None) -> int:
        """How many prompts were shown on the local calendar day of `now`."""
        return self._asked_on_the_day_of(self._moment() if now is None else given(now))

    def is_quiet(self, now: float) -> bool:
        """Whether `now` lies in the quiet hours, counted around the clock from their beginning."""
        return is_hour_between(local_time(now).hour, self.quiet_from, self.quiet_until)

    def _asked_on_the_day_of(self, now: Moment) -> int:
        """By how long ago each was shown, not by what the wall clock showed then: it may have been set since."""
        today, askings = local_time(now.wall).date(), self._askings()
        times = (now.wall - age for age in takewhile(lambda age: age < 2 * DAY, ages(now, askings)))
        return sum(local_time(time).date() == today for time in times)

    def _askings(self) -> list[Moment]:
        """When prompts were shown, newest first."""
        rows = self._store.rows(
            "SELECT wall, uptime, boot FROM askings WHERE max(wall, uptime) < ? ORDER BY id DESC", LARGEST_TIME
        )
        return [Moment(row["wall"], row["uptime"], row["boot"]) for row in rows]

    def _clock(self) -> float:
        return self._moment().wall

    def _show(self, prompt: Prompt, now: Moment) -> Prompt:
        """Record that a prompt is shown with the texts it has now."""
        shown = replace(prompt, state="shown", asked_at=prompt.asked_at or now.wall, shown=self._digest(prompt))
        if shown != prompt:
            with self._store.transaction() as db:
                if prompt.asked_at is None:
                    last = db.execute("INSERT INTO askings (wall, uptime, boot) VALUES (?, ?, ?)", now).lastrowid
                    db.execute("DELETE FROM askings WHERE id <= ?", ((last or 0) - ASKINGS_KEPT,))
                values = shown.asked_at, shown.shown, prompt.id
                db.execute("UPDATE prompts SET state = 'shown', asked_at = ?, shown = ? WHERE id = ?", values)
        return shown

    def _digest(self, prompt: Prompt) -> str:
        second = [] if prompt.second is None else [prompt.second]
        texts = json.dumps([prompt.id, prompt.question, prompt.reply, *second])
        return self._store.cipher.digest(hashlib.sha256(texts.encode()).hexdigest())[:DIGEST_CHARACTERS]

    def _waiting(self, prompt_id: int, shown: str | None) -> Prompt:
        """The prompt an answer is for, once it is sure that it was shown."""
        prompt = self._unanswered(prompt_id)
        if prompt.state != "shown":
            raise UsageError(f"prompt {prompt_id} was not shown yet; ask for the next one and answer that")
        if prompt.shown != self._digest(prompt) or shown not in (None, prompt.shown):
            raise UsageError(f"prompt {prompt_id} is not what was shown; ask for the next one and look at it again")
        return prompt

    def _unanswered(self, prompt_id: int) -> Prompt:
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
        plain = self._store.decrypt("dialogue_sets", row["dialogue_set_id"], row)
        plain["embedding_bytes"] = self._embedding_bytes(plain)
        return Prompt(**plain, second=self._second(row["dialogue_set_id"]))

    def _second(self, dialogue_set_id: int) -> str | None:
        """The reply to offer beside a set's own, where there is one and the user wants to be asked so."""
        if not second_replies.offers_choice(dialogue_set_id, self.ask_choices):
            return None
        found = second_replies.find(self._store, dialogue_set_id)
        return found.text if found else None

    def _hash(self, question: str) -> str:
        return self._store.cipher.digest(question_hash(question))

    def _forbid(self, unwanted: str) -> None:
        """Never ask the question with this hash: the sets that wait with it go. The caller scrubs afterwards."""
        with self._store.transaction() as db:
            db.execute("INSERT OR IGNORE INTO never_ask VALUES (?, ?)", (unwanted, self._clock()))
            for prompt in self.pending():
                if self._hash(prompt.question) == unwanted:
                    self._close(prompt, "never")
                    db.execute("DELETE FROM dialogue_sets WHERE id = ?", (prompt.dialogue_set_id,))
            self._store.owe_scrub()

    def _answer(self, prompt: Prompt, state: str, response: str, origin: str) -> int:
        with self._store.transaction():
            self._keep_response(prompt.dialogue_set_id, response, origin)
            self._close(prompt, state)
        return prompt.dialogue_set_id

    def _keep_response(self, dialogue_set_id: int, response: str, origin: str) -> None:
        encrypted = self._store.encrypt("dialogue_sets", dialogue_set_id, response=response)
        with self._store.transaction() as db:
            choices.remove(self._store, dialogue_set_id)
            db.execute(
                "UPDATE dialogue_sets SET response = ?, answered_at = ?, answer_origin = ? WHERE id = ?",
                (encrypted["response"], self._clock(), origin, dialogue_set_id),
            )

    def _set_state(self, dialogue_set_id: int, state: str) -> None:
        """Of the prompt about a set; one is made where there is none."""
        values = dialogue_set_id, state, None if state == "pending" else self._clock()
        with self._store.transaction() as db:
            second_replies.remove(self._store, dialogue_set_id)
            db.execute(
                "INSERT INTO prompts (dialogue_set_id, state, answered_at) VALUES (?, ?, ?) ON CONFLICT"
                " (dialogue_set_id) DO UPDATE SET state = excluded.state, answered_at = excluded.answered_at,"
                " shown = NULL",
                values,
            )

    def _embedding_bytes(self, row) -> int:
        """The bin's bytes that a set's embeddings take."""
        return size_of_embeddings((row["embedding_bytes"] - self._store.cipher.overhead) // 4)

    def _close(self, prompt: Prompt, state: str) -> None:
        with self._store.transaction() as db:
            second_replies.remove(self._store, prompt.dialogue_set_id)
            db.execute(
                "UPDATE prompts SET state = ?, answered_at = ?, shown = NULL WHERE id = ?",
                (state, self._clock(), prompt.id),
            )


def open_prompts_of(store: Store, dialogue_set_ids: Iterable[int]) -> list[int]:
    """The ids of the prompts about these sets that have no answer, ascending."""
    sql = "SELECT id FROM prompts WHERE dialogue_set_id = ? AND state IN ('pending', 'shown')"
    return sorted(row["id"] for id in dialogue_set_ids for row in store.rows(sql, id))


def question_hash(question: str) -> str:
    """The same for two spellings that differ in case, spaces or Unicode form only."""
    normal = " ".join(unicodedata.normalize("NFKC", question).casefold().split())
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()
