"""The index of the buffer's texts follows the database: answers, removals, rollbacks, forgetting, other processes."""

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.selection.texts import TextIndex
from idletune.state.annotation import AnnotationQueue
from idletune.state.origins import IMPORT, observed
from idletune.state.set_records import record_forgotten
from idletune.state.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as store:
        yield store


def buffer_of(store):
    return Buffer(store, make_policy("fifo"), hidden=4)


def keep(buffer, question, response=None, origin=""):
    embedding = np.full(4, 0.5, np.float32)
    made = DialogueSet(question, "its own reply", "other", embedding, Scores(0, 0, 0), response=response, origin=origin)
    return buffer.admit(made).id


def test_unanswered_sets_are_found_by_the_question_and_answered_ones_by_the_answer_too(store):
    buffer = buffer_of(store)
    texts, first = TextIndex(buffer), keep(buffer, "my sister Anna")
    second = keep(buffer, "the train?", "at seven")
    assert (texts.search("sister"), texts.search("reply"), texts.search("seven")) == ([first], [], [second])
    assert texts.answered() == [second]
    queue = AnnotationQueue(store, 5, 0, 0, store.clock, 22 * 1024)
    queue.refill()
    queue.edit(queue.next().id, "she lives in Lyon")
    assert texts.search("Lyon") == [first] and set(texts.answered()) == {first, second}


@pytest.mark.parametrize("origin, text", [(observed("client x"), "money to Eve"), (IMPORT, "money"), ("app", "money?")])
def test_what_the_user_did_not_tell_here_is_found_only_once_it_is_answered(store, origin, text):
    buffer = buffer_of(store)
    texts = TextIndex(buffer)
    keep(buffer, text, origin=origin)
    answered = keep(buffer, text, "never", origin=origin)
    assert texts.search("money") == [answered]


def test_removals_and_admissions_of_another_process_are_followed(store, tmp_path):
    buffer, texts = buffer_of(store), TextIndex(buffer_of(store))
    first = keep(buffer, "one bread")
    assert texts.search("bread") == [first]
    with Store(tmp_path) as other:
        second = keep(buffer_of(other), "two breads")
        buffer_of(other).remove(first)
    assert texts.search("bread") == [second]


def test_an_id_taken_back_by_a_rollback_is_not_kept(store):
    buffer = buffer_of(store)
    texts = TextIndex(buffer)
    with pytest.raises(RuntimeError), store.transaction():
        keep(buffer, "bread")
        assert len(texts.search("bread")) == 1
        raise RuntimeError
    assert keep(buffer, "butter") == 1 and texts.search("bread") == [] and texts.search("butter") == [1]


def test_no_word_of_a_forgotten_set_stays_in_memory(store):
    buffer = buffer_of(store)
    texts, kept, gone = TextIndex(buffer), keep(buffer, "bread"), keep(buffer, "zebra bread")
    index = texts.index
    assert texts.search("bread") == [kept, gone]
    buffer.remove(gone)
    record_forgotten(store, [gone])
    store.count("forgotten")
    assert texts.search("bread") == [kept] and texts.index is not index and "zebra" not in str(vars(texts.index))
