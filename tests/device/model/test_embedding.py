"""Embeddings of exchanges, beside the conversation's cache."""

from idletune.model.chat_template import conversation
from small_talk import GREEDY, assert_alike


def test_embeddings_taken_while_chatting_are_those_of_the_exchange(tiny):
    tiny.clear()
    reply = tiny.chat(conversation("what is this?"), seed=0, **GREEDY)
    again = tiny.embed_exchange("what is this?", reply.text)
    assert len(again.question) == len(tiny.tokenize("what is this?"))
    assert_alike(reply.embeddings.question, again.question)
    assert len(again.both) == len(again.question) + len(again.reply) and len(again.reply) > 0


def test_embedding_leaves_the_conversation_where_it_was(tiny):
    messages = conversation("what is this?")
    reply = tiny.chat(messages, seed=0, **GREEDY)
    cached = list(tiny.cached_tokens)
    tiny.embed_exchange("another question", "and its reply")
    longer = [*messages, {"role": "assistant", "content": reply.text}, {"role": "user", "content": "and now?"}]
    read = len(tiny.encode_prompt(longer))
    assert tiny.cached_tokens == cached and len(cached) > read / 3
    kept = tiny.chat(longer, seed=0, **GREEDY)
    tiny.clear()
    assert tiny.chat(longer, seed=0, **GREEDY).tokens == kept.tokens
    tiny.embed_exchange("long " * 900, "reply")  # no room beside it
    tiny.embed_exchange("long " * 900, "reply")
