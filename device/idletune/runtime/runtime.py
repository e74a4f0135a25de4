"""The one object that everything above uses."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..chat_files import ChatFile
from ..conversation import Conversation
from ..dialogue import TokenEmbeddings
from ..errors import UsageError
from ..examples import Example
from ..labels import checked
from ..learning.cancellation import Cancellation
from ..learning.model_check import ModelReport, check_model
from ..learning.monitoring import Comparison
from ..learning.outcome import SliceOutcome
from ..learning.pipeline import TrainingPipeline
from ..learning.report import TrainingReport
from ..learning.serving import serve, with_sound_adapter
from ..model.reply import Reply
from ..model.thinking import answer_of
from ..privacy import Forgotten, forget_all, forget_import, preview_all
from ..progress import Bars, no_bars
from ..schedule import termux
from ..schedule.lock import learner_lock
from ..schedule.scheduler import Tick
from ..schedule.state_sources import HostSource, ResourcesSource, may_ask
from ..selection.observation import Observation
from ..selection.scores import text_embedding
from ..state.adapter_records import AdapterVersion
from ..state.annotation import Prompt
from ..state.origins import HOST, count_observed, observed
from .chat import Chat, SideBySide
from .completions import Asker, Feedback, Judgement, Listener, Sampling, Verdict, new_id
from .fleet_member import FleetMember
from .importing import ANSWERS, Imported, Importer, ImportPreview
from .learner import Learner
from .model_info import ModelInfo, model_info
from .opened_home import OpenedHome
from .status import Status, status_of


class Runtime(OpenedHome):
    """One user, one base model, one home folder. Not for several threads at once; close it when done.

    `key` (32 bytes, from the host's key store) encrypts the state; so does the setting key_file.
    Raises UsageError (missing model, a home that cannot be used, a wrong key) and DamagedDataError (a truncated
    GGUF, a bundle that is not what its manifest says, state of a newer version).
    """

    def chat(
        self,
        text: str,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        session: str = "",
        origin: str = HOST,
        on_thought: Callable[[str], None] | None = None,
        completion: str = "",
        labels: Mapping[str, str] = {},
    ) -> Reply:
        """Answer one message of the session's conversation, streamed to `on_text`, and observe the exchange.

        Thoughts before the answer (setting thinking) go to `on_thought`; they are neither observed nor remembered.
        A reply that `should_stop` cut short (its stop is "asked") is neither remembered nor observed. An exchange that
        cannot be observed is answered all the same: `unobserved` of the reply says why. `completion` is the reply's id,
        for `feedback`; completions.new_id makes one. `labels` are those of the situation, as {"place": "office"}: they
        are kept with the exchange, and sets of the same label are preferred where a message finds several.
        """
        if not text.strip():
            raise UsageError("an empty message; write something")
        asker = Asker(session, origin, completion or new_id(), checked(labels))

        def answer() -> Reply:
            self.catch_up()
            listener = Listener(on_text, on_thought, should_stop)
            return self._chat.reply(text, listener, asker)

        return self._answered(answer)

    def another(
        self,
        first: str,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        session: str = "",
        origin: str = HOST,
        on_thought: Callable[[str], None] | None = None,
        completion: str = "",
    ) -> Reply:
        """Another answer to the session's last message, for `prefer`; `first` is the completion of the one it got.

        Nothing of it is observed, and the conversation goes on with the first one. UsageError where nothing was
        answered yet.
        """
        asker = Asker(session, origin, completion or new_id())

        def answer() -> Reply:
            self.catch_up()
            return self._chat.another(Listener(on_text, on_thought, should_stop), asker, first)

        return self._answered(answer)

    def complete(
        self,
        messages: list[dict],
        sampling: Sampling = Sampling(),
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        session: str = "",
        origin: str = HOST,
        on_thought: Callable[[str], None] | None = None,
        completion: str = "",
    ) -> Reply:
        """Answer a whole conversation (dicts with role and content), as OpenAI's API has it, and observe the exchange.

        As `chat`, but the conversation is the one given. The roles are system, user and assistant; the setting
        `system` stands in for a missing system message. A history that was answered here is recognized: it keeps its
        few-shot turns and its KV cache, and a question that was answered in it before is not observed again. The
        session is only whose questions to the user come of it. A `max_tokens` over half the context counts as that.
        """

        def answer() -> Reply:
            self.catch_up()
            listener, asker = Listener(on_text, on_thought, should_stop), Asker(session, origin, completion or new_id())
            return self._chat.complete(messages, sampling, listener, asker)

        return self._answered(answer)

    def continue_text(
        self,
        text: str,
        sampling: Sampling = Sampling(),
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Reply:
        """What follows on a text, with the adapter that serves; no chat template, no system message, no few-shot turns.

        Nothing of it is observed or remembered: it has neither a question of the user nor an answer to one.
        UsageError for an empty text, or one that does not fit the context.
        """
        if not text.strip():
            raise UsageError("an empty text; write its beginning")
        self.catch_up()
        listener = Listener(on_text, should_stop=should_stop)
        return with_sound_adapter(self.model, self.adapters, lambda: self._chat.continue_text(text, sampling, listener))

    def feedback(self, completion: str, verdict: Verdict, origin: str = HOST) -> Feedback:
        """What the user thinks of a reply: "up" makes it the answer, "down" asks for a better one later.

        The model's own words are kept and shown; they train at the weight `choice_weight`, 0 as it comes.
        "never_ask": never ask about its question. UsageError for an unknown id.
        """
        return self._judgement(origin).give(completion, verdict)

    def correct(self, completion: str, text: str, origin: str = HOST) -> Feedback:
        """The better text of the user becomes the answer to the completion's question. UsageError as in `feedback`."""
        return self._judgement(origin).correct(completion, text)

    def prefer(self, completion: str, over: str, origin: str = HOST) -> Feedback:
        """Of two completions of one question, the better one becomes the answer, at the weight `choice_weight`.

        UsageError for an unknown id, and for completions of different questions.
        """
        return self._judgement(origin).prefer(completion, over)

    def observe(
        self,
        question: str,
        reply: Reply,
        session: str = "",
        origin: str = HOST,
        share: float | None = None,
        labels: Mapping[str, str] = {},
    ) -> Observation:
        """Score an exchange of the session and admit it to the buffer; where it is kept, queue a question about it.

        `share` bounds the part of the buffer that sets of its origin may take; `labels` are as in `chat`.
        UsageError when a set that the reply was written from has been forgotten meanwhile.
        """
        return self._chat.observe(question, reply, session, origin, share, checked(labels))

    def observe_exchange(
        self, question: str, response: str, session: str = "", origin: str = HOST, labels: Mapping[str, str] = {}
    ) -> Observation:
        """Observe an exchange that the model had no part in; the model reads it once, to embed it.

        A think block at the beginning of the response is left out.
        """
        response, labels = answer_of(response), checked(labels)
        if not question.strip() or not response.strip():
            raise UsageError("an empty question or response; an exchange has both")
        s, origin = self.settings, observed(origin)
        count_observed(self.store, origin, s.observe_hour)
        self.catch_up()
        embeddings = with_sound_adapter(
            self.model, self.adapters, lambda: self.model.embed_exchange(question, response, s.system)
        )
        reply = Reply(response, [], embeddings, "end", 0)
        return self.observe(question, reply, session, origin, s.observe_share, labels)

    def compare(self, text: str, should_stop: Callable[[], bool] = lambda: False) -> SideBySide:
        """What the base model alone answers to a message, and what it answers with all that was learned.

        Both are greedy, so that they differ by what was learned and not by chance. Nothing is observed or remembered.
        """
        if not text.strip():
            raise UsageError("an empty message; write something")
        self.catch_up()
        return with_sound_adapter(self.model, self.adapters, lambda: self._chat.compare(text, should_stop))

    def preview_import(self, file: ChatFile, me: str = "", bars: Bars = no_bars) -> ImportPreview:
        """What a file of conversations holds, and what of it is new here; nothing is kept.

        `me` is the user's name in the file, where its format needs one. DamagedDataError for a malformed file.
        """
        return self._importer.preview(file, me, bars)

    def import_conversations(
        self, file: ChatFile, preview: ImportPreview, mode: str = ANSWERS, me: str = "", bars: Bars = no_bars
    ) -> Generator[Imported, None, None]:
        """Import what a preview saw, an exchange a step; yields what there is so far, on the disk already.

        `mode` is "answers" (the responses are the user's) or "stream" (they are replies to ask about).
        """
        self.catch_up()
        return self._importer.run(file, me, mode, preview, bars)

    def forget_import(self, import_id: int, reach: str = "all") -> Forgotten:
        """Forget all dialogue sets that came of an imported file, and its record; it may be imported anew."""
        termux.dismiss(self.store.home)
        try:
            return forget_import(self.store, self.adapters, import_id, reach)
        finally:
            self.catch_up()

    def retrieved(self, text: str, conversation: Conversation | None = None) -> list[dict]:
        """The exchanges that the model is shown before this message, as turns; see Retrieval."""
        return self._chat.retrieved(text, conversation or self.conversations.of())

    def embed(self, text: str) -> np.ndarray:
        """A text's embedding as a question's, float32 (hidden,), of unit length, as selection compares texts."""
        self.catch_up()
        found = with_sound_adapter(
            self.model, self.adapters, lambda: self.model.embed_exchange(text, "", self.settings.system)
        )
        return text_embedding(found.question)

    def new_conversation(self, session: str = "") -> None:
        """The session's next message is the first one of a conversation."""
        self.conversations.of(session).begin_anew()

    def catch_up(self) -> None:
        """Take over what another process did since the last turn: it may have learned, rolled back or forgotten."""
        serve(self.model, self.adapters)
        if (forgotten := self.store.counter("forgotten")) != self._forgotten:
            self.drop_words()
            self._forgotten = forgotten

    def drop_words(self) -> None:
        """Drop all text held in memory: conversations, few-shot turns, retrieval's index, the KV cache."""
        self.conversations.begin_anew()
        self.histories.begin_anew()
        self.completions.begin_anew()
        self.retrieval.drop_words()
        self.model.clear()

    def next_prompt(self, wanted: Callable[[int], bool] = lambda dialogue_set_id: True) -> Prompt | None:
        """The question to put to the user now, about one of the `wanted` dialogue sets.

        None when there is none, when the daily limit is reached, in the quiet hours, and while the host app says that
        the user is not to be asked (`do_not_ask` of the device's state).
        """
        if not may_ask(self.scheduler.source):
            return None
        return self.queue.next(wanted=wanted)

    def learn(
        self, should_stop: Callable[[], bool] = lambda: False, bars: Bars = no_bars, embed_anew: bool = True
    ) -> TrainingReport:
        """Run the training pipeline: synthesize, train, evaluate; serve the new adapter if the gate promotes it.

        With `embed_anew` the buffer is embedded anew after a promotion (see `refresh_embeddings`).
        UsageError when too little was answered, or another process learns in this home.
        """
        with learner_lock(self.store.home):
            return self._learner.run(Cancellation(should_stop), bars, embed_anew)

    def learn_slice(self, should_stop: Callable[[], bool], bars: Bars = no_bars) -> SliceOutcome:
        """One slice of learning, for a scheduler that holds the lock."""
        return self._learner.slice(Cancellation(should_stop), bars)

    def tick(self, bars: Bars = no_bars, asked: Callable[[], str] = lambda: "", seconds: float = float("inf")) -> Tick:
        """One slice of learning, if the device's state and the settings allow it now (see Scheduler.tick)."""
        return self.scheduler.tick(lambda should_stop: self.learn_slice(should_stop, bars), asked, seconds)

    def push_device_state(self, state: str | dict) -> dict:
        """Report the device's state (JSON with DeviceState's names); returns the validated fields, None if unknown."""
        if not isinstance(self.scheduler.source, HostSource):
            self.scheduler.source = HostSource(self.store.home, self.scheduler.clock)
        return asdict(self.scheduler.source.push(state))

    def pipeline(self) -> TrainingPipeline:
        """The training pipeline over the present state and settings."""
        return self._learner.pipeline()

    def trainer_loss(self, examples: list[Example], adapter: AdapterVersion | None) -> float:
        """Mean loss of examples in the trainer, in nats per token, with an adapter version or the base alone."""
        return self.pipeline().loss(examples, adapter)

    def monitor_adapter(self, should_stop: Callable[[], bool] = lambda: False) -> Comparison | None:
        """Compare the serving adapter with the one before on answers given since; roll back one that is worse.

        None where nothing is new, or when stopped; the next call goes on there.
        """
        return self._learner.monitor_adapter(Cancellation(should_stop))

    def refresh_embeddings(self, bars: Bars = no_bars, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Embed the buffered sets anew after a promotion, so that all stay comparable; False when stopped."""
        return self._learner.refresh_embeddings(bars, Cancellation(should_stop))

    def rollback(self) -> AdapterVersion | None:
        """Serve the adapter before the current one, or the base; UsageError when none is in use.

        At once: the buffer keeps the embeddings it has until the next adapter.
        """
        return self._learner.rollback()

    def adopt(self, path: Path) -> AdapterVersion:
        """Serve an adapter made elsewhere (a GGUF in F32, F16 or BF16), and let training start from it.

        It has to pass a gate of its own (adoption.py). A file that is one of this home's own adapters, or a copy of
        one, is recorded as its child. What another file was trained on is unknown here, so no `forget` can reach it.
        UsageError or DamagedDataError where it does not pass, or while another process learns in this home; then
        the adapter that served before goes on serving.
        """
        return self._learner.adopt(path)

    def promote(self, version: int) -> AdapterVersion:
        """Serve an adapter that the gate held back for a look. UsageError for any other version."""
        return self._learner.promote(version)

    def forget(self, dialogue_set_id: int, reach: str = "all") -> Forgotten:
        """Remove a dialogue set and what was derived from it, as far as `reach` says (see privacy.forget).

        All conversations begin anew, in other open processes at their next turn. A question about it that is shown
        in Termux is dismissed.
        """
        return self.forget_all([dialogue_set_id], reach)

    def preview_forget(self, dialogue_set_id: int, reach: str = "all") -> Forgotten:
        """What `forget` would remove; nothing is changed. UsageError for an unknown id."""
        return self.preview_forget_all([dialogue_set_id], reach)

    def forget_all(self, ids: Iterable[int], reach: str = "all") -> Forgotten:
        """The same for several dialogue sets at once: all of them or none."""
        termux.dismiss(self.store.home)
        try:
            return forget_all(self.store, self.adapters, ids, reach)
        finally:
            self.catch_up()

    def preview_forget_all(self, ids: Iterable[int], reach: str = "all") -> Forgotten:
        """What `forget_all` would remove; nothing is changed. UsageError for an unknown id."""
        return preview_all(self.store, ids, reach)

    @property
    def fleet(self) -> FleetMember:
        """This home's part in a fleet of phones: join, leave, make an update, take the fleet's adapter."""
        return FleetMember(self.store, self.model, self._parts)

    def model_info(self) -> ModelInfo:
        """The base model in use: its sizes, and whether it can train here."""
        return model_info(self.model, self._learner.pipeline)

    def check_model(self) -> ModelReport:
        """Try what learning takes here: two real training steps, with the model opened once more beside this one."""
        resources = ResourcesSource(self.store.home)
        return check_model(self.model.path, self.settings, lambda: resources.read().free_memory_mb)

    def status(self) -> Status:
        """Buffer, questions, adapters, learning and settings, as plain values."""
        return status_of(self.store, str(self.model.path), self._parts, self.unobserved)

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _chat(self) -> Chat:
        return Chat(
            self.store, self.model, self._parts, self.conversations, self.histories, self.completions, self.clock
        )

    def _answered(self, answer: Callable[[], Reply]) -> Reply:
        """The reply of `answer`, from an adapter that is sound."""
        reply = with_sound_adapter(self.model, self.adapters, answer)
        if reply.stop != "asked":
            self.unobserved = reply.unobserved
        self.catch_up()  # another process may have forgotten what the reply was written from
        return reply

    def _judgement(self, origin: str) -> Judgement:
        return Judgement(self.store, self.buffer, self.queue, self.completions, origin)

    @property
    def _importer(self) -> Importer:
        def embed(question: str, response: str) -> TokenEmbeddings:
            system = self.settings.system
            return with_sound_adapter(
                self.model, self.adapters, lambda: self.model.embed_exchange(question, response, system)
            )

        return Importer(self.store, self._parts, self.model.hidden, embed)

    @property
    def _learner(self) -> Learner:
        return Learner(self.store, self.model, self._parts, self._chat.second)
