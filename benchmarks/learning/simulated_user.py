"""What a simulated user thinks of replies: the nearer to the answer that he gave in truth, the better."""

from collections.abc import Sequence

from idletune.dialogue import Exchange
from rouge_score import rouge_scorer


def nearness(replies: Sequence[str], exchanges: Sequence[Exchange]) -> list[float]:
    """ROUGE-L (F measure, 0 to 1) of each reply against its exchange's real response."""
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    return [scorer.score(exchange.response, text)["rougeL"].fmeasure for text, exchange in zip(replies, exchanges)]


def chosen_first(pairs: Sequence[Sequence[str]], exchanges: Sequence[Exchange]) -> list[list[str]]:
    """Each pair of replies, the one that the user picks first; of equally near ones the first."""
    sides = [nearness(side, exchanges) for side in zip(*pairs)]
    return [list(pair[:: 1 if first >= second else -1]) for pair, first, second in zip(pairs, *sides)]
