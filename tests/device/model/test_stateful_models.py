"""Models that keep a state in place of KV cells: no sequence of theirs can be cut, and LFM2 gives no logits while it
embeds. Chat, batches, embeddings and losses are those of decoding everything afresh."""

import numpy as np
import pytest
from families.made import folder_of, make_missing
from idletune.model.base_model import BaseModel
from idletune.model.chat_template import conversation
from small_talk import EXCHANGES, GREEDY, assert_alike

pytestmark = pytest.mark.slow
STATEFUL = ["lfm2", "qwen35"]


@pytest.fixture(scope="module", params=STATEFUL)
def model(request):
    make_missing(STATEFUL)
    with BaseModel(folder_of(request.param) / "f32.gguf", context_tokens=1024, threads=1) as model:
        assert not model.engine.cuts_sequences
        yield model


@pytest.fixture(autouse=True)
def cleared(model):
    model.clear()


def follow_up(messages, question):
    return [*messages, {"role": "assistant", "content": "ok"}, {"role": "user", "content": question}]


def fresh(model, messages):
    """The reply when nothing is cached."""
    model.clear()
    return model.chat(messages, seed=0, **GREEDY)


def test_a_conversation_goes_on_as_if_it_were_decoded_afresh(model):
    messages = conversation("what is this?", "Be short.")
    first = model.chat(messages, seed=0, **GREEDY)
    assert len(first.tokens) > 6 and len(model.cached_tokens) > len(first.tokens)
    longer = follow_up(messages, "and now?")
    assert model.chat(longer, seed=0, **GREEDY).tokens == fresh(model, longer).tokens


def test_a_text_is_continued_between_turns(model):
    messages = conversation("what is this?", "Be short.")
    model.chat(messages, seed=0, **GREEDY)
    after = model.continue_text("so it goes", seed=0, **GREEDY)
    longer = follow_up(messages, "and now?")
    turn = model.chat(longer, seed=0, **GREEDY).tokens
    assert turn == fresh(model, longer).tokens
    model.clear()
    assert model.continue_text("so it goes", seed=0, **GREEDY).tokens == after.tokens and after.embeddings is None


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5])
def test_a_cancelled_turn_leaves_nothing_behind(model, steps):
    messages = conversation("what is this?", "Be short.")
    model.chat(messages, seed=0, **GREEDY)
    calls = iter(range(100))
    cancelled = follow_up(messages, "tell me about bread")
    stopped = model.chat(cancelled, seed=0, should_stop=lambda: next(calls) == steps, **GREEDY)
    assert stopped.stop == "asked"
    asked_again = follow_up(messages, "tell me about cheese")
    assert model.chat(asked_again, seed=0, **GREEDY).tokens == fresh(model, asked_again).tokens


def test_a_question_asked_again_is_decoded_from_the_checkpoint_on(model):
    messages = conversation("what is this?", "Be short and say no more than you have to.")
    first = model.chat(messages, seed=0, **GREEDY)
    seen, decode = [], model.engine.decode
    model.engine.decode = lambda batch, embeddings=False: (seen.extend(batch), decode(batch, embeddings))
    try:
        again = model.chat(messages, seed=0, **GREEDY)
    finally:
        del model.engine.decode
    assert again.tokens == first.tokens
    assert min(item.position for item in seen) == model.context.checkpoint > 0


def test_a_reply_comes_with_the_embeddings_of_its_exchange(model):
    question = "what is this?"
    reply = model.chat(conversation(question), seed=0, **GREEDY)
    assert reply.stop == "length"
    tokens = [*model.encode_prompt(conversation(question)), *reply.tokens]
    again = model.generate(
        [tokens[: -len(reply.tokens)]],
        max_tokens=len(reply.tokens),
        temperature=0,
        top_p=1,
        seeds=[0],
        questions=[question],
    )[0]
    assert again.tokens == reply.tokens
    for ours, theirs in ((reply.embeddings, again.embeddings), (reply.embeddings, model.embed_exchange(question, ""))):
        assert_alike(ours.question, theirs.question)
    assert len(reply.embeddings.reply) == len(again.embeddings.reply) == len(reply.tokens) - 1
    assert_alike(reply.embeddings.reply, again.embeddings.reply)


def test_the_conversation_stays_while_an_exchange_is_embedded(model):
    messages = conversation("what is this?")
    model.chat(messages, seed=0, **GREEDY)
    cached = list(model.cached_tokens)
    model.embed_exchange("something else?", "yes")
    assert model.cached_tokens == cached
    longer = follow_up(messages, "and now?")
    assert model.chat(longer, seed=0, **GREEDY).tokens == fresh(model, longer).tokens


def test_a_batch_answers_like_one_prompt_at_a_time(model):
    questions = [question for question, _ in EXCHANGES]
    prompts = [model.encode_prompt(conversation(question)) for question in questions]
    together = model.generate(prompts, seeds=[0] * len(prompts), questions=questions, **GREEDY)
    for prompt, question, reply in zip(prompts, questions, together):
        alone = model.generate([prompt], seeds=[0], questions=[question], **GREEDY)[0]
        assert alone.tokens[:6] == reply.tokens[:6]
        assert_alike(alone.embeddings.question, reply.embeddings.question)
        assert_alike(alone.embeddings.reply[:6], reply.embeddings.reply[:6])


def test_losses_are_those_of_the_logits(model):
    example = model.encode_exchange("what is this?", "It is bread, and a good one.")
    total, count = model.negative_log_likelihood([example] * 2)
    logits, labelled = model.logits(list(example.tokens)).astype(np.float64), example.labels >= 0
    log_sums = np.log(np.exp(logits).sum(axis=1))
    expected = (log_sums - logits[np.arange(len(logits)), example.labels])[labelled].sum()
    assert count == 2 * labelled.sum() and total == pytest.approx(2 * expected, rel=1e-4)


def test_large_states_are_few(model):
    few = model.engine.metadata["general.architecture"] == "qwen35"
    assert model.engine.sequences == (3 if few else 9)
    replies = model.generate([model.encode_prompt(conversation(q)) for q, _ in EXCHANGES[:5]], seeds=range(5), **GREEDY)
    assert len(replies) == 5 and all(reply.tokens for reply in replies)
