"""Stage evaluate: losses of the base model and with the adapter, in the trainer and in llama.cpp; the gate judges by
them.

llama.cpp's are taken before and after training, the trainer's all after it, so that rows go through the frozen layers
once for both.
"""

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
Pair = tuple[float, float]  # of the base model, and with the adapter


@dataclass(frozen=True)
class EngineLosses:
    """Mean losses in llama.cpp before training, in nats per labelled token; names as in Evidence."""

    engine_base: float
    engine_serving: float


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

    def engine_losses(self) -> EngineLosses:
        """Of the base model and of what serves now."""
        context, evaluation = self.context, self.evaluation
        with context.bars("measuring", 2) as bar:
            base = serving = evaluation.engine("engine base", context.model, self.held_out)
            bar(1, "base model")
            if context.adapters.current():
                context.serve_promoted()
                serving = evaluation.engine("engine serving", context.model, self.held_out)
                context.model.remove_adapter()
            bar(2, "what serves now")
        return EngineLosses(base, serving)

    def probe(self, report: TrainingReport, bar: Bar) -> Pair:
        """Losses of general text, of the base model and with the adapter, whose scale is lowered until the second is
        within its tolerance.

        An adapter that learned the user but hurts the rest is of use at a lower scale; only one that hurts
        even then is left to the gate to reject.
        """
        lora, examples = self.trainer.lora, probe_examples(self.context.model)
        tolerance = self.context.settings.probe_tolerance
        base, adapted = self.evaluation.losses("probe", ADAPTER_SCALES[0], self.trainer, examples)
        full = lora.alpha
        for number, scale in enumerate(ADAPTER_SCALES, start=1):
            lora.rescale(scale * full / lora.alpha)
            report.adapter_scale = scale
            adapted = self.evaluation.trainer(f"probe at {scale}", self.trainer, examples)
            bar(number, f"adapter scale {scale:.0%}")
            if adapted <= (1 + tolerance) * base:
                break
        return base, adapted

    def personal(self, scale: float) -> Pair:
        """Losses of the held-out answers in the trainer, of the base model and with the adapter."""
        return self.evaluation.losses("personal", scale, self.trainer, self.held_out)

    def margins(self, scale: float) -> tuple[float | None, float | None]:
        """How much likelier the chosen of two replies is than the rejected one: mean difference of log-odds."""
        return self.evaluation.margins(scale, self.trainer, self.pairs) if self.pairs else (None, None)

    def adapted_engine(self, adapter: AdapterVersion, scale: float) -> float:
        """The same in llama.cpp, with the candidate's file."""
        load(self.context.model, self.context.adapters, adapter)
        return self.evaluation.engine(f"engine at {scale}", self.context.model, self.held_out)


def evidence_of(
    before: EngineLosses, engine: float, personal: Pair, probe: Pair, margin: tuple[float | None, float | None]
) -> Evidence:
    return Evidence(
        **vars(before),
        engine_adapted=engine,
        personal_base=personal[0],
        personal_adapted=personal[1],
        probe_base=probe[0],
        probe_adapted=probe[1],
        margin_base=margin[0],
        margin_adapted=margin[1],
    )
