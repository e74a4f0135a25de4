"""One life of the loop that may end at any moment, and what must hold when it has ended.

`live` observes, answers, learns and forgets until it is killed, and says what it is doing and what it was told
is safe. `check` opens what is left and compares. Both run in forked children, so that the parent stays small.
"""

import functools
import json
import os
import random
import select
import shutil
import signal
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from idletune.dialogue import TokenEmbeddings
from idletune.errors import UsageError
from idletune.learning.adapters import Adapters
from idletune.model.reply import Reply
from idletune.runtime import Runtime
from idletune.settings import Settings
from idletune.state.adapter_records import KEPT_STATES
from idletune.state.store import Store
from idletune.training.trainer import Trainer

KEY = b"k" * 32
LONGEST = 300.0  # seconds to wait for a child: on a busy machine it may be slow
SETTINGS = Settings(
    threads=1,
    buffer_capacity=4096,
    epochs=3,
    min_steps=0,
    learning_rate=0.01,
    rank=2,
    alpha=4,
    targets="q,v",
    paraphrases=1,
    rouge_least=0.0,
    rouge_most=1.0,
    sequence_tokens=128,
    quiet_from=0,
    quiet_until=0,
    daily_limit=1000,
    probe_tolerance=10.0,
    engine_tolerance=10.0,
    keep_adapters=2,
    suspicious_fall=1,
)


def live(home: Path, model: Path, key: bytes | None, seed: int, say) -> None:
    """Go through the loop for ever; `say(line)` tells the stage, and what is safe as soon as it is."""
    tell_inner_stages(say)
    chance = random.Random(seed)
    say("opening")
    with Runtime(home, model, SETTINGS, sequences=2, key=key) as runtime:
        while True:
            turn(runtime, chance, say)


def turn(runtime: Runtime, chance: random.Random, say) -> None:
    """A few exchanges, the answers to them, a night's learning, and now and then something to forget."""
    observe(runtime, chance, 3, say)
    answer(runtime, chance, say)
    answered = answered_sets(runtime)
    if len(answered) >= 6:
        runtime.learn(bars=telling(say))
        if chance.random() < 0.3:
            forget(runtime, chance.choice(answered), say)
        if runtime.store.encrypted and chance.random() < 0.3:
            say("rotation")
            runtime.rotate_key(KEY)  # the host's key may stay; all is encrypted anew all the same


def observe(runtime: Runtime, chance: random.Random, count: int, say) -> None:
    """Exchanges that no model had a part in."""
    rng = np.random.default_rng(chance.randrange(2**32))
    for _ in range(count):
        say("selection")
        number = runtime.store.counter("seen")
        embeddings = TokenEmbeddings(*rng.standard_normal((2, 3, runtime.model.hidden)).astype(np.float32))
        runtime.observe(f"question {number} about bread", Reply(f"reply {number}", [1], embeddings, "end", 4))


def answer(runtime: Runtime, chance: random.Random, say) -> None:
    """An answer to each question that is due."""
    while (prompt := runtime.next_prompt()) is not None:
        say("answer")
        own = " ".join(f"{letter}{prompt.id}" for letter in "bcdef")  # near-duplicates would count as one
        text = f"answer {prompt.id} to {prompt.question} {own} " + "aaaa " * chance.randint(1, 3)
        id = runtime.queue.edit(prompt.id, text)
        say(f"answered {id} {text.strip()}")
        say(f"safe {_log_position(runtime.store.path)}")


def answered_sets(runtime: Runtime) -> list[int]:
    return [s.id for s in runtime.buffer.sets() if s.response is not None]


def forget(runtime: Runtime, id: int, say) -> None:
    say(f"forgetting {id}")
    runtime.forget(id)
    say(f"forgotten {id}")


def check(home: Path, model: Path, key: bytes | None, answered: dict, forgotten: set, scratch: Path, say) -> None:
    """Says one JSON object: what was found wrong, how long opening took, and how training was resumed."""
    found = {"problems": [], "interrupted": 0, "resumed": 0}
    start = time.perf_counter()
    with Store(home, key=key) as store:
        found["startup_ms"] = 1e3 * (time.perf_counter() - start)
        if store.rows("PRAGMA integrity_check")[0][0] != "ok" or store.rows("PRAGMA foreign_key_check"):
            found["problems"].append("corrupt database")
    _resume_copies(home, model, key, scratch, found)
    with Runtime(home, model, SETTINGS, sequences=2, key=key) as runtime:
        found["problems"] += problems(runtime, answered, forgotten)
        runtime.chat("still there?")
    say(json.dumps(found))


def problems(runtime: Runtime, answered: dict, forgotten: set):
    """All that is wrong with an open home: `answered` was acknowledged, `forgotten` may be gone."""
    yield from _lost(runtime, answered, forgotten)
    yield from _half(runtime, forgotten)
    yield from _shown(runtime, answered, forgotten)


def _lost(runtime: Runtime, answered: dict, forgotten: set):
    """Acknowledged answers that are not there; forgetting that was begun may have taken its set."""
    responses = {s.id: s.response for s in runtime.buffer.sets()}
    for id, text in answered.items():
        if id not in forgotten and responses.get(id) != text:
            yield f"answer {id} lost: {text!r} is {responses.get(id)!r}"
    torn = """SELECT count(*) FROM prompts JOIN dialogue_sets ON dialogue_sets.id = dialogue_set_id
        WHERE (state = 'edited') != (response IS NOT NULL)"""
    if runtime.store.rows(torn)[0][0]:
        yield "an answer without its prompt"


def _half(runtime: Runtime, forgotten: set):
    """Adapters that are served or kept and should not be."""
    adapters = runtime.adapters
    done = {id for id in forgotten if not runtime.store.row("SELECT 1 FROM dialogue_sets WHERE id = ?", id)}
    kept = [adapter for adapter in adapters.all() if adapter.state in KEPT_STATES]
    for adapter in kept:
        with adapters.readable(adapter):  # raises when the file is not what was written
            pass
        if done & set(adapter.dialogue_set_ids):
            yield f"adapter {adapter.version} knows what was forgotten"
    current = adapters.current()
    if runtime.model.adapter != (current.path if current else None):
        yield f"served {runtime.model.adapter}, promoted {current and current.version}"
    if {p.name for p in adapters.folder.iterdir()} != {adapter.path.name for adapter in kept}:
        yield "adapter files without a row"
    learned = {row[0] for row in runtime.store.rows("SELECT DISTINCT learned_in FROM dialogue_sets")} - {None}
    for version in learned:
        if not adapters.get(version).reason:
            yield f"sets learned in adapter {version}, which was never judged"


def _shown(runtime: Runtime, answered: dict, forgotten: set):
    """Words in the files that should not be there: of sets that were forgotten, and with a key any."""
    home, kept = runtime.store.home, {s.id for s in runtime.buffer.sets()}
    secrets = [b"about bread"] if runtime.store.encrypted else []
    secrets += [answered[id].encode() for id in forgotten - kept if id in answered]
    for path in home.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for secret in secrets:
            if secret in data:
                yield f"shown in {path.name}: {secret.decode()}"


def _resume_copies(home: Path, model: Path, key, scratch: Path, found: dict) -> None:
    """Go on with an interrupted training, and train the same from its beginning: the adapters must be equal."""
    if not (home / "training.npz").is_file():
        return
    made = []
    for name in ("resumed", "afresh"):
        copy = scratch / name
        shutil.copytree(home, copy)
        if name == "afresh":
            (copy / "training.npz").unlink()
        taken_up = []
        with _spied(
            Trainer, "resume", lambda self, result: taken_up.append(result and 0 < self.done < len(self.sequences))
        ):
            with Runtime(copy, model, SETTINGS, sequences=2, key=key) as runtime:
                runtime.learn(embed_anew=False)
                made.append(runtime.adapters.all()[0].file_sha256)
        if name == "resumed" and not any(taken_up):
            return
    found["interrupted"] = 1
    found["resumed"] = int(made[0] == made[1])
    if made[0] != made[1]:
        found["problems"].append("a resumed training differs from one that was not interrupted")


@contextmanager
def _spied(owner, name: str, tell):
    real = getattr(owner, name)

    @functools.wraps(real)
    def watched(self, *arguments, **options):
        result = real(self, *arguments, **options)
        tell(self, result)
        return result

    setattr(owner, name, watched)
    try:
        yield
    finally:
        setattr(owner, name, real)


def tell_inner_stages(say) -> None:
    """Stages that show no progress bar; and a checkpoint after every micro-step, for a kill to fall into."""
    for name, stage in (("add", "adapter file"), ("promote", "promotion")):

        def told(self, *arguments, real=getattr(Adapters, name), stage=stage, **options):
            say(stage)
            return real(self, *arguments, **options)

        setattr(Adapters, name, told)
    Trainer.run = functools.partialmethod(Trainer.run, checkpoint_seconds=0.0)


def telling(say):
    @contextmanager
    def bars(label: str, total: int):
        say(label)
        yield lambda done, note="": None

    return bars


def _log_position(database: Path) -> str:
    """Salt and last frame of the write-ahead log, from the log's index (sqlite.org/walformat.html)."""
    header = Path(f"{database}-shm").read_bytes()[:48]
    return f"{header[32:40].hex()} {int.from_bytes(header[16:20], sys.byteorder)}"


class Child:
    """A forked child that runs `work(say)`. What it says is read line by line as it comes."""

    def __init__(self, work):
        reading, writing = os.pipe()
        self.id = os.fork()
        if self.id == 0:
            os.close(reading)
            _run(work, writing)
        os.close(writing)
        self.reading, self.rest = reading, b""

    def hear(self, until: str | None = None, longest: float = LONGEST) -> list[str]:
        """Its lines up to one of the stage `until`, or up to its end."""
        lines, give_up = [], time.monotonic() + longest
        while time.monotonic() < give_up:
            if not select.select([self.reading], [], [], 0.5)[0]:
                continue
            data = os.read(self.reading, 65536)
            if not data:
                return lines
            *whole, self.rest = (self.rest + data).split(b"\n")
            lines += [line.decode() for line in whole]
            if until and any(stage_of(line) == until for line in lines[-len(whole) :]):
                return lines
        self.kill()
        return [*lines, f"died of waiting for {until or 'its end'}"]

    def kill(self) -> None:
        os.kill(self.id, signal.SIGKILL)

    def end(self) -> list[str]:
        """The lines not heard yet, once it has ended; a last one when a signal of its own ended it."""
        lines = self.hear()
        status = os.waitstatus_to_exitcode(os.waitpid(self.id, 0)[1])
        os.close(self.reading)
        return lines if status in (0, -signal.SIGKILL) else [*lines, f"died with {status}"]


def stage_of(line: str) -> str:
    """Lines that name more than their stage name it first."""
    return line.split(" ")[0] if line.startswith("forgetting ") else line


def _run(work, writing: int) -> None:
    def say(line: str) -> None:
        os.write(writing, f"{line}\n".encode())

    try:
        work(say)
    except BaseException as error:
        kind = "refused" if isinstance(error, UsageError) else "died"
        say(f"{kind} {' | '.join(traceback.format_exc().splitlines()[-6:])}")
    finally:
        os._exit(0)
