"""Stage synthesize: paraphrases of the training sets, kept batch by batch, so that a cancelled run goes on."""

from ...state.paraphrases import keep_paraphrase
from ...state.set_records import is_paraphrased, record_paraphrased
from ..answered import AnsweredSet
from ..rouge import rouge1
from ..synthesis import SynthesisReport, Synthesizer
from .context import Context

SETS_PER_BATCH = 4  # answered sets paraphrased together; cancellation loses at most their paraphrases


def synthesize(context: Context, sets: list[AnsweredSet], report: SynthesisReport) -> None:
    """Paraphrase the sets that have not been yet; `report` is added to. Raises Cancelled."""
    todo = [s for s in sets if not is_paraphrased(context.store, s.id)] if context.settings.paraphrases else []
    synthesizer = Synthesizer(context.model, context.settings)
    if todo:
        context.model.remove_adapter()
    with context.bars("paraphrasing", len(todo)) as bar:
        for start in range(0, len(todo), SETS_PER_BATCH):
            context.cancellation.check()
            _paraphrase(context, synthesizer, todo[start : start + SETS_PER_BATCH], report)
            bar(min(start + SETS_PER_BATCH, len(todo)), f"{report.accepted} of {report.asked} accepted")


def _paraphrase(context: Context, synthesizer: Synthesizer, sets: list[AnsweredSet], report: SynthesisReport) -> None:
    seed, check = context.settings.seed * 1_000_003 + sets[0].id * 101, context.cancellation.check
    questions = synthesizer.paraphrase([s.question for s in sets], report, seed, check)
    responses = [[s.response] * len(accepted) for s, accepted in zip(sets, questions)]
    if context.settings.paraphrase == "both":
        reworded = synthesizer.paraphrase([s.response for s in sets], report, seed + 50, check)
        responses = [(new + kept)[: len(kept)] for new, kept in zip(reworded, responses)]
    with context.store.transaction():
        for s, new_questions, new_responses in zip(sets, questions, responses):
            for question, response in zip(new_questions, new_responses):
                keep_paraphrase(context.store, s.id, question, response, rouge1(question, s.question))
            record_paraphrased(context.store, s.id)
