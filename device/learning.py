"""One night's work: paraphrase the answered sets, train an adapter on them, and let the gate decide.

Each stage can be stopped and leaves its work behind (paraphrases in the database, training in a
checkpoint), so the next call goes on where this one stood.
"""

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from .adapters import Adapters, AdapterVersion
from .buffer import Buffer
from .dialogue import DialogueSet
from .errors import IdleTuneError, UsageError
from .gate import Evidence, Verdict, judge
from .gguf_file import GgufFile
from .progress import no_bars
from .rouge import rouge1
from .settings import Settings, cores
from .store import Store
from .synthesis import SynthesisReport, Synthesizer
from .training.layers import Layers
from .training.lora import Lora, read_adapter
from .training.plan import MemoryPlan, plan_memory
from .training.rows import Example
from .training.shape import ModelShape, find_graphs
from .training.trainer import Trainer, evaluate
from .training.weights import Weights

LEAST_ANSWERS = 5  # below this there is nothing to hold out and little to learn
DOSES = (1.0, 0.7, 0.5, 0.35)  # strengths of the trained update, tried from the strongest
ADOPTED = "adopted.gguf"  # in the home: an adapter made elsewhere, which training starts from
PROBE_TOKENS = 96  # of each of the probe's paragraphs
SETS_PER_ROUND = 16  # answered sets paraphrased between two looks at the stop request


@dataclass
class LearningReport:
    """What a call did; `finished` is False when it was stopped before the gate."""

    finished: bool = False
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
        start = time.monotonic()
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
        self.graphs = find_graphs(self.shape, [Path(model.path).parent / "training", store.home / "graphs"])
        self.checkpoint = store.home / "training.npz"

    def run(self, should_stop: Callable[[], bool] = lambda: False, bars=no_bars) -> LearningReport:
        """Synthesize, train, judge. `bars(label, total)` gives a context manager that shows progress.

        Raises UsageError when too little was answered or the memory budget is too small.
        """
        report = LearningReport()
        training, held_out = self._split()
        report.trained_sets, report.held_out_sets = len(training), len(held_out)
        report.plan = plan_memory(self.shape, self.settings.row_tokens, self.settings.memory_mb)
        with report.timed("synthesis"):
            if not self._synthesize(training, report.synthesis, should_stop, bars):
                return report
        self.model.remove_adapter()
        trainer = self._trainer(training, report.plan)
        with report.timed("gate"):
            before = self._measure_base(trainer, held_out, bars)
        with report.timed("training"):
            if not self._train(trainer, report, should_stop, bars):
                self._serve_current()
                return report
        with report.timed("gate"):
            self._judge(trainer, training + held_out, held_out, before, report, bars)
        report.finished = True
        return report

    def loss(self, examples: list[Example], adapter: Path | None) -> float:
        """Mean loss in the trainer, in nats per labelled token, with an adapter file or the base alone."""
        plan = plan_memory(self.shape, self.settings.row_tokens, self.settings.memory_mb)
        lora = read_adapter(adapter, self.shape) if adapter else self._new_lora()
        return _mean(evaluate(self._layers(lora, plan), examples, self.settings.row_tokens))

    def _split(self) -> tuple[list[DialogueSet], list[DialogueSet]]:
        """Answered sets to train on, and those the gate keeps; a set never changes sides."""
        answered = [s for s in self.buffer.sets() if s.response is not None]
        if len(answered) < LEAST_ANSWERS:
            raise UsageError(f"{len(answered)} answered dialogue sets; learning starts at {LEAST_ANSWERS}: answer more")
        share = self.settings.held_out_share
        wanted = max(1, round(share * len(answered))) if share else 0
        held_out = [s for s in answered if s.tags["held_out"]]
        # Sets already learned from may not judge a later adapter: their answers are known to the earlier one.
        fresh = [s for s in answered if not s.tags["held_out"] and s.tags["learned_in"] is None]
        missing = max(0, wanted - len(held_out))
        chosen = fresh[:: max(1, len(fresh) // missing)][:missing] if missing else []
        self.buffer.hold_out([s.id for s in chosen])
        kept = {s.id for s in held_out + chosen}
        return [s for s in answered if s.id not in kept], [s for s in answered if s.id in kept]

    def _synthesize(self, sets: list[DialogueSet], report: SynthesisReport, should_stop, bars) -> bool:
        """Paraphrase what has not been yet; False when stopped. Paraphrases are kept round by round."""
        todo = [s for s in sets if not self._attempted(s.id)] if self.settings.paraphrases else []
        synthesizer = Synthesizer(self.model, self.settings)
        if todo:
            self.model.remove_adapter()
        with bars("paraphrasing", len(todo)) as bar:
            for start in range(0, len(todo), SETS_PER_ROUND):
                if should_stop():
                    return False
                self._paraphrase(synthesizer, todo[start : start + SETS_PER_ROUND], report)
                bar(min(start + SETS_PER_ROUND, len(todo)), f"{report.accepted} of {report.asked} accepted")
        return True

    def _paraphrase(self, synthesizer: Synthesizer, sets: list[DialogueSet], report: SynthesisReport) -> None:
        seed = self.settings.seed * 1_000_003 + sets[0].id * 101
        questions = synthesizer.paraphrase([s.question for s in sets], report, seed)
        responses = [[s.response] * len(q) for s, q in zip(sets, questions)]
        if self.settings.paraphrase == "both":
            reworded = synthesizer.paraphrase([s.response for s in sets], report, seed + 50)
            responses = [(r + kept)[: len(kept)] for r, kept in zip(reworded, responses)]
        with self.store.transaction() as db:
            for s, qs, rs in zip(sets, questions, responses):
                db.executemany(
                    "INSERT INTO synthetic_sets (dialogue_set_id, rouge1, question, response) VALUES (?, ?, ?, ?)",
                    [(s.id, rouge1(q, s.question), q, r) for q, r in zip(qs, rs)],
                )
                self.store.count(f"paraphrased {s.id}")

    def _attempted(self, id: int) -> bool:
        return self.store.counter(f"paraphrased {id}") > 0

    def _trainer(self, training: list[DialogueSet], plan: MemoryPlan) -> Trainer:
        pairs = [(t.question, t.response) for t in training]
        for t in training:
            rows = self.store.rows("SELECT question, response FROM synthetic_sets WHERE dialogue_set_id = ?", t.id)
            pairs += [(row["question"], row["response"]) for row in rows]
        examples = [self._encode(question, response) for question, response in pairs]
        return Trainer(self._layers(self._new_lora(), plan), examples, self.settings, self.checkpoint)

    def _new_lora(self) -> Lora:
        s = self.settings
        return Lora(self.shape, s.targets, s.rank, s.alpha)

    def _layers(self, lora: Lora, plan: MemoryPlan) -> Layers:
        threads = self.settings.threads or cores()
        weights = Weights(self.gguf, self.shape, threads=threads, resident=plan.resident_layers)
        return Layers(weights, self.graphs, lora, threads=threads, recompute=plan.recompute)

    def _train(self, trainer: Trainer, report: LearningReport, should_stop, bars) -> bool:
        if not trainer.resume():
            self._start(trainer.lora)
        with bars("training", len(trainer.rows)) as bar:
            outcome = trainer.run(should_stop, bar)
        report.losses, report.tokens = outcome.losses, outcome.tokens
        return outcome.finished

    def _start(self, lora: Lora) -> None:
        """Begin from an adopted adapter of the same rank and targets, else from nothing."""
        lora.initialize(self.settings.seed)
        adopted = self.store.home / ADOPTED
        if adopted.is_file():
            theirs = read_adapter(adopted, self.shape)
            if (theirs.rank, theirs.names) == (lora.rank, lora.names):
                lora.flat[...] = theirs.flat
                for views in lora.layers:
                    for name, view in views.items():
                        # The same update under this run's alpha.
                        view *= theirs.scale / lora.scale if name.endswith("lora_b") and lora.scale else 1

    def _measure_base(self, trainer: Trainer, held_out: list[DialogueSet], bars) -> dict[str, float]:
        """Losses before training: in the trainer with an adapter of zeros, and in llama.cpp."""
        trainer.lora.flat[...] = 0
        examples = self._encoded(held_out)
        with bars("measuring", 3) as bar:
            personal = _mean(trainer.evaluate(examples))
            bar(1, "held-out answers")
            probe = _mean(trainer.evaluate(self._probe()))
            bar(2, "general text")
            engine_base = _mean(self.model.negative_log_likelihood(examples))
            serving = engine_base
            if self.adapters.current():
                self._serve_current()
                serving = _mean(self.model.negative_log_likelihood(examples))
                self.model.remove_adapter()
            bar(3, "llama.cpp")
        return dict(personal_base=personal, probe_base=probe, engine_base=engine_base, engine_serving=serving)

    def _judge(self, trainer: Trainer, learned, held_out, before: dict, report: LearningReport, bars) -> None:
        """Find the strongest dose that keeps the general language, measure it in llama.cpp, and decide."""
        examples = self._encoded(held_out)
        with bars("judging", len(DOSES)) as bar:
            probe = self._choose_dose(trainer, before["probe_base"], report, bar)
            personal = _mean(trainer.evaluate(examples))
            adapter = self.adapters.add(trainer.lora, self.settings, [s.id for s in learned])
            report.adapter_bytes = adapter.bytes
            self.model.load_adapter(adapter.path)
            engine = _mean(self.model.negative_log_likelihood(examples))
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
            probe, report.dose = _mean(trainer.evaluate(self._probe())), dose
            bar(number, f"strength {dose:.0%}")
            if probe <= allowed:
                break
        return probe

    def _decide(self, adapter: AdapterVersion, evidence: Evidence, verdict: Verdict, learned) -> None:
        decide = self.adapters.promote if verdict.promoted else self.adapters.reject
        decide(adapter.version, evidence.to_dict(), verdict.reason)
        if verdict.promoted:
            self.buffer.mark_learned([s.id for s in learned], adapter.version)
        self.checkpoint.unlink(missing_ok=True)
        self._serve_current()
        self.store.log("gate", version=adapter.version, promoted=verdict.promoted, reason=verdict.reason)

    def _serve_current(self) -> None:
        serve(self.model, self.adapters)

    def _encoded(self, sets: list[DialogueSet]) -> list[Example]:
        return [self._encode(s.question, s.response) for s in sets]

    def _encode(self, question: str, response: str) -> Example:
        s = self.settings
        return self.model.encode_exchange(question, response, system=s.system, longest=s.example_tokens)

    def _probe(self) -> list[Example]:
        """The general text, the beginning of each paragraph an example, every token a label."""
        text = (files(__package__) / "data" / "general_probe.txt").read_text(encoding="utf-8")
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
            model.load_adapter(current.path)
            return
        except IdleTuneError as error:
            adapters.drop_promoted(str(error))
    model.remove_adapter()


def _mean(total: tuple[float, int]) -> float:
    return total[0] / max(1, total[1])
