"""Questions that offer two replies: the second one is written in an idle window, and goes with its question."""

import json
from dataclasses import replace

import numpy as np
import pytest
from idletune.commands.chat_loop import ChatLoop
from idletune.dialogue import Provenance, TokenEmbeddings
from idletune.errors import UsageError
from idletune.learning.cancellation import Cancellation
from idletune.learning.outcome import Outcome
from idletune.learning.second_replies import TRIES, write_second_replies
from idletune.model.reply import Reply
from idletune.privacy import download_data
from idletune.progress import no_bars
from idletune.runtime import Runtime
from idletune.state import choices, second_replies
from loop import SETTINGS, answer, observe, saying

ALL = replace(SETTINGS, ask_choices=1.0, temperature=2.0)


@pytest.fixture(params=[None, b"k" * 32], ids=["plain", "encrypted"])
def runtime(request, home, tiny_path):
    """Two exchanges wait to be asked about."""
    with Runtime(home, tiny_path, ALL, sequences=2, key=request.param) as opened:
        observe(opened, 2)
        yield opened


def window(runtime, should_stop=lambda: False):
    """A slice, as an open window gives it."""
    return runtime.learn_slice(should_stop)


def rows(runtime):
    return runtime.store.rows("SELECT * FROM second_replies ORDER BY id")


def written_by(runtime, write):
    """Second replies of a writer of the test's own."""
    return write_second_replies(
        runtime.store, runtime.buffer, runtime.settings, write, Cancellation(lambda: False), no_bars
    )


def reply(text, sets=()):
    embeddings = TokenEmbeddings(*np.ones((2, 3, 64), np.float32))
    return Reply(text, [1], embeddings, "end", 4, provenance=Provenance(frozenset(sets)))


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
def test_a_window_writes_them_and_a_tap_chooses(runtime, second):
    assert runtime.scheduler.nothing_to_learn() and runtime.scheduler.nothing_to_do() is None
    assert window(runtime).kind is Outcome.REFRESHED and runtime.scheduler.nothing_to_do()
    assert all(isinstance(row["reply"], bytes) == runtime.store.encrypted for row in rows(runtime))
    prompt = runtime.next_prompt()
    assert prompt.second and prompt.second != prompt.reply
    runtime.queue.choose_shown(prompt.id, second, "", prompt.shown)
    better, worse = (prompt.second, prompt.reply) if second else (prompt.reply, prompt.second)
    id = prompt.dialogue_set_id
    assert (runtime.buffer.get(id).response, choices.rejected_reply(runtime.store, id)) == (better, worse)
    assert [row["dialogue_set_id"] for row in rows(runtime)] == [3 - id]


def test_off_is_off(runtime):
    window(runtime)
    runtime.change_settings({"ask_choices": 0.0})
    assert runtime.next_prompt().second is None
    second_replies.remove_all(runtime.store)
    assert runtime.scheduler.nothing_to_do() and not second_replies.due(runtime.store, 0.0, 5)


def test_a_share_of_the_questions_offers_two(runtime):
    assert [id for id in range(1, 11) if second_replies.offers_choice(id, 0.3)] == [4, 7, 10]
    runtime.change_settings({"ask_choices": 0.5})
    window(runtime)
    assert [row["dialogue_set_id"] for row in rows(runtime)] == [2]


def test_only_the_next_questions_get_one_and_none_that_was_put(runtime):
    put = runtime.next_prompt()
    observe(runtime, 4, start=2)
    runtime.change_settings({"daily_limit": 3})
    window(runtime)
    waiting = [prompt.dialogue_set_id for prompt in runtime.queue.pending() if prompt.state == "pending"]
    assert {row["dialogue_set_id"] for row in rows(runtime)} == set(waiting[:3])
    runtime.queue.accept(put.id, "", put.shown)


@pytest.mark.parametrize("verdict", ["accept", "dismiss", "never_ask", "feedback"])
def test_it_goes_when_its_question_is_answered(runtime, verdict):
    window(runtime)
    prompt = runtime.next_prompt()
    if verdict == "feedback":
        runtime.queue.answer_set(prompt.dialogue_set_id, "another one", "", accepted=False)
    else:
        getattr(runtime.queue, verdict)(prompt.id)
    assert [row["dialogue_set_id"] for row in rows(runtime)] == [3 - prompt.dialogue_set_id]
    with pytest.raises(UsageError):
        runtime.queue.choose_shown(prompt.id, True)


def test_what_is_forgotten_takes_all_of_them_and_they_are_written_anew(runtime):
    window(runtime)
    shown = runtime.next_prompt()
    runtime.forget(3 - shown.dialogue_set_id)
    assert not rows(runtime)
    with pytest.raises(UsageError, match="is not what was shown"):
        runtime.queue.choose_shown(shown.id, True, "", shown.shown)
    observe(runtime, 1, start=2)
    window(runtime)
    assert len(rows(runtime)) == 1


def test_a_choice_descends_from_what_either_reply_was_written_from(runtime):
    told = saying(runtime)("my code is 4711", "noted")
    answer(runtime, told, "4711 it is")
    written_by(runtime, lambda kept, *_: reply("your code is 4711", [told]))
    prompt = runtime.next_prompt()
    runtime.queue.choose_shown(prompt.id, False)  # the words of the other one are kept, too
    assert runtime.preview_forget(told).sets == sorted([prompt.dialogue_set_id, told])


def test_a_set_that_is_forgotten_meanwhile_leaves_no_words(runtime):
    told = saying(runtime)("my code is 4711", "noted")
    answer(runtime, told, "4711 it is")

    def write(kept, *_):
        if told in runtime.buffer:
            runtime.forget(told)
        return reply("your code is 4711", [told])

    assert written_by(runtime, write) and not rows(runtime)
    assert len(second_replies.due(runtime.store, 1.0, 5)) == 2


def test_a_copy_an_empty_one_and_one_without_room_are_not_offered(runtime):
    drawn = []

    def write(kept, number, _):
        drawn.append((kept.id, number))
        return reply({1: " a reply ", 2: "", 3: "far too long " * 2000}[number])

    assert written_by(runtime, write) and len(drawn) == 2 * TRIES
    assert not second_replies.due(runtime.store, 1.0, 5), "it is not tried for ever"
    prompt = runtime.next_prompt()
    assert prompt.second is None
    with pytest.raises(UsageError, match="offers one reply"):
        runtime.queue.choose_shown(prompt.id, True)


def test_what_is_kept_of_the_user_counts_them(runtime):
    window(runtime)
    contents, *records = map(json.loads, download_data(runtime.store).splitlines())
    told = [record for record in records if record["record"] == second_replies.TABLE]
    assert contents["holds"][second_replies.TABLE] == len(told) == 2
    for record in told:
        assert record["reply"] == second_replies.find(runtime.store, record["dialogue_set_id"]).text
        assert record["written_from"].keys() == {"sets", "adapters"}


@pytest.mark.parametrize("damage", ["", "[]", "7", '{"sets": [1]}', '{"sets": ["x"], "adapters": []}'])
def test_one_whose_sources_are_damaged_is_not_offered(runtime, damage):
    window(runtime)
    with runtime.store.transaction() as db:
        db.execute("UPDATE second_replies SET written_from = ?", (damage,))
    assert runtime.next_prompt().second is None


def test_a_closing_window_leaves_the_rest_for_the_next_one(runtime):
    asked = []
    assert window(runtime, lambda: bool(asked.append(1)) or len(asked) > 1).kind is Outcome.UNFINISHED
    assert len(rows(runtime)) < 2 and runtime.scheduler.nothing_to_do() is None
    window(runtime)
    assert len(rows(runtime)) == 2


def test_the_model_is_not_shown_its_first_reply(runtime):
    seen = []
    own = runtime.model.chat
    runtime.model.chat = lambda messages, **how: seen.append(messages) or own(messages, **how)
    window(runtime)
    told = [[message["content"] for message in messages] for messages in seen]
    assert len(told) == 2 and all(each.count(each[-1]) == 1 for each in told), "the other exchange may be recalled"


def test_the_same_window_writes_the_same(tmp_path, tiny_path):
    def written(name):
        with Runtime(tmp_path / name, tiny_path, ALL, sequences=2) as opened:
            observe(opened, 2)
            window(opened)
            return [(row["dialogue_set_id"], row["reply"]) for row in rows(opened)]

    one = written("one")
    assert len(one) == 2 and written("two") == one


def test_in_the_terminal_a_command_chooses(runtime):
    window(runtime)
    typed, written = iter(["hello butter", "/second", "/first", "/quit"]), []
    offered = runtime.next_prompt()  # it stays the next one
    ChatLoop(runtime, read=lambda _: next(typed), write=written.append).run()
    text = "".join(written)
    assert "or I would say" in text and "which is better? /first or /second, /better TEXT" in text
    assert "kept as the better answer" in text and text.count("no two answers to choose from") == 1
    assert runtime.buffer.get(offered.dialogue_set_id).response == offered.second
