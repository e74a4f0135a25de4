"""Exchanges with the user: a chat turn, and the observation of an exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..conversation import Conversation, Conversations
from ..dialogue import DialogueSet, Provenance
from ..errors import IdleTuneError, UsageError
from ..learning.serving import serve
from ..model.base_model import BaseModel
from ..model.reply import Reply
from ..selection.observation import Observation
from ..state import completion_records, provenance
from ..state.store import Store
from .completions import Asker, Completions, Listener, Sampling
from .histories import Histories, split_messages
from .parts import Parts

SEEDS_APART = 2**16  # of two replies to one message: more than a conversation has turns
FURTHER_TEMPERATURE = 0.7  # of a reply that is to be another one, where the setting is greedy


@dataclass(frozen=True)
class SideBySide:
    """Two replies to the same message: the base model's, and the one with adapter and retrieval."""

    base: Reply
    learned: Reply
    adapter: int | None  # the version that wrote `learned`
    few_shot: int  # answered sets it was shown


@dataclass(frozen=True)
class Chat:
    """Replies from the base model with adapter and retrieval; keeps the conversation and observes each exchange."""

    store: Store
    model: BaseModel
    parts: Parts
    conversations: Conversations
    histories: Histories
    completions: Completions
    clock: Callable[[], float]

    def reply(self, text: str, listener: Listener, asker: Asker) -> Reply:
        """One turn of the session's conversation; see Runtime.chat."""
        conversation = self.conversations.of(asker.session)
        reply = self._generate(conversation, text, self.parts.settings.system, Sampling(), listener, asker.labels)
        if reply.stop != "asked":
            self._add_turn(conversation, text, reply, self._observe_turn(text, reply, asker))
        return reply

    def complete(self, messages: list[dict], sampling: Sampling, listener: Listener, asker: Asker) -> Reply:
        """The next turn of a conversation that comes with the request; see Runtime.complete."""
        system, history, question = split_messages(messages)
        conversation = self.histories.conversation(system, history)
        first = self.histories.first_completion(system, history, question)
        further = self.histories.count_completions(system, history, question)
        system_text = system or self.parts.settings.system
        reply = self._generate(conversation, question, system_text, sampling, listener, further=further)
        if reply.stop != "asked":
            if first is None:
                kept_as = self._observe_turn(question, reply, asker)
            else:  # answered before: not observed again; feedback about this reply is about the same set
                kept_as = completion_records.set_of(self.store, first)
                self._note(asker.completion, self._scored(question, reply, asker), kept_as)
            self._add_turn(conversation, question, reply, kept_as)
            self.histories.add(system, history, question, reply.text, conversation, asker.completion)
        return reply

    def continue_text(self, text: str, sampling: Sampling, listener: Listener) -> Reply:
        """What follows on a text; see Runtime.continue_text."""
        s = self.parts.settings
        return self.model.continue_text(
            text, **sampling.options(s, s.seed), on_text=listener.on_text, should_stop=listener.should_stop
        )

    def another(self, listener: Listener, asker: Asker, first: str) -> Reply:
        """A second reply to the session's last question; see Runtime.another."""
        conversation = self.conversations.of(asker.session)
        if not conversation.history:
            raise UsageError("nothing was answered yet; ask something first")
        question, earlier = conversation.history[-2]["content"], conversation.before_last_turn()
        conversation.alternatives += 1
        system, further = self.parts.settings.system, conversation.alternatives
        reply = self._generate(earlier, question, system, self._varied(), listener, asker.labels, further)
        if reply.stop != "asked":
            kept_as = completion_records.set_of(self.store, first) or self.completions.get(first)[1]
            self._note(asker.completion, self._scored(question, reply, asker), kept_as)
        return reply

    def second(self, kept: DialogueSet, number: int, should_stop: Callable[[], bool]) -> Reply:
        """Another reply to a buffered question by itself, the first one out of sight; `number` tells them apart.

        Nothing of it is observed or remembered.
        """
        itself = Provenance(frozenset() if kept.id is None else frozenset([kept.id]))
        alone = Conversation(sources=[itself])  # so that it is not recalled
        system, listener = self.parts.settings.system, Listener(should_stop=should_stop)
        reply = self._generate(alone, kept.question, system, self._varied(), listener, further=number)
        reply.provenance = replace(reply.provenance, sets=reply.provenance.sets - itself.sets)
        return reply

    def observe(
        self,
        question: str,
        reply: Reply,
        session: str,
        origin: str,
        share: float | None = None,
        labels: Mapping[str, str] = {},
    ) -> Observation:
        """Score an exchange, admit it to the buffer, queue a question about it; see Runtime.observe."""
        if reply.embeddings is None:
            raise UsageError("a reply without embeddings cannot be observed; generate it with its question")
        now, parts = self.clock(), self.parts
        with self.store.transaction():
            provenance.check_not_forgotten(self.store, reply.provenance)
            observation = parts.observer.observe(
                question, reply.text, reply.embeddings, now, reply.provenance, origin, share, labels
            )
            if observation.admission.id is not None:
                parts.queue.refill()
        self.conversations.of(session).keep(observation.admission.id)
        return observation

    def compare(self, text: str, should_stop: Callable[[], bool]) -> SideBySide:
        """The message as the first one of a conversation, with what was learned and without; see Runtime.compare."""
        serving, shown = self.parts.adapters.current(), self.retrieved(text, Conversation())
        learned = self._greedy(text, shown, should_stop)
        self.model.remove_adapter()
        try:
            base = self._greedy(text, [], should_stop)
        finally:
            serve(self.model, self.parts.adapters)
        return SideBySide(base, learned, serving.version if serving else None, len(shown) // 2)

    def _greedy(self, text: str, shown: list[dict], should_stop: Callable[[], bool]) -> Reply:
        return self.model.chat(
            [*_system(self.parts.settings.system), *shown, {"role": "user", "content": text}],
            few_shot=len(shown),
            max_tokens=self.parts.settings.reply_tokens,
            temperature=0.0,
            top_p=1.0,
            seed=0,
            should_stop=should_stop,
        )

    def retrieved(self, text: str, conversation: Conversation, labels: Mapping[str, str] = {}) -> list[dict]:
        """The exchanges to show before this message, as turns; see Retrieval."""
        return self.parts.retrieval.few_shot_turns(text, conversation, labels)

    def _varied(self) -> Sampling:
        """Of a reply that was asked for because it is to differ."""
        return Sampling(temperature=self.parts.settings.temperature or FURTHER_TEMPERATURE)

    def _seed(self, conversation: Conversation, further: int) -> int:
        """Of the reply to a conversation's next message; each further reply to it has one of its own."""
        turn = conversation.left_out + len(conversation.history) + 1
        return (self.parts.settings.seed + turn + further * SEEDS_APART) % 2**32

    def _generate(
        self,
        conversation: Conversation,
        text: str,
        system: str,
        sampling: Sampling,
        listener: Listener,
        labels: Mapping[str, str] = {},
        further: int = 0,
    ) -> Reply:
        """The model's reply to the next message of a conversation, with what it was written from.

        `further`: how many replies that message got before. Another seed draws this one, unless `sampling` names one.
        """
        s, shown = self.parts.settings, self.retrieved(text, conversation, labels)
        written_from = self._sources(conversation, bool(shown))
        reply = self.model.chat(
            [*_system(system), *shown, *conversation.history, {"role": "user", "content": text}],
            **sampling.options(s, self._seed(conversation, further)),
            few_shot=len(shown),
            thinking=s.thinking,
            on_text=listener.on_text,
            on_thought=listener.on_thought,
            should_stop=listener.should_stop,
        )
        reply.provenance = written_from
        return reply

    def _observe_turn(self, text: str, reply: Reply, asker: Asker) -> int | None:
        """Observe the exchange. The id it is kept as; None where it is not kept."""
        if not reply.text.strip():  # no exchange, until the user says what it should have been
            self._note(asker.completion, self._scored(text, reply, asker), None)
            return None
        try:
            seen = self.observe(text, reply, asker.session, asker.origin, labels=asker.labels)
            self._note(asker.completion, seen.dialogue_set, seen.admission.id)
            return seen.admission.id
        except IdleTuneError as error:  # the text is too large for the buffer, or no storage is left
            reply.unobserved = str(error)
            return None

    def _scored(self, text: str, reply: Reply, asker: Asker) -> DialogueSet:
        assert reply.embeddings is not None, "a chat takes embeddings along"
        score, now = self.parts.observer.score, self.clock()
        return score(text, reply.text, reply.embeddings, now, reply.provenance, asker.origin, asker.labels)

    def _note(self, completion: str, scored: DialogueSet, kept_as: int | None) -> None:
        self.completions.add(completion, scored, kept_as)
        if kept_as is not None:
            completion_records.record(self.store, completion, kept_as)

    def _add_turn(self, conversation: Conversation, text: str, reply: Reply, kept_as: int | None) -> None:
        itself = Provenance(frozenset() if kept_as is None else frozenset([kept_as]))
        conversation.add(text, reply.text, reply.provenance.joined(itself), reply.left_out)

    def _sources(self, conversation: Conversation, shown: bool) -> Provenance:
        """What a reply is written from: the exchanges shown, if any, the turns before, and the adapter that serves."""
        answers = provenance.of_answers(self.store, conversation.few_shot if shown else ())
        serving = self.parts.adapters.current()
        return answers.joined(conversation.provenance).written_by(serving.version if serving else None)


def _system(text: str) -> list[dict]:
    return [{"role": "system", "content": text}] if text else []
