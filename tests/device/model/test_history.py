"""Truncation of a conversation's history."""

import pytest
from idletune.errors import UsageError
from idletune.model.base_model import BaseModel
from idletune.model.chat_template import conversation
from small_talk import GREEDY, turns


def test_a_conversation_too_long_drops_its_oldest_exchanges(tiny_path):
    with BaseModel(tiny_path, context_tokens=160, sequences=1, threads=1) as model:
        history = []
        for turn in range(6):
            history += [{"role": "user", "content": f"question {turn} " * 3}]
            reply = model.chat(history, seed=0, **{**GREEDY, "max_tokens": 8})
            assert reply.prompt_tokens + 8 <= 160
            history += [{"role": "assistant", "content": "fine"}]
        with pytest.raises(UsageError, match="do not fit the context of 160"):
            model.chat(conversation("x " * 400), seed=0, **GREEDY)


def test_what_is_shown_stays_while_the_older_half_of_a_conversation_goes(tiny_path):
    with BaseModel(tiny_path, context_tokens=400, sequences=1, threads=1) as model:
        shown = turns(*(f"{side} {n}" for n in (1, 2) for side in ("asked", "said")))
        talk = turns(*(f"{side} {n} of the talk" for n in range(9) for side in ("question", "reply")))[:-1]
        system = [{"role": "system", "content": "be brief"}]
        prompt, left_out = model.truncate_history([*system, *shown, *talk], 8, len(shown))
        assert prompt == model.encode_prompt([*system, *shown, *talk[left_out:]]) and left_out == 8
        assert model.truncate_history([*system, *shown, *talk[left_out:]], 8, len(shown)) == (prompt, 0)
        question = turns("long " * 62)  # no room beside both shown answers, nor for any of the talk
        prompt, left_out = model.truncate_history([*system, *shown, *talk[:-1], *question], 8, len(shown))
        assert prompt == model.encode_prompt([*system, *shown[2:], *question]) and left_out == len(talk) - 1
        with pytest.raises(UsageError, match="do not fit the context of 400"):
            model.truncate_history([*system, *shown, *turns("long " * 100)], 8, len(shown))


def test_a_conversation_of_any_length_is_tokenized_little_more_than_twice(tiny_path, monkeypatch):
    with BaseModel(tiny_path, context_tokens=400, sequences=1, threads=1) as model:
        talk, encode, tokenized = turns(*(f"turn {n} of the talk" for n in range(401))), model.encode_prompt, []
        monkeypatch.setattr(model, "encode_prompt", lambda m: tokenized.append(len(encode(m))) or encode(m))
        model.truncate_history(talk, 8)
        assert sum(tokenized) < 2.1 * len(encode(talk))
