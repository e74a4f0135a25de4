"""Stage train: micro-steps from the checkpoint on, until they are done or the run is cancelled."""

from functools import partial

from ...errors import DamagedDataError
from ...examples import Example
from ...state.choices import accepted_sets, rejected_reply
from ...state.event_log import log
from ...state.paraphrases import paraphrases
from ...training.budget import memory_is_short
from ...training.objective import TrainingData
from ...training.trainer import Trainer
from ..answered import AnsweredSet
from ..cancellation import Cancelled
from ..few_shot import few_shot_turns
from ..report import TrainingReport
from .context import Context


def training_data(context: Context, training: list[AnsweredSet]) -> TrainingData:
    """The sets and their paraphrases as examples. The user's own wording is trained on as well, where that is set; the
    model's paraphrase of it is not.

    An answer in the model's own words weighs `choice_weight`; where it was chosen of two replies, the other is its
    rejected one.
    """
    settings, count = context.settings, lambda text: len(context.model.tokenize(text))
    turns = few_shot_turns(training, settings, count)
    examples = [
        context.encode(s.question, s.response, settings.train_on_questions, shown) for s, shown in zip(training, turns)
    ]
    for s in training:
        examples += [context.encode(*paraphrase) for paraphrase in paraphrases(context.store, s.id)]
    replies = {number: rejected_reply(context.store, s.id) for number, s in enumerate(training)}
    rejected = {
        number: context.encode(training[number].question, reply, few_shot=turns[number])
        for number, reply in replies.items()
        if reply is not None
    }
    accepted = accepted_sets(context.store)
    weights = {number: settings.choice_weight for number, s in enumerate(training) if s.id in accepted}
    return TrainingData(examples, weights, rejected)


def held_out_pairs(context: Context, held_out: list[AnsweredSet]) -> list[tuple[Example, Example]]:
    """The chosen and the rejected reply of each held-out set that has both."""
    pairs = [(s, rejected_reply(context.store, s.id)) for s in held_out]
    return [(context.encode(s.question, s.response), context.encode(s.question, other)) for s, other in pairs if other]


def train(context: Context, trainer: Trainer, report: TrainingReport) -> None:
    """Run the trainer to its end; raises Cancelled with a checkpoint on disk."""
    if not _resume(context, trainer) and trainer.checkpoint:
        trainer.checkpoint.unlink(missing_ok=True)  # of another run: it may know what was forgotten since
    with context.bars("training", len(trainer.sequences)) as bar:
        short = partial(memory_is_short, context.settings)
        result = trainer.run(context.cancellation.requested, bar, memory_is_short=short)
    report.losses, report.tokens = result.losses, result.tokens
    if not result.finished:
        raise Cancelled
    if result.losses:
        trainer.save()  # cancellation in the evaluation must not cost the last steps


def _resume(context: Context, trainer: Trainer) -> bool:
    """Whether a checkpoint was resumed; a damaged one costs its training and nothing else."""
    try:
        return trainer.resume()
    except DamagedDataError as error:
        log(context.store, "checkpoint", problem=str(error))
        return False
