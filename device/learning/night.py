"""One night's work: paraphrase the answered sets, train an adapter on them, and let the gate decide.

Each stage can be stopped and leaves its work behind (paraphrases and measures in the database, training
in a checkpoint), so the next call goes on where this one stood.
"""

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from ..dialogue import DialogueSet
from ..errors import DamagedDataError, IdleTuneError, UsageError
from ..model.gguf_file import GgufFile
from ..progress import no_bars
from ..selection.buffer import Buffer
from ..settings import Settings
from ..state.files import CHECKPOINT, Files
from ..state.store import Store
from ..training.graph_files import find_graphs
from ..training.int8 import on_int8
from ..training.layers import Layers
from ..training.lora import Lora, read_adapter
from ..training.plan import MemoryPlan, plan_memory
from ..training.rows import Example
from ..training.shape import ModelShape
from ..training.trainer import Trainer, evaluate
from .adapters import Adapters, AdapterVersion
from .gate import Evidence, Verdict, judge
from .measures import Measures, measures_key
from .refresh import mark_due
from .rouge import rouge1
from .rounds import LEAST_ANSWERS, begin_round, open_round
from .synthesis import SynthesisReport, Synthesizer

DOSES = (1.0, 0.85, 0.7, 0.5, 0.35)  # strengths of the trained update, tried from the strongest
ADOPTED = "adopted.gguf"  # in the home: an adapter made elsewhere, which training starts from
PROBE_TOKENS = 96  # of each of the probe's paragraphs
SETS_PER_BATCH = 4  # answered sets paraphrased together; a stop loses at most their paraphrases


class Stopped(Exception):
    """The stop request was heeded; never leaves `Learning.run` or `review`."""


@dataclass
class LearningReport:
    """What a call did; `finished` is False when it was stopped before the verdict, in `stage`."""

    finished: bool = False
    stage: str = ""
    trained_sets: int = 0
    held_out_sets: int = 0
    synthesis: SynthesisReport = field(default_factory=SynthesisReport)
    plan: MemoryPlan | None = None
    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    dose: float = 1.0
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    adapter: AdapterVersion | None = None
    adapter_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str):
        self.stage, start = stage, time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start


class Learning:
    """The parts a night needs, and `run`."""

    def __init__(self, store: Store, buffer: Buffer, adapters: Adapters, model, settings: Settings):
        self.store, self.buffer, self.adapters = store, buffer, adapters
        self.model, self.settings = model, settings
        self.gguf = GgufFile(model.path)
        self.shape = ModelShape.of(self.gguf)
        self.graphs = find_graphs(self.shape.block, [Path(model.path).parent / "training", store.home / "graphs"])
        self.files, self.checkpoint = Files(store), store.home / CHECKPOINT

    def run(self, should_stop: Callable[[], bool] = lambda: False, bars=no_bars) -> LearningReport:
        """Synthesize, train, judge. `bars(label, total)` gives a context manager that shows progress.

        Raises UsageError when too little was answered, for training or to judge by, or the memory budget is too small.
        """
        report, forgotten = LearningReport(), self.store.counter("forgotten")
        self._should_stop = lambda: should_stop() or self.store.counter("forgotten") != forgotten
        report.plan = self._plan(self._new_lora())  # too small a budget is refused before the work begins
        self.adapters.drop_unfinished()
        training, held_out = self._split()
        report.trained_sets, report.held_out_sets = len(training), len(held_out)
        try:
            self._work(training, held_out, report, bars)
            report.finished = True
        except Stopped:
            self.adapters.drop_unfinished()
            self._serve_current()
        if self.store.counter("forgotten") != forgotten:  # by another process, after the checkpoint had learned it
            self.checkpoint.unlink(missing_ok=True)
        return report

    def _work(self, training: list[DialogueSet], held_out: list[DialogueSet], report: LearningReport, bars) -> None:
        with report.timed("synthesis"):
            self._synthesize(training, report.synthesis, bars)
        self.model.remove_adapter()
        trainer = self._trainer(training, report)
        self._measures = self._measures_of(trainer, held_out)
        with report.timed("gate"):
            before = self._measure_base(trainer, held_out, bars)
        with report.timed("training"):
            self._train(trainer, report, bars)
        with report.timed("gate"):
            self._judge(trainer, training + held_out, held_out, before, report, bars)

    def loss(self, examples: list[Example], adapter: AdapterVersion | None) -> float:
        """Mean loss in the trainer, in nats per labelled token, with an adapter or the base alone."""
        lora = self._read(adapter) if adapter else self._new_lora()
        plan = self._plan(lora)
        layers = self._layers(lora, plan)
        if adapter is None:
            lora.alpha = 0.0
        return _mean(evaluate(layers, examples, self._settings(plan).row_tokens))

    def _split(self) -> tuple[list[DialogueSet], list[DialogueSet]]:
        """Answered sets to train on, and those the gate keeps; those of the open round, if there is one."""
        answered = [s for s in self.buffer.sets() if s.response is not None]
        known = {s.id: s for s in answered}
        self._round = open_round(self.store)
        # Given up where a set is gone, or nothing was held out, as earlier versions could begin one.
        if self._round and not (self._round.held_out and known.keys() >= self._round.sets):
            self._round.abandon()
            self._round = None
        if self._round is None:
            training, held_out = self._divide(answered)
            self._round = begin_round(self.store, [s.id for s in training], [s.id for s in held_out])
        return [known[id] for id in self._round.training], [known[id] for id in self._round.held_out]

    def _divide(self, answered: list[DialogueSet]) -> tuple[list[DialogueSet], list[DialogueSet]]:
        """Sets to train on and sets to judge by, some of each; a set never changes sides."""
        if len(answered) < LEAST_ANSWERS:
            raise UsageError(f"{len(answered)} answered dialogue sets; learning starts at {LEAST_ANSWERS}: answer more")
        wanted = max(1, round(self.settings.held_out_share * len(answered)))
        held_out = [s for s in answered if s.tags["held_out"]]
        # Sets already learned from may not judge a later adapter: their answers are known to the earlier one.
        fresh = [s for s in answered if not s.tags["held_out"] and s.tags["learned_in"] is None]
        missing = max(0, wanted - len(held_out))
        chosen = fresh[:: max(1, len(fresh) // missing)][:missing] if missing else []
        kept = {s.id for s in held_out + chosen}
        if not 0 < len(kept) < len(answered):
            raise UsageError(
                f"of {len(answered)} answers {len(kept)} may judge an adapter and {len(answered) - len(kept)} train it;"
                " both need some: answer more"
            )
        self.buffer.hold_out([s.id for s in chosen])
        return [s for s in answered if s.id not in kept], [s for s in answered if s.id in kept]

    def _synthesize(self, sets: list[DialogueSet], report: SynthesisReport, bars) -> None:
        """Paraphrase what has not been yet. Paraphrases are kept batch by batch."""
        todo = [s for s in sets if not self._attempted(s.id)] if self.settings.paraphrases else []
        synthesizer = Synthesizer(self.model, self.settings)
        if todo:
            self.model.remove_adapter()
        with bars("paraphrasing", len(todo)) as bar:
            for start in range(0, len(todo), SETS_PER_BATCH):
                self._heed_stop()
                self._paraphrase(synthesizer, todo[start : start + SETS_PER_BATCH], report)
                bar(min(start + SETS_PER_BATCH, len(todo)), f"{report.accepted} of {report.asked} accepted")

    def _paraphrase(self, synthesizer: Synthesizer, sets: list[DialogueSet], report: SynthesisReport) -> None:
        seed = self.settings.seed * 1_000_003 + sets[0].id * 101
        questions = synthesizer.paraphrase([s.question for s in sets], report, seed, self._heed_stop)
        responses = [[s.response] * len(q) for s, q in zip(sets, questions)]
        if self.settings.paraphrase == "both":
            reworded = synthesizer.paraphrase([s.response for s in sets], report, seed + 50, self._heed_stop)
            responses = [(r + kept)[: len(kept)] for r, kept in zip(reworded, responses)]
        with self.store.transaction() as db:
            for s, qs, rs in zip(sets, questions, responses):
                for q, r in zip(qs, rs):
                    id = self.store.next_id("synthetic_sets")
                    values = self.store.seal("synthetic_sets", id, question=q, response=r)
                    db.execute(
                        "INSERT INTO synthetic_sets (id, dialogue_set_id, rouge1, question, response)"
                        " VALUES (?, ?, ?, ?, ?)",
                        (id, s.id, rouge1(q, s.question), values["question"], values["response"]),
                    )
                self.store.count(f"paraphrased {s.id}")

    def _attempted(self, id: int) -> bool:
        return self.store.counter(f"paraphrased {id}") > 0

    def _trainer(self, training: list[DialogueSet], report: LearningReport) -> Trainer:
        # The user's own wording is learned, where that is set, the model's is not.
        examples = [self._encode(t.question, t.response, self.settings.learn_questions) for t in training]
        for t in training:
            rows = self.store.rows("SELECT id, question, response FROM synthetic_sets WHERE dialogue_set_id = ?", t.id)
            opened = [self.store.unseal("synthetic_sets", row["id"], row) for row in rows]
            examples += [self._encode(row["question"], row["response"]) for row in opened]
        lora = self._new_lora()
        report.plan = self._plan(lora, sum(len(example.tokens) for example in examples))
        settings, layers = self._settings(report.plan), self._layers(lora, report.plan)
        return Trainer(
            layers, examples, settings, self.checkpoint, self.files, base=self.model.sha256,
            keeps_entering=report.plan.keeps_entering,
        )

    def _new_lora(self) -> Lora:
        """Where training starts: the adapter that serves (`warm_start`), an adopted one, both in their own form, or
        one without effect in the form that the settings ask for."""
        current, adopted = self.adapters.current(), self.store.home / ADOPTED
        if self.settings.warm_start and current is not None:
            return self._read(current)
        return read_adapter(adopted, self.shape) if adopted.is_file() else Lora.from_settings(self.shape, self.settings)

    def _read(self, adapter: AdapterVersion) -> Lora:
        with self.adapters.readable(adapter) as path:
            return read_adapter(path, self.shape)

    def _plan(self, lora: Lora, cached_tokens: int = 0) -> MemoryPlan:
        s = self.settings
        longest = max(s.row_tokens, s.example_tokens)
        int8 = on_int8(s.products, self.graphs, s.threads)
        return plan_memory(lora, self.graphs, longest, s.memory_mb, cached_tokens, s.example_tokens, int8)

    def _settings(self, plan: MemoryPlan) -> Settings:
        """The settings with rows as long as the memory allows."""
        return replace(self.settings, row_tokens=min(self.settings.row_tokens, plan.row_tokens))

    def _layers(self, lora: Lora, plan: MemoryPlan) -> Layers:
        return Layers.planned(self.gguf, self.graphs, lora, plan, self.settings.threads)

    def _train(self, trainer: Trainer, report: LearningReport, bars) -> None:
        if not self._resumed(trainer):
            self.checkpoint.unlink(missing_ok=True)  # of another run: it may know what was forgotten since
        with bars("training", len(trainer.rows)) as bar:
            outcome = trainer.run(self._should_stop, bar)
        report.losses, report.tokens = outcome.losses, outcome.tokens
        if not outcome.finished:
            raise Stopped
        if outcome.losses:
            trainer.save()  # a stop in the gate must not cost the last steps

    def _resumed(self, trainer: Trainer) -> bool:
        """Whether a checkpoint was taken up; a damaged one costs its training and nothing else."""
        try:
            return trainer.resume()
        except DamagedDataError as error:
            self.store.log("checkpoint", problem=str(error))
            return False

    def _measure_base(self, trainer: Trainer, held_out: list[DialogueSet], bars) -> dict[str, float]:
        """Losses before training: in the trainer with the adapter silenced, and in llama.cpp."""
        examples = self._encoded(held_out)
        with bars("measuring", 3) as bar:
            with trainer.lora.silenced():
                personal = self._measures.trainer("personal base", trainer, examples)
                bar(1, "held-out answers")
                probe = self._measures.trainer("probe base", trainer, self._probe())
                bar(2, "general text")
            engine_base = self._measures.engine("engine base", self.model, examples)
            serving = engine_base
            if self.adapters.current():
                self._serve_current()
                serving = self._measures.engine("engine serving", self.model, examples)
                self.model.remove_adapter()
            bar(3, "llama.cpp")
        return dict(personal_base=personal, probe_base=probe, engine_base=engine_base, engine_serving=serving)

    def _judge(self, trainer: Trainer, learned, held_out, before: dict, report: LearningReport, bars) -> None:
        """Find the strongest dose that keeps the general language, measure it in llama.cpp, and decide."""
        examples = self._encoded(held_out)
        with bars("judging", len(DOSES)) as bar:
            probe = self._choose_dose(trainer, before["probe_base"], report, bar)
            personal = self._measures.trainer(f"personal at {report.dose}", trainer, examples)
            adapter = self.adapters.add(trainer.lora, self.settings, [s.id for s in learned])
            report.adapter_bytes = adapter.bytes
            load(self.model, self.adapters, adapter)
            engine = self._measures.engine(f"engine at {report.dose}", self.model, examples)
        evidence = Evidence(personal_adapted=personal, probe_adapted=probe, engine_adapted=engine, **before)
        verdict = judge(
            evidence, probe_tolerance=self.settings.probe_tolerance, engine_tolerance=self.settings.engine_tolerance
        )
        self._decide(adapter, evidence, verdict, learned)
        report.evidence, report.verdict = evidence, verdict
        report.adapter = self.adapters.get(adapter.version)

    def _choose_dose(self, trainer: Trainer, probe_base: float, report: LearningReport, bar) -> float:
        """Weaken the adapter until the general loss is within its tolerance; returns that loss.

        An adapter that learned the user but hurts the rest is of use at a lower strength; only one that hurts
        even then is left to the gate to reject.
        """
        full, allowed = trainer.lora.alpha, (1 + self.settings.probe_tolerance) * probe_base
        for number, dose in enumerate(DOSES, start=1):
            trainer.lora.weaken(dose * full / trainer.lora.alpha)
            probe, report.dose = self._measures.trainer(f"probe at {dose}", trainer, self._probe()), dose
            bar(number, f"strength {dose:.0%}")
            if probe <= allowed:
                break
        return probe

    def _decide(self, adapter: AdapterVersion, evidence: Evidence, verdict: Verdict, learned) -> None:
        decide = self.adapters.promote if verdict.promoted else self.adapters.reject
        with self.store.transaction() as db:  # a kill in between must not leave a verdict on a round that goes on
            decide(adapter.version, evidence.to_dict(), verdict.reason)
            if verdict.promoted:
                self.buffer.mark_learned([s.id for s in learned], adapter.version)
                mark_due(self.store)
            self._round.finish()
            db.execute("DELETE FROM counters WHERE name = 'retrain_owed'")
            self.store.log("gate", version=adapter.version, promoted=verdict.promoted, reason=verdict.reason)
        self.checkpoint.unlink(missing_ok=True)
        self._serve_current()

    def _measures_of(self, trainer: Trainer, held_out: list[DialogueSet]) -> Measures:
        serving, row_tokens = self.adapters.current(), trainer.settings.row_tokens
        depends = trainer.fingerprint, self.model.sha256, serving.version if serving else 0, row_tokens
        key = measures_key(self._encoded(held_out), *depends)
        return Measures(self._round, key, row_tokens, self._heed_stop)

    def _heed_stop(self, *_) -> None:
        """Raise Stopped if a stop is asked for; takes and ignores what a progress callback is given."""
        if self._should_stop():
            raise Stopped

    def _serve_current(self) -> None:
        serve(self.model, self.adapters)

    def _encoded(self, sets: list[DialogueSet]) -> list[Example]:
        """With the answers to be predicted: what is measured."""
        return [self._encode(s.question, s.response) for s in sets]

    def _encode(self, question: str, response: str, learn_question: bool = False) -> Example:
        s = self.settings
        return self.model.encode_exchange(
            question, response, system=s.system, longest=s.example_tokens, learn_question=learn_question
        )

    def _probe(self) -> list[Example]:
        """The general text, the beginning of each paragraph an example, every token a label."""
        text = (files("idletune") / "data" / "general_probe.txt").read_text(encoding="utf-8")
        return [
            self.model.encode_text(paragraph, longest=PROBE_TOKENS)
            for paragraph in text.split("\n\n") if paragraph.strip()
        ]


def serve(model, adapters: Adapters) -> None:
    """Make the model answer with the promoted adapter, or alone where there is none.

    A version whose file is gone or damaged is dropped, and the one before it serves.
    """
    while (current := adapters.current()) is not None:
        if model.adapter == current.path:
            return
        try:
            load(model, adapters, current)
            return
        except IdleTuneError as error:
            adapters.drop_promoted(str(error))
    model.remove_adapter()


def load(model, adapters: Adapters, adapter: AdapterVersion) -> None:
    """Make the model answer with a version, promoted or not. DamagedDataError when its file is not whole."""
    with adapters.readable(adapter) as path:
        model.load_adapter(path, known_as=adapter.path)


def _mean(total: tuple[float, int]) -> float:
    return total[0] / max(1, total[1])
