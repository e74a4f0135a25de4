"""Chat with its KV cache: what is reused, streamed and left behind."""

import pytest
from idletune.errors import UsageError
from idletune.model.base_model import BaseModel
from idletune.model.chat_template import conversation
from idletune.model.context import common_length
from idletune.model.engine import BATCH_TOKENS, BatchToken
from small_talk import GREEDY
from tiny_model import write_tiny_model


def test_chat_streams_what_it_returns_and_reuses_the_cache(tiny):
    parts, messages = [], conversation("naïve 🐕?")
    first = tiny.chat(messages, seed=0, on_text=parts.append, **GREEDY)
    assert len(parts) > 5 and "".join(parts).strip() == first.text
    longer = [*messages, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "and now?"}]
    cached = tiny.chat(longer, seed=0, **GREEDY)
    tiny.clear()
    assert tiny.chat(longer, seed=0, **GREEDY).tokens == cached.tokens


def test_a_reply_ends_before_a_stop_text_wherever_its_tokens_end(tiny):
    messages = conversation("naïve 🐕?")
    whole = tiny.chat(messages, seed=0, **GREEDY).text
    for start, size in [(0, 1), (2, 1), (3, 2), (1, 3), (4, 4)]:
        parts, stop = [], whole[start : start + size]
        reply = tiny.chat(messages, seed=0, stop=("never", stop), on_text=parts.append, **GREEDY)
        before = whole[: whole.index(stop)]
        assert (reply.text, reply.stop) == (before.strip(), "end") and "".join(parts).strip() == before.strip()


def test_what_may_begin_a_stop_text_is_passed_on_in_the_end(tiny):
    messages, parts = conversation("naïve 🐕?"), []
    whole = tiny.chat(messages, seed=0, **GREEDY)
    reply = tiny.chat(messages, seed=0, stop=(whole.text[-1] + "never",), on_text=parts.append, **GREEDY)
    assert reply.text == whole.text == "".join(parts).strip() and reply.stop == whole.stop


def test_a_text_is_continued_as_it_stands(tiny):
    """Token for token what the logits say, with its spaces; the conversation's cache is taken over where it fits."""
    parts, text = [], "naïve 🐕 and"
    reply = tiny.continue_text(text, seed=0, on_text=parts.append, **GREEDY)
    assert reply.text == "".join(parts) == tiny.detokenize(reply.tokens) and reply.embeddings is None
    tokens = tiny.tokenize(text, begin=True)
    assert reply.prompt_tokens == len(tokens) and tiny.cached_tokens[: len(tokens)] == tokens
    for token in reply.tokens:
        assert token == tiny.logits(tokens)[-1].argmax()
        tokens.append(token)
    messages = conversation("what is this?")
    after = tiny.chat(messages, seed=0, **GREEDY).tokens
    tiny.clear()
    assert tiny.chat(messages, seed=0, **GREEDY).tokens == after


def test_thoughts_are_text_where_a_text_is_continued(tiny, monkeypatch):
    tokens = iter([*tiny.tokenize(" <think>Hm.</think> Yes."), tiny.engine.end_of_text])
    monkeypatch.setattr(tiny.engine, "sample", lambda sampler, index: next(tokens))
    assert tiny.continue_text("so", seed=0, **{**GREEDY, "max_tokens": 60}).text == " <think>Hm.</think> Yes."


def test_a_text_that_begins_with_the_models_first_token_gets_no_second(tmp_path):
    path = write_tiny_model(tmp_path / "tiny.gguf", add_bos=True)
    with BaseModel(path, context_tokens=256, sequences=1, threads=1) as model:
        begin = model.engine.text_of("bos")
        lengths = {model.continue_text(text, seed=0, **GREEDY).prompt_tokens for text in ("so", f"{begin}so")}
        assert begin and lengths == {1 + len(model.tokenize("so"))}


def test_an_answer_stopped_while_its_prompt_is_read_leaves_a_cache_that_is_known(tiny):
    tiny.clear()
    calls = iter(range(100))
    stopped = tiny.chat(conversation("a" * 800), seed=0, should_stop=lambda: next(calls) == 6, **GREEDY)
    assert stopped.stop == "asked" and not stopped.tokens and len(tiny.cached_tokens) == 6 * BATCH_TOKENS
    cells = tiny.engine.cells  # the conversation goes: there is no room for this beside it
    assert len(tiny.embed_exchange("b" * (cells - 6 * BATCH_TOKENS), "yes").question) == cells - 6 * BATCH_TOKENS
    assert tiny.cached_tokens == []


@pytest.mark.slow
def test_a_full_cache_is_an_error_and_nothing_is_taken_for_read_afterwards(tiny):
    tiny.clear()
    messages = conversation("what is this?")
    fresh = tiny.chat(messages, seed=0, **GREEDY).tokens
    cells = tiny.engine.cells
    for start in range(0, cells - len(tiny.cached_tokens) - 8, 8):  # as a batch that nobody has tidied up
        tiny.engine.decode([BatchToken(1, start + i, 3, i == 7) for i in range(8)])
    with pytest.raises(UsageError, match="no room"):
        tiny.embed_exchange("long " * 20, "reply")
    assert tiny.cached_tokens == []
    assert tiny.chat(messages, seed=0, **GREEDY).tokens == fresh


def test_the_common_prefix_of_two_prompts():
    assert common_length([1, 2, 3], [1, 2, 4]) == 2 and common_length([], [1]) == 0
