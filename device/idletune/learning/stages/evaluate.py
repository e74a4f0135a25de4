"""Stage evaluate: losses before and after training, in the trainer and in llama.cpp; the gate judges by them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...examples import Example
from ...progress import Bar
from ...state.adapter_records import AdapterVersion
from ...state.run_records import TrainingRun
from ...training.trainer import Trainer
from ..adoption import probe_examples
from ..evaluation import Evaluation, evaluation_key
from ..gate import Evidence
from ..report import TrainingReport
from ..serving import load
from .context import Context

ADAPTER_SCALES = (1.0, 0.85, 0.7, 0.5, 0.35)  # relative to alpha / rank as trained; tried from the largest


@dataclass(frozen=True)
class BaseLosses:
    """Mean losses before training, in nats per labelled token; names as in Evidence."""

    personal_base: float
    probe_base: float
    engine_base: float
    engine_serving: float
    margin_base: float | None


class Evaluator:
    """Evaluates a trainer's adapter on the held-out examples and on general text. Its methods raise Cancelled."""

    most_scales = len(ADAPTER_SCALES)

    def __init__(
        self,
        context: Context,
        trainer: Trainer,
        run: TrainingRun,
        held_out: list[Example],
        pairs: Sequence[tuple[Example, Example]] = (),
    ):
        self.context, self.trainer, self.held_out, self.pairs = context, trainer, held_out, pairs
        serving, sequence_tokens = context.adapters.current(), trainer.settings.sequence_tokens
        depends = trainer.fingerprint, context.model.sha256, serving.version if serving else 0, sequence_tokens
        key = evaluation_key([*held_out, *(example for pair in pairs for example in pair)], *depends)
        self.evaluation = Evaluation(run, key, sequence_tokens, context.cancellation)

    def base_losses(self) -> BaseLosses:
        """With the adapter disabled in the trainer; in llama.cpp of the base model and of what serves now."""
        context, evaluation = self.context, self.evaluation
        with context.bars("measuring", 3) as bar:
            with self.trainer.lora.disabled():
                personal = evaluation.trainer("personal base", self.trainer, self.held_out)
                bar(1, "held-out answers")
                probe = evaluation.trainer("probe base", self.trainer, probe_examples(context.model))
                bar(2, "general text")
                margin = self.margin("base")
            base = serving = evaluation.engine("engine base", context.model, self.held_out)
            if context.adapters.current():
                context.serve_promoted()
                serving = evaluation.engine("engine serving", context.model, self.held_out)
                context.model.remove_adapter()
            bar(3, "llama.cpp")
        return BaseLosses(personal, probe, base, serving, margin)

    def margin(self, name: str) -> float | None:
        """How much likelier the chosen of two replies is than the rejected one: mean difference of log-odds."""
        return self.evaluation.margin(f"margin {name}", self.trainer, self.pairs) if self.pairs else None

    def lower_scale(self, probe_base: float, report: TrainingReport, bar: Bar) -> float:
        """Lower the adapter scale until the general loss is within its tolerance; returns that loss.

        An adapter that learned the user but hurts the rest is of use at a lower scale; only one that hurts
        even then is left to the gate to reject.
        """
        lora, allowed = self.trainer.lora, (1 + self.context.settings.probe_tolerance) * probe_base
        full, probe = lora.alpha, probe_base
        for number, scale in enumerate(ADAPTER_SCALES, start=1):
            lora.rescale(scale * full / lora.alpha)
            report.adapter_scale = scale
            probe = self.evaluation.trainer(f"probe at {scale}", self.trainer, probe_examples(self.context.model))
            bar(number, f"adapter scale {scale:.0%}")
            if probe <= allowed:
                break
        return probe

    def adapted_personal(self, scale: float) -> float:
        """Loss of the held-out answers in the trainer."""
        return self.evaluation.trainer(f"personal at {scale}", self.trainer, self.held_out)

    def adapted_engine(self, adapter: AdapterVersion, scale: float) -> float:
        """The same in llama.cpp, with the candidate's file."""
        load(self.context.model, self.context.adapters, adapter)
        return self.evaluation.engine(f"engine at {scale}", self.context.model, self.held_out)


def evidence_of(
    before: BaseLosses, personal: float, probe: float, engine: float, margin: float | None = None
) -> Evidence:
    return Evidence(
        **vars(before), personal_adapted=personal, probe_adapted=probe, engine_adapted=engine, margin_adapted=margin
    )
