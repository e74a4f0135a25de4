"""Truncates a conversation's history to what the context has room for."""

from collections.abc import Callable

from .context import check_fits


def truncate_history(
    encode: Callable[[list[dict]], list[int]],
    messages: list[dict],
    context_tokens: int,
    max_tokens: int,
    few_shot: int = 0,
) -> tuple[list[int], int]:
    """The prompt's tokens with room for a reply of `max_tokens`, and the number of messages that were left out.

    The older half of the exchanges is left out at once, and again where that is not enough: each time llama.cpp must
    decode the rest anew, so it should be seldom, and all that is tokenized stays within twice the whole. The system
    message stays; of the `few_shot` messages after it, the first go where even the last question does not fit beside
    them. UsageError where the question does not fit on its own.
    """
    begin = 1 if messages[0]["role"] == "system" else 0
    system, pinned, turns = messages[:begin], messages[begin : begin + few_shot], messages[begin + few_shot :]
    given = len(turns)
    while True:
        prompt = encode([*system, *pinned, *turns])
        if len(prompt) + max_tokens <= context_tokens:
            return prompt, given - len(turns)
        if len(turns) > 2:
            turns = _without_older_half(turns)
        elif pinned:
            pinned = _without_older_half(pinned)
        else:
            check_fits(len(prompt) + max_tokens, context_tokens)


def _without_older_half(turns: list[dict]) -> list[dict]:
    """Without the first half of the pairs of question and answer, one pair at least."""
    return turns[2 * max(1, len(turns) // 4) :]
