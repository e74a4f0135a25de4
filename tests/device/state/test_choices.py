"""The reply that lost: kept beside the answer, encrypted like it, and gone with it."""

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.state.annotation import AnnotationQueue
from idletune.state.choices import accepted_sets, rejected_reply
from idletune.state.store import Store


@pytest.fixture(params=[None, b"k" * 32], ids=["plain", "encrypted"])
def chosen(request, home):
    """A queue over one set whose answer was chosen of two replies."""
    with Store(home, key=request.param) as store:
        buffer = Buffer(store, make_policy("fifo"), 4, hidden=8)
        embedding = np.eye(8, dtype=np.float32)[0]
        id = buffer.keep(DialogueSet("how much salt?", "a pinch", "other", embedding, Scores(0, 0, 0)))
        queue = AnnotationQueue(store)
        queue.choose(id, "ten grams", "a pinch", "")
        yield store, buffer, queue, id


def test_the_chosen_reply_is_the_answer_and_the_other_stands_beside_it(chosen):
    store, buffer, _, id = chosen
    assert buffer.get(id).response == "ten grams" and rejected_reply(store, id) == "a pinch"
    (row,) = store.rows("SELECT rejected FROM choices")
    assert isinstance(row["rejected"], bytes) == store.encrypted


@pytest.mark.parametrize("end", ["answer", "reject", "delete"])
def test_it_goes_with_the_answer(chosen, end):
    store, buffer, queue, id = chosen
    if end == "answer":
        queue.answer_set(id, "twelve grams", "", accepted=False)
    elif end == "reject":
        assert not queue.reject(id)
    else:
        buffer.remove(id)
    assert rejected_reply(store, id) is None and not store.rows("SELECT * FROM choices")


def test_a_second_choice_takes_the_place_of_the_first(chosen):
    store, buffer, queue, id = chosen
    queue.choose(id, "a pinch", "ten grams", "")
    assert (buffer.get(id).response, rejected_reply(store, id)) == ("a pinch", "ten grams")


def test_words_of_the_model_are_told_from_those_of_the_user(chosen):
    store, buffer, queue, id = chosen
    good, better, bad = (
        buffer.keep(DialogueSet(f"question {n}", "a pinch", "other", np.eye(8, dtype=np.float32)[n], Scores(0, 0, 0)))
        for n in (1, 2, 3)
    )
    queue.answer_set(good, "a pinch", "", accepted=True)
    queue.answer_set(better, "a pinch", "", accepted=False)
    queue.answer_set(bad, "a pinch", "", accepted=True)
    queue.reject(bad)
    assert accepted_sets(store) == {id, good}
    queue.answer_set(good, "twelve grams", "", accepted=False)
    assert accepted_sets(store) == {id}
