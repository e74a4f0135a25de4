"""A home and its base model, open together."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .. import telemetry
from ..conversation import Conversations
from ..errors import UsageError
from ..learning.adapters import Adapters
from ..learning.serving import serve
from ..model.base_model import BaseModel
from ..model.bundle import check_bundle
from ..model.tried_models import TRIED, TriedModels
from ..schedule.lock import is_learning
from ..schedule.scheduler import Scheduler
from ..selection.buffer import Buffer
from ..selection.observation import Observer
from ..selection.policies import make_policy
from ..selection.retrieval import Retrieval
from ..settings import Settings, load_settings, with_present_names
from ..state.annotation import AnnotationQueue
from ..state.keyring import make_key, read_key
from ..state.private_settings import keep, opened
from ..state.store import Store
from .completions import Completions
from .histories import Histories
from .parts import AT_START, Parts, check_change, lexicons_of, source_for


class OpenedHome:
    """The parts over one home and one base model, the settings they follow, and the key; closed when done."""

    def __init__(
        self,
        home: Path,
        model: Path,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        sequences: int = 8,
        key: bytes | None = None,
        backend: str = "llama.cpp",
    ):
        s = settings or Settings(**load_settings(Path(home) / "settings.json"))
        check_bundle(model)
        make_policy(s.policy, s.seed)  # an unknown one is told before the model is loaded
        lexicons, tried = lexicons_of(s), TriedModels(Path(home) / TRIED)
        with ExitStack() as closing:
            self.model = BaseModel(
                model,
                context_tokens=s.context_tokens,
                sequences=sequences,
                threads=s.threads,
                backend=backend,
                tried=tried,
            )
            closing.callback(self.model.close)
            if key is None and s.key_file:
                key = read_key(Path(s.key_file))
            self.store = Store(home, clock, key=key)
            closing.callback(self.store.close)
            s = opened(self.store, s)
            _remove_telemetry_once(self.store)
            self.clock, self.conversations = clock, Conversations()
            self.histories, self.completions = Histories(), Completions()
            self.unobserved = ""  # why the last exchange could not be observed
            self._parts = Parts.of(s, self.store, self.model, lexicons, clock, source_for(s, self.store.home))
            tried.save()  # behind the check of the key, and with the model's digest
            if not is_learning(self.store.home):  # else its candidate is another process's, in the gate
                self.adapters.drop_unfinished()
            self._forgotten = self.store.counter("forgotten")
            serve(self.model, self.adapters)
            self._closing = closing.pop_all()

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        return self._parts.settings

    @property
    def buffer(self) -> Buffer:
        """The dialogue sets that are kept."""
        return self._parts.buffer

    @property
    def queue(self) -> AnnotationQueue:
        """The questions to the user, and the user's answers."""
        return self._parts.queue

    @property
    def adapters(self) -> Adapters:
        """All adapter versions."""
        return self._parts.adapters

    @property
    def scheduler(self) -> Scheduler:
        """Decides when a slice of learning may run."""
        return self._parts.scheduler

    @property
    def observer(self) -> Observer:
        """Scores exchanges and admits them to the buffer."""
        return self._parts.observer

    @property
    def retrieval(self) -> Retrieval:
        """Finds the dialogue sets to show before a message."""
        return self._parts.retrieval

    def rotate_key(self, key: bytes) -> None:
        """Encrypt the whole state anew; from now on only `key` (32 bytes) opens it. Encrypts a plain home, too."""
        self.store.rotate_key(key)

    def rotate_key_file(self, path: Path) -> Path:
        """The same with the key in a file, which is made if there is none, and is used from the next start on.

        UsageError where the key of this home is in no file but the host's.
        """
        if self.store.encrypted and not self.settings.key_file:
            raise UsageError("the key of this home is given by the program that opened it; change it there")
        self.rotate_key(read_key(path) if path.exists() else make_key(path))
        self.change_settings({"key_file": str(path)})
        return path

    def change_settings(self, values: dict[str, Any]) -> list[str]:
        """Keep these settings in the home and apply them; an error changes nothing.

        UsageError and DamagedDataError also for values that only the next start or the next training run uses.
        Returns the names of the changed settings that take effect at the next start.
        """
        known, values = asdict(self.settings), with_present_names(values)
        if unknown := sorted(set(values) - set(known)):
            raise UsageError(f"no setting {unknown[0]!r}; known: {', '.join(known)}")
        settings = replace(self.settings, **values)
        check_change(settings, values, self.store)
        parts = self._parts_for(settings)
        keep(self.store, values)
        self._parts = parts
        if {"retrieve", "retrieve_tokens", "recall"} & set(values):
            self.conversations.show_anew()
        return [name for name in AT_START if name in values and values[name] != known[name]]

    def use_settings(self, settings: Settings) -> None:
        """Apply these settings until the runtime is closed; nothing is kept in the home."""
        self._parts = self._parts_for(settings)

    def close(self) -> None:
        """Close the state, then the model. A second call does nothing."""
        self._closing.close()

    def _parts_for(self, settings: Settings) -> Parts:
        source = source_for(settings, self.store.home, before=self.scheduler.source)
        return Parts.of(settings, self.store, self.model, self.observer.lexicons, self.clock, source)


def _remove_telemetry_once(store: Store) -> None:
    """Remove the files of ONNX Runtime's telemetry, which earlier versions left on."""
    if not store.counter("telemetry_removed"):
        telemetry.remove_files()
        store.count("telemetry_removed")
