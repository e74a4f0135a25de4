"""Import of conversations: a preview of a file, and then its exchanges, one by one, past the buffer's policy.

As answers they come answered, as a stream like a conversation, about which the user may be asked. Either way they take
no more than their share of the buffer, and an exchange is never taken twice. Of a long past the model reads a number
that is spread evenly over the file, since reading all of a million messages would take days.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace

from ..chat_files import ChatFile, Skipped
from ..dialogue import Exchange, TokenEmbeddings
from ..errors import DamagedDataError, UsageError
from ..model.thinking import answer_of
from ..progress import Bar, Bars
from ..state import imports
from ..state.bins import size_of_embeddings
from ..state.origins import IMPORT
from ..state.store import Store
from .parts import Parts

Steps = Generator["Imported", None, None]
ANSWERS, STREAM = "answers", "stream"
MODES = (ANSWERS, STREAM)
SHOWN = 3  # exchanges of a preview
TOO_LARGE = "too large for a dialogue set (bin_bytes)"
KNOWN = "imported before"
ONLY_THOUGHTS = "a think block without an answer"
STOP_CHECK = 256  # exchanges between two looks at the progress


@dataclass
class ImportPreview:
    """What a file holds. `skipped`: by reason, how many and the first one's place."""

    name: str
    format: str  # its title
    exchanges: int = 0  # that can be imported: neither skipped nor known
    first: float | None = None  # seconds since 1970
    last: float | None = None
    examples: list[Exchange] = field(default_factory=list)
    skipped: dict[str, tuple[int, str]] = field(default_factory=dict)
    to_read: int = 0  # of the exchanges, how many the model will read

    def to_dict(self) -> dict:
        """As JSON has it."""
        examples = [{"question": e.question, "response": e.response, "at": e.at} for e in self.examples]
        skipped = [{"reason": reason, "count": n, "first": place} for reason, (n, place) in self.skipped.items()]
        return {**vars(self), "examples": examples, "skipped": skipped}

    def add(self, exchange: Exchange) -> None:
        self.exchanges += 1
        if len(self.examples) < SHOWN:
            self.examples.append(exchange)
        if exchange.at is not None:
            self.first = exchange.at if self.first is None else min(self.first, exchange.at)
            self.last = exchange.at if self.last is None else max(self.last, exchange.at)

    def skip(self, found: Skipped) -> None:
        count, place = self.skipped.get(found.reason, (0, found.place))
        self.skipped[found.reason] = count + 1, place


@dataclass
class Imported:
    """What became of a file: `taken` exchanges were read by the model, `kept` of them are in the buffer.

    `id` is the import's number, 0 where nothing was new.
    """

    id: int
    name: str
    taken: int = 0
    kept: int = 0
    finished: bool = False

    def to_dict(self) -> dict:
        """As JSON has it."""
        return dict(vars(self))


@dataclass(frozen=True)
class Importer:
    """Reads files of conversations into the buffer of a runtime."""

    store: Store
    parts: Parts
    hidden: int  # length of the model's embeddings
    embed: Callable[[str, str], TokenEmbeddings]

    def preview(self, file: ChatFile, me: str, bars: Bars) -> ImportPreview:
        """Read all of a file and keep nothing. DamagedDataError and UsageError name the place."""
        found = ImportPreview(file.source.name, file.format.title)
        with bars("reading", max(1, file.size)) as bar:
            for each in self._new(file, me, bar):
                if isinstance(each, Skipped):
                    found.skip(each)
                else:
                    found.add(each)
        found.to_read = min(found.exchanges, self.parts.settings.import_limit)
        return found

    def run(
        self, file: ChatFile, me: str, mode: str, preview: ImportPreview, bars: Bars
    ) -> Generator[Imported, None, None]:
        """Import what the preview saw, an exchange at a time; yields what there is after each, and at the end.

        Each exchange is on the disk when it is yielded; a file that is imported again goes on where it stood.
        """
        if mode not in MODES:
            raise UsageError(f"import as {mode!r}; use one of {', '.join(MODES)}")
        if not preview.to_read:  # no record of nothing
            yield Imported(0, file.source.name, finished=True)
            return
        done = Imported(imports.begin(self.store, file.source.name, file.format.name, mode), file.source.name)
        with bars("importing", max(1, preview.to_read)) as bar:
            try:
                for exchange in self._spread(file, me, preview):
                    self._take(done, exchange, answered=mode == ANSWERS)
                    bar(done.taken, f"{done.kept} kept")
                    yield done
            except DamagedDataError as error:
                kept = f"{done.taken} exchanges were imported before (idletune forget --source {done.id} removes them)"
                raise DamagedDataError(f"{error}; the file changed while it was read, {kept}") from None
        imports.finish(self.store, done.id)
        done.finished = True
        yield done

    def _new(self, file: ChatFile, me: str, bar: Bar) -> Iterator[Exchange | Skipped]:
        """The exchanges that can be imported, and the others as skipped."""
        most = self.parts.settings.bin_bytes - size_of_embeddings(self.hidden)
        for number, each in enumerate(file.read(me)):
            if number % STOP_CHECK == 0:
                bar(file.position)
            if isinstance(each, Exchange):
                each = replace(each, response=answer_of(each.response))
            if isinstance(each, Skipped):
                yield each
            elif not each.response:
                yield Skipped(ONLY_THOUGHTS)
            elif len(each.question.encode()) + len(each.response.encode()) > most:
                yield Skipped(TOO_LARGE)
            elif imports.is_taken(self.store, imports.digest_of(self.store, each.question, each.response)):
                yield Skipped(KNOWN)
            else:
                yield each

    def _spread(self, file: ChatFile, me: str, preview: ImportPreview) -> Iterator[Exchange]:
        """As many of the new exchanges as the model is to read, spread evenly over the file."""
        number, total = 0, max(1, preview.exchanges)
        for each in self._new(file, me, lambda done, note="": None):
            if isinstance(each, Skipped):
                continue
            number += 1
            if number * preview.to_read // total > (number - 1) * preview.to_read // total:
                yield each

    def _take(self, done: Imported, exchange: Exchange, answered: bool) -> None:
        """Have the policy decide about an exchange; it and its record are kept together."""
        question, response, s = exchange.question, exchange.response, self.parts.settings
        embeddings = self.embed(question, response)
        with self.store.transaction():
            at = exchange.at or self.store.clock()
            candidate = self.parts.observer.score(question, response, embeddings, at, origin=IMPORT)
            if answered:
                candidate = replace(candidate, response=response, answer_origin=IMPORT)
            admission = self.parts.buffer.admit(candidate, s.import_share)
            digest = imports.digest_of(self.store, question, response)
            imports.take(self.store, done.id, digest, admission.id, answered)
            if admission.id is not None and not answered:
                self.parts.queue.refill()
        done.taken += 1
        evicted = admission.evicted
        done.kept += admission.id is not None
        done.kept -= evicted is not None and imports.came_of(self.store, evicted) == done.id
