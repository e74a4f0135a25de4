"""The loop as one object: chat, observe, ask, learn, answer better.

Everything above (command line, a host app) talks to this; everything below (model, buffer, queue,
learning, adapters) knows nothing of it.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

from .errors import IdleTuneError, UsageError
from .learning.adapters import Adapters, AdapterVersion, describe
from .learning.night import ADOPTED, Learning, LearningReport, serve
from .learning.refresh import refresh
from .learning.review import Review, review
from .model.base_model import BaseModel, Reply
from .model.bundle import check_bundle
from .model.gguf_file import GgufFile
from .progress import no_bars
from .schedule.lock import is_learning, learner_lock
from .schedule.scheduler import Scheduler, Tick
from .schedule.state_sources import HostSource, make_source
from .selection.buffer import Buffer
from .selection.lexicons import Lexicons
from .selection.observation import Observation, Observer
from .selection.policies import make_policy
from .selection.retrieval import Retrieval
from .settings import Settings, load_settings, save_settings
from .state.annotation import AnnotationQueue, Prompt
from .state.keyring import check_key, read_key
from .state.privacy import forget
from .state.store import Store
from .training.lora import read_adapter, target_names
from .training.rows import Example
from .training.shape import ModelShape

AT_START = ("threads", "context_tokens", "lexicons", "key_file")  # settings the model and the store are opened with


def default_home() -> Path:
    """IDLETUNE_HOME, or `idletune` in the user's data folder."""
    if os.environ.get("IDLETUNE_HOME"):
        return Path(os.environ["IDLETUNE_HOME"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "idletune"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "idletune"


class Runtime:
    """One user, one base model, one home folder. Not for several threads at once; close it when done.

    `key` (32 bytes, from the host's key store) encrypts the state; so does the setting key_file.
    Raises UsageError (missing model, a home that cannot be used, a wrong key) and DamagedDataError (a truncated
    GGUF, a bundle that is not what its manifest says, state of a newer version).
    """

    def __init__(
        self, home: Path, model: Path, settings: Settings | None = None,
        clock: Callable[[], float] = time.time, sequences: int = 8, key: bytes | None = None,
        backend: str = "llama.cpp",
    ):
        self.settings = settings or Settings(**load_settings(Path(home) / "settings.json"))
        s = self.settings
        self.clock = clock
        check_bundle(model)
        lexicons = Lexicons.from_folder(Path(s.lexicons)) if s.lexicons else Lexicons.builtin()
        self.model = BaseModel(
            model, context_tokens=s.context_tokens, sequences=sequences, threads=s.threads, backend=backend
        )
        self.store = None
        try:
            if key is None and s.key_file:
                key = read_key(Path(s.key_file))
            self.store = Store(home, clock, key=key)
            vars(self).update(self._parts(s, lexicons))
            if not is_learning(self.store.home):  # else its candidate is another process's, in the gate
                self.adapters.drop_unfinished()
            self.history: list[dict] = []  # what can still be shown to the model
            self.left_out = 0  # messages that went before it
            self.unobserved = ""  # why the last exchange could not be observed
            serve(self.model, self.adapters)
        except BaseException:
            self.close()
            raise

    def chat(
        self, text: str, on_text: Callable[[str], None] | None = None, should_stop: Callable[[], bool] = lambda: False
    ) -> Reply:
        """Answer one message of the conversation, streamed to `on_text`, and observe the exchange.

        A reply that `should_stop` cut short (its stop is "asked") is neither remembered nor observed. An exchange that
        cannot be observed is answered all the same: `unobserved` of the reply says why.
        """
        if not text.strip():
            raise UsageError("an empty message; write something")
        serve(self.model, self.adapters)  # another process may have learned, rolled back or forgotten
        s, shown, question = self.settings, self.retrieved(text), {"role": "user", "content": text}
        reply = self.model.chat(
            [*self._system(), *shown, *self.history, question], shown=len(shown), max_tokens=s.reply_tokens,
            temperature=s.temperature, top_p=s.top_p, seed=s.seed + self.left_out + len(self.history) + 1,
            on_text=on_text, should_stop=should_stop,
        )
        if reply.stop == "asked":
            return reply
        self.history = [*self.history, question, {"role": "assistant", "content": reply.text}][reply.left_out :]
        self.left_out += reply.left_out
        try:
            if reply.text.strip():
                self.observe(text, reply)
        except IdleTuneError as error:  # larger than a bin, or no storage is left
            reply.unobserved = str(error)
        self.unobserved = reply.unobserved
        return reply

    def observe(self, question: str, reply: Reply) -> Observation:
        """Score an exchange, place it, and queue a question about it if it was kept."""
        observation = self.observer.observe(question, reply.text, reply.embeddings, self.clock())
        if observation.offer.id is not None:
            self.queue.refill()
        return observation

    def observe_exchange(self, question: str, response: str) -> Observation:
        """Observe an exchange the model had no part in; it is embedded here, at the cost of reading it."""
        if not question.strip() or not response.strip():
            raise UsageError("an empty question or response; an exchange has both")
        serve(self.model, self.adapters)
        embeddings = self.model.embed_exchange(question, response, self.settings.system)
        return self.observe(question, Reply(response, [], embeddings, "end", 0))

    def next_prompt(self) -> Prompt | None:
        """The question to put to the user now; None when there is none, or enough for today, or at night."""
        return self.queue.next(self.clock())

    def learn(
        self, should_stop: Callable[[], bool] = lambda: False, bars=no_bars, embed_anew: bool = True
    ) -> LearningReport:
        """Paraphrase, train and judge; the answers are better afterwards if the gate says so.

        `embed_anew` brings the buffer's embeddings up to the new adapter (see `refresh_embeddings`).
        UsageError when another process learns in this home.
        """
        with learner_lock(self.store.home):
            return self._learn(should_stop, bars, embed_anew)

    def tick(
        self, bars=no_bars, asked: Callable[[], str] = lambda: "", seconds: float = float("inf")
    ) -> Tick:
        """One slice of learning, if the device's state and the settings allow it now (see Scheduler.tick)."""
        return self.scheduler.tick(lambda should_stop: self.learn_slice(should_stop, bars), asked, seconds)

    def learn_slice(self, should_stop: Callable[[], bool], bars=no_bars) -> str:
        """What a slice does, for a scheduler that holds the lock; its outcome in words."""
        if not self.refresh_embeddings(bars, should_stop):
            return "embedding the buffer anew, to be continued"
        self.review(should_stop)
        if self.scheduler.nothing_to_learn():
            return "embedded the buffer anew"
        if should_stop():
            return "second look, to be continued"
        report = self._learn(should_stop, bars)
        if not report.finished:
            return f"{report.stage}, to be continued"
        return f"{'promoted' if report.verdict.promoted else 'rejected'}: {report.verdict.reason}"

    def push_device_state(self, state: str | dict) -> dict:
        """The host app tells the device's state (JSON with DeviceState's names); returns what was believed."""
        if not isinstance(self.scheduler.source, HostSource):
            self.scheduler.source = HostSource(self.store.home, self.scheduler.clock)
        return asdict(self.scheduler.source.push(state))

    def _learn(self, should_stop: Callable[[], bool], bars, embed_anew: bool = True) -> LearningReport:
        self.review(should_stop)
        self.model.clear()  # the conversation goes on afterwards, its cached tokens are the old model's
        serving = self.model.adapter
        report = self._learning().run(should_stop, bars)
        if embed_anew and self.model.adapter != serving:
            self.refresh_embeddings(bars, should_stop)
        return report

    def rollback(self) -> AdapterVersion | None:
        """Serve the adapter before the current one, or the base; UsageError when none is in use.

        At once: the buffer keeps the embeddings it has until the next adapter.
        """
        current = self.adapters.current()
        before = self.adapters.rollback()
        if not current.dialogue_set_ids:  # an adopted one: training must not start from it either
            (self.store.home / ADOPTED).unlink(missing_ok=True)
        serve(self.model, self.adapters)
        return before

    def adopt(self, path: Path) -> AdapterVersion:
        """Serve an adapter made elsewhere (a GGUF in F32), and let training start from it.

        UsageError or DamagedDataError when it does not fit the base model; nothing is changed then.
        """
        tensors = GgufFile(path).tensors
        if any(tensor.type.name != "F32" for tensor in tensors.values()):
            raise UsageError(f"{path} stores its matrices in fewer bits; convert the adapter with --precision F32")
        lora = read_adapter(path, ModelShape.of(GgufFile(self.model.path)))
        version = self.adapters.add(lora, self.settings, []).version
        adopted, partial = self.store.home / ADOPTED, self.store.home / f"{ADOPTED}.part"
        shutil.copyfile(path, partial)  # not the user's: it is not encrypted
        os.replace(partial, adopted)
        self.adapters.promote(version, {}, f"adopted from {Path(path).name}")
        serve(self.model, self.adapters)
        return self.adapters.get(version)

    def forget(self, dialogue_set_id: int) -> list[int]:
        """Remove a dialogue set and what came of it (see privacy.forget). Returns the dropped versions."""
        try:
            return forget(self.store, self.adapters, dialogue_set_id)
        finally:
            serve(self.model, self.adapters)

    def review(self, should_stop: Callable[[], bool] = lambda: False) -> Review | None:
        """Hold the adapter in use against the answers given since; rolls back one that makes them worse.

        None where nothing is new, or when stopped; the next call goes on there.
        """
        return review(self.model, self.adapters, self.buffer, self.settings, should_stop)

    def rotate_key(self, key: bytes) -> None:
        """Encrypt the whole state anew; from now on only `key` (32 bytes) opens it. Encrypts a plain home, too."""
        self.store.rotate_key(key)

    def refresh_embeddings(self, bars=no_bars, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Embed the buffered sets anew after a promotion, so that all stay comparable; False when stopped."""
        def embed(kept):
            return self.model.embed_exchange(kept.question, kept.reply, self.settings.system)

        return refresh(self.store, self.buffer, embed, self.settings.eoe_reading, should_stop, bars)

    def trainer_loss(self, examples: list[Example], adapter: AdapterVersion | None) -> float:
        """Mean loss of examples in the trainer, with an adapter version or the base alone."""
        return self._learning().loss(examples, adapter)

    def change_settings(self, values: dict) -> list[str]:
        """Keep these settings in the home's settings.json and go by them; an error changes nothing.

        UsageError and DamagedDataError also for what the next start, or each night, would refuse. Returns the names of
        those that were changed and wait for the next start.
        """
        known = asdict(self.settings)
        if unknown := sorted(set(values) - set(known)):
            raise UsageError(f"no setting {unknown[0]!r}; known: {', '.join(known)}")
        settings = replace(self.settings, **values)
        self._check(settings, values)
        parts = self._parts(settings, self.observer.lexicons)
        save_settings(self.store.home / "settings.json", values)
        vars(self).update(parts, settings=settings)
        return [name for name in AT_START if name in values and values[name] != known[name]]

    def new_conversation(self) -> None:
        self.history, self.left_out = [], 0
        self.retrieval.new_conversation()

    def status(self) -> dict:
        """What a person wants to know, as plain values."""
        answered = [s for s in self.buffer.sets() if s.response is not None]
        last = next(iter(self.store.events(1, "gate")), None)
        return {
            "home": str(self.store.home), "encrypted": self.store.encrypted,
            "model": str(self.model.path), "policy": self.settings.policy,
            "buffer": {"kept": len(self.buffer), "bins": self.settings.bins, "seen": self.store.counter("seen")},
            "answered": {
                "sets": len(answered), "not_yet_learned": sum(s.tags["learned_in"] is None for s in answered),
            },
            "unobserved": self.unobserved,
            "prompts": {"waiting": len(self.queue.pending()), "asked_today": self.queue.asked_today()},
            "adapter": describe(self.adapters.current()),
            "learning": self.scheduler.status(),
            "retrain_owed": self.store.counter("retrain_owed") > 0,
            "last_learned": {"at": last.at, **last.detail} if last else None,
            "settings": asdict(self.settings),
        }

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
        self.model.close()

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _parts(self, s: Settings, lexicons: Lexicons) -> dict:
        """The parts that go by the settings; they hold nothing that is not in the store, but what the host pushed."""
        store, before = self.store, getattr(self, "scheduler", None)
        pushed = before is not None and isinstance(before.source, HostSource)
        source = before.source if pushed else make_source(s.state_source, store.home)
        buffer = Buffer(store, make_policy(s.policy, s.seed), s.bins, s.bin_bytes, hidden=self.model.hidden)
        return {
            "buffer": buffer,
            "queue": AnnotationQueue(store, s.daily_limit, s.quiet_from, s.quiet_until, self.clock, s.bin_bytes),
            "adapters": Adapters(store, self.model.sha256, s.keep_adapters),
            "scheduler": Scheduler(store, s, source),
            "observer": Observer(buffer, lexicons, s.eoe_reading),
            "retrieval": Retrieval(buffer, s.retrieve, s.retrieve_tokens, lambda text: len(self.model.tokenize(text))),
        }

    def _check(self, settings: Settings, changed: Iterable[str]) -> None:
        """Refuse what would be looked at later only: where the caller can mend it no more, or nobody sees it."""
        if "lexicons" in changed and settings.lexicons:
            Lexicons.from_folder(Path(settings.lexicons))
        if "key_file" in changed and settings.key_file:
            check_key(self.store, read_key(Path(settings.key_file)))
        if "targets" in changed:
            target_names(settings.targets)

    def _learning(self) -> Learning:
        return Learning(self.store, self.buffer, self.adapters, self.model, self.settings)

    def _system(self) -> list[dict]:
        return [{"role": "system", "content": self.settings.system}] if self.settings.system else []

    def retrieved(self, text: str) -> list[dict]:
        """The answered exchanges that this message's conversation shows to the model, as turns; see Retrieval."""
        if not self.retrieval.has_any():
            return []  # the question is read once more to be embedded: only where it is of use
        return self.retrieval.messages(self.model.embed_exchange(text, "", self.settings.system).question)
