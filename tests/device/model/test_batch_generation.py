"""Many prompts at once: the same answers and embeddings as one at a time."""

import pytest
from idletune.model.chat_template import conversation
from small_talk import EXCHANGES, GREEDY, assert_alike


def test_a_batch_answers_like_one_prompt_at_a_time(tiny):
    prompts = [tiny.encode_prompt(conversation(q)) for q, _ in EXCHANGES] * 3
    together = tiny.generate(prompts, seeds=[0] * len(prompts), questions=[q for q, _ in EXCHANGES] * 3, **GREEDY)
    for prompt, reply, (question, _) in zip(prompts[:6], together, EXCHANGES):
        alone = tiny.generate([prompt], seeds=[0], questions=[question], **GREEDY)[0]
        # A random model's near ties turn on the last bit sooner or later; a misplaced token shows at once.
        assert alone.tokens[:6] == reply.tokens[:6]
        assert len(reply.embeddings.question) >= len(tiny.tokenize(question.strip())) > 0
        assert_alike(alone.embeddings.question, reply.embeddings.question)


def test_prompts_that_are_the_same_are_all_embedded(tiny):
    prompts = [tiny.encode_prompt(conversation("what is this?"))] * 2
    first, second = tiny.generate(prompts, seeds=[0, 0], questions=["what is this?"] * 2, **GREEDY)
    assert_alike(first.embeddings.question, second.embeddings.question)
    assert len(first.embeddings.question) == len(tiny.tokenize("what is this?"))


@pytest.mark.parametrize("call", [0, 1, 3])
def test_a_batch_that_is_broken_off_leaves_room(tiny, call):
    calls = iter(range(100))

    def stop(_):
        if next(calls) == call:
            raise KeyboardInterrupt

    prompts = [tiny.encode_prompt(conversation(f"what is this, number {n}?")) for n in range(3)]
    with pytest.raises(KeyboardInterrupt):
        tiny.generate(prompts, seeds=[0] * 3, progress=stop, **GREEDY)
    assert len(tiny.embed_exchange("still there?", "yes").question) > 0
    assert tiny.chat(conversation("still there?"), seed=0, **GREEDY).tokens
