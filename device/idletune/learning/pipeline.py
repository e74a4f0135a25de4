"""The training pipeline: split, synthesize, train, evaluate, promote (see stages/).

A training run can be cancelled between any two steps and leaves its work behind (paraphrases and losses in the
database, training in a checkpoint), so the next call goes on where this one stood.
"""

from ..examples import Example
from ..model.base_model import BaseModel
from ..progress import Bars, no_bars
from ..selection.buffer import Buffer
from ..settings import Settings
from ..state.adapter_records import AdapterVersion
from ..state.origins import shares
from ..state.store import Store
from ..training.trainer import Trainer
from .adapters import Adapters
from .cancellation import Cancellation, Cancelled
from .report import TrainingReport
from .stages.context import Context
from .stages.evaluate import EngineLosses, Evaluator, evidence_of
from .stages.promote import promote
from .stages.split import Split, judges, split
from .stages.synthesize import synthesize
from .stages.train import held_out_pairs, train, training_data
from .trainers import Trainers


class TrainingPipeline:
    """Over one home and one base model; a training run is one or more calls of `run`."""

    def __init__(self, store: Store, buffer: Buffer, adapters: Adapters, model: BaseModel, settings: Settings):
        self.store, self.buffer, self.adapters = store, buffer, adapters
        self.model, self.settings = model, settings
        self.trainers = Trainers(adapters, model, settings)

    def run(self, cancellation: Cancellation, bars: Bars = no_bars) -> TrainingReport:
        """All stages. `bars(label, total)` gives a context manager that shows progress.

        Raises UsageError when too little was answered, for training or to judge by, or the memory budget is too small.
        """
        report, forgotten = TrainingReport(), self.store.counter("forgotten")

        def forgotten_meanwhile() -> bool:
            return self.store.counter("forgotten") != forgotten

        report.plan = self.trainers.plan(self.trainers.new_lora())  # too small a budget is refused before the work
        self.adapters.drop_unfinished()
        whole = self.split()
        context = self._context(Cancellation(cancellation.requested, forgotten_meanwhile), bars)
        try:
            self._stages(context, whole, report)
            report.finished = True
        except Cancelled:
            self.adapters.drop_unfinished()
            context.serve_promoted()
        if forgotten_meanwhile():  # by another process, after the checkpoint had learned it
            self.trainers.checkpoint.unlink(missing_ok=True)
        return report

    def split(self) -> Split:
        """The first stage alone: the sets of the open training run, or of a new one."""
        return split(self.store, self.buffer, self.settings)

    def loss(self, examples: list[Example], adapter: AdapterVersion | None) -> float:
        """Mean loss in the trainer, in nats per labelled token, with an adapter or the base alone."""
        return self.trainers.loss(examples, adapter)

    def _context(self, cancellation: Cancellation, bars: Bars) -> Context:
        return Context(self.store, self.buffer, self.adapters, self.model, self.settings, cancellation, bars)

    def _stages(self, context: Context, whole: Split, report: TrainingReport) -> None:
        """The stages after split. The report keeps the names of stages that results were recorded under."""
        sets = whole.distinct()
        judging = judges(self.store, sets.held_out)
        report.trained_sets, report.held_out_sets = len(sets.training), len(judging)
        report.duplicates = len(whole.all_ids) - len(sets.all_ids)
        with report.timed("synthesis"):
            synthesize(context, sets.training, report.synthesis)
        self.model.remove_adapter()
        parent = self.trainers.parent_version()
        with report.timed("training"):
            self.trainers.prepare(context.bars, context.cancellation.check)
        trainer, report.plan = self.trainers.trainer(training_data(context, sets.training), whole.run.form)
        whole.run.keep_form(report.plan.form)
        held_out, pairs = context.encode_all(judging), held_out_pairs(context, sets.held_out)
        evaluator = Evaluator(context, trainer, whole.run, held_out, pairs)
        with report.timed("gate"):
            before = evaluator.engine_losses()
        with report.timed("training"):
            train(context, trainer, report)
        with report.timed("gate"):
            adapter = self._candidate(context, trainer, evaluator, before, whole, parent, report)
            assert report.evidence is not None
            report.verdict = promote(context, whole.run, adapter, report.evidence, whole.all_ids)
            self.trainers.checkpoint.unlink(missing_ok=True)
            context.serve_promoted()
        report.adapter = self.adapters.get(adapter.version)

    def _candidate(
        self,
        context: Context,
        trainer: Trainer,
        evaluator: Evaluator,
        before: EngineLosses,
        whole: Split,
        parent: int | None,
        report: TrainingReport,
    ) -> AdapterVersion:
        """Evaluate what was trained and write it as a candidate; its evidence goes into the report."""
        with context.bars("judging", evaluator.most_scales) as bar:
            probe = evaluator.probe(report, bar)
            personal = evaluator.personal(report.adapter_scale)
            origins = shares(whole.distinct().training)
            adapter = self.adapters.add(trainer.lora, self.settings, whole.all_ids, parent, origins=origins)
            report.adapter_bytes = adapter.bytes
            margins = evaluator.margins(report.adapter_scale)
            engine = evaluator.adapted_engine(adapter, report.adapter_scale)
        report.evidence = evidence_of(before, engine, personal, probe, margins)
        return adapter
