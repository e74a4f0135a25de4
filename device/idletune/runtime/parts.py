"""The parts of the runtime that depend on settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..learning.adapters import Adapters
from ..model.base_model import BaseModel
from ..schedule.scheduler import Scheduler
from ..schedule.state_sources import HostSource, StateSource, make_source
from ..selection.buffer import Buffer
from ..selection.lexicons import Lexicons
from ..selection.observation import Observer
from ..selection.policies import make_policy
from ..selection.retrieval import RANKINGS, Retrieval
from ..selection.scores import text_embedding
from ..settings import Settings
from ..small_files import user_path
from ..state.annotation import AnnotationQueue
from ..state.keyring import check_key, read_key
from ..state.store import Store
from ..training.lora import target_names

AT_START = ("threads", "context_tokens", "lexicons", "key_file")  # settings the model and the store are opened with


@dataclass(frozen=True)
class Parts:
    """Replaced as a whole when settings change: the state is in the store, none is kept here."""

    settings: Settings
    buffer: Buffer
    queue: AnnotationQueue
    adapters: Adapters
    scheduler: Scheduler
    observer: Observer
    retrieval: Retrieval

    @classmethod
    def of(
        cls,
        settings: Settings,
        store: Store,
        model: BaseModel,
        lexicons: Lexicons,
        clock: Callable[[], float],
        source: StateSource,
    ) -> Parts:
        s = settings
        buffer = Buffer(store, make_policy(s.policy, s.seed), s.buffer_capacity, s.bin_bytes, hidden=model.hidden)
        return cls(
            settings=s,
            buffer=buffer,
            queue=AnnotationQueue(store, s.daily_limit, s.quiet_from, s.quiet_until, clock, s.bin_bytes, s.ask_choices),
            adapters=Adapters(store, model.sha256, s.keep_adapters),
            scheduler=Scheduler(store, s, source),
            observer=Observer(buffer, lexicons, s.eoe_reading),
            retrieval=Retrieval(
                buffer,
                s.retrieve,
                s.retrieve_tokens,
                s.recall,
                lambda text: len(model.tokenize(text)),
                RANKINGS[s.retrieve_by],
                lambda text: text_embedding(model.embed_exchange(text, "", s.system).question),
            ),
        )


def source_for(settings: Settings, home: Path, before: StateSource | None = None) -> StateSource:
    """Where the device's state is read; what a host app has reported to the source before stays."""
    return before if isinstance(before, HostSource) else make_source(settings.state_source, home)


def lexicons_of(settings: Settings) -> Lexicons:
    """The user's lexicons, or those of the package."""
    return Lexicons.from_folder(user_path(settings.lexicons)) if settings.lexicons else Lexicons.builtin()


def check_change(settings: Settings, changed: Iterable[str], store: Store) -> None:
    """Check values that are otherwise used only at the next start or in training. UsageError, DamagedDataError."""
    if "lexicons" in changed:
        lexicons_of(settings)
    if "key_file" in changed and settings.key_file:
        check_key(store, read_key(Path(settings.key_file)))
    if "targets" in changed:
        target_names(settings.targets)
