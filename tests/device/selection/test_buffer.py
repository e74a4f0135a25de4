"""The buffer: what it keeps, protects and lets go, and that memory and database always agree."""

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores, TokenEmbeddings
from idletune.errors import DamagedDataError, UsageError
from idletune.selection.buffer import AdmissionResult, Buffer
from idletune.selection.policies import ADMIT, POLICY_NAMES, REJECT, AdmissionDecision, Policy, make_policy
from idletune.selection.scores import entropy_of_embedding, text_embedding
from idletune.selection.standardization import Standardization
from idletune.state.annotation import AnnotationQueue
from idletune.state.set_records import is_paraphrased, record_paraphrased
from idletune.state.store import Store

HIDDEN = 8


def unit(seed, hidden=HIDDEN):
    vector = np.random.default_rng(seed).normal(size=hidden)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def a_set(number, hidden=HIDDEN, **changes):
    scores = Scores(*np.random.default_rng(number).random(3))
    fields = {
        "question": f"question {number}",
        "reply": f"reply {number}",
        "domain": f"domain {number % 3}",
        "embedding": unit(number, hidden),
        "scores": scores,
        "created": float(number),
    }
    return DialogueSet(**(fields | changes))


class Scripted(Policy):
    """Decides what it is told to, and remembers the view it was shown."""

    def __init__(self, decisions=()):
        super().__init__()
        self.decisions = list(decisions)

    def decide(self, candidate, buffer):
        self.view = buffer
        return self.decisions.pop(0) if self.decisions else ADMIT

    def _decide_when_full(self, candidate, buffer, rows):
        raise NotImplementedError


class Watched(Scripted):
    """Decides as the named policy does, or rejects, and remembers the view it was shown."""

    def __init__(self, name):
        super().__init__()
        self.policy, self.rejects = make_policy(name), False

    def decide(self, candidate, buffer):
        self.view = buffer
        return REJECT if self.rejects else self.policy.decide(candidate, buffer)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "home", clock=lambda: 1000.0) as opened:
        yield opened


def make(store, policy="fifo", capacity=4, hidden=HIDDEN, **options):
    policy = make_policy(policy) if isinstance(policy, str) else policy
    return Buffer(store, policy, capacity, hidden=hidden, **options)


def fill(buffer, count):
    return [buffer.admit(a_set(number)).id for number in range(count)]


def ids(buffer):
    return [kept.id for kept in buffer.sets()]


def learn(store, buffer, ids):
    with store.transaction() as db:
        version = db.execute(
            "INSERT INTO adapters (file, base_sha256, created, rank, alpha, targets, state)"
            " VALUES ('a.gguf', 'base', 1, 8, 16, 'q,v', 'candidate')"
        ).lastrowid
        buffer.mark_learned(ids, version)
    return version


def show_prompt(store):
    queue = AnnotationQueue(store, quiet_from=0, quiet_until=0)
    queue.refill()
    return queue, queue.next()


def test_a_set_comes_back_as_it_was_offered(store):
    given = a_set(1, question="Warum?\n\0 ☂", reply="Darum. 🙂")
    admission = make(store).admit(given)
    kept = make(store).get(admission.id)
    assert (admission.action, admission.evicted) == ("kept", None)
    assert (kept.question, kept.reply, kept.domain) == (given.question, given.reply, given.domain)
    assert (kept.scores, kept.created, kept.response) == (given.scores, 1.0, None)
    assert kept.embedding.dtype == np.float32 and np.array_equal(kept.embedding, given.embedding)
    assert kept.tags == {"answered_at": None, "learned_in": None, "held_out": False}


def test_a_set_without_a_time_gets_the_stores(store):
    buffer = make(store)
    assert buffer.get(buffer.admit(a_set(1, created=0.0)).id).created == 1000.0


def test_scores_may_be_numpy_numbers_of_any_size(store):
    buffer = make(store)
    id = buffer.admit(a_set(1, scores=Scores(np.float32(0.5), np.float64(0.25), np.float32(1)))).id
    assert buffer.get(id).scores == Scores(0.5, 0.25, 1.0)


def test_a_set_that_comes_with_its_response_is_answered(store):
    buffer = make(store)
    kept = buffer.get(buffer.admit(a_set(1, response="so")).id)
    assert (kept.response, kept.tags["answered_at"]) == ("so", 1000.0)


def test_placements_are_carried_out_and_counted(store):
    policy = Scripted([ADMIT, ADMIT, REJECT, AdmissionDecision(True, 1)])
    buffer = make(store, policy, capacity=2)
    admissions = [buffer.admit(a_set(number)) for number in range(4)]
    assert admissions == [AdmissionResult(1), AdmissionResult(2), AdmissionResult(), AdmissionResult(3, evicted=1)]
    assert [admission.action for admission in admissions] == ["kept", "kept", "dropped", "replaced"]
    assert ids(buffer) == [2, 3] and len(buffer) == 2
    assert store.counter("seen") == 4


def test_the_policy_sees_the_buffer(store):
    policy = Scripted()
    buffer = make(store, policy, capacity=7)
    fill(buffer, 4)
    buffer.admit(a_set(9))
    view = policy.view
    assert view.ids == [1, 2, 3, 4]
    assert view.domains == ["domain 0", "domain 1", "domain 2", "domain 0"]
    assert np.array_equal(view.embeddings, [unit(number) for number in range(4)])
    assert view.eoe.tolist() == [a_set(number).scores.eoe for number in range(4)]
    assert view.dss.tolist() == [a_set(number).scores.dss for number in range(4)]
    assert (view.capacity, view.seen, view.protected.any()) == (7, 4, False)


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICY_NAMES)
def test_memory_kept_for_long_equals_memory_built_anew(store, name):
    """The mirror after 60 candidates, removals and answers is the one a fresh process reads."""
    policy = Watched(name)
    old = make(store, policy, capacity=10)
    random = np.random.default_rng(3)
    for number in range(60):
        old.admit(a_set(number))
        if number % 7 == 6:
            old.remove(int(random.choice(ids(old))))
        if number % 11 == 10:
            queue, prompt = show_prompt(store)
            queue.edit(prompt.id, "better")
    fresh_policy = Watched(name)
    fresh = make(store, fresh_policy, capacity=10)
    assert old.nearest(unit(99), 10) == fresh.nearest(unit(99), 10)
    policy.rejects = fresh_policy.rejects = True
    for buffer in (old, fresh):
        buffer.admit(a_set(60))
    seen, expected = policy.view, fresh_policy.view
    order = np.argsort(seen.ids)
    assert [seen.ids[row] for row in order] == expected.ids
    assert [seen.domains[row] for row in order] == expected.domains
    for column in ("embeddings", "eoe", "dss", "answered", "protected"):
        assert np.array_equal(getattr(seen, column)[order], getattr(expected, column)), column
    assert expected.answered.any() and expected.protected.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICY_NAMES)
def test_a_restart_after_each_candidate_changes_no_decision(tmp_path, name):
    def stream(home, restart):
        with Store(home) as store:
            buffer = make(store, name, capacity=5)
            for number in range(40):
                buffer = make(store, name, capacity=5) if restart else buffer
                buffer.admit(a_set(number))
            return ids(buffer)

    assert stream(tmp_path / "a", restart=True) == stream(tmp_path / "b", restart=False)


def test_a_failing_policy_leaves_nothing_behind(store):
    class Failing(Scripted):
        def decide(self, candidate, buffer):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        make(store, Failing()).admit(a_set(1))
    assert store.counter("seen") == 0 and len(make(store)) == 0


def test_an_offer_that_is_rolled_back_leaves_memory_too(store, tmp_path):
    buffer = make(store)
    with pytest.raises(ZeroDivisionError), store.transaction():
        buffer.admit(a_set(1))
        assert len(buffer.nearest(unit(1), 1)) == 1
        1 / 0
    with Store(tmp_path / "home") as other:
        assert make(other).admit(a_set(2)).id == 1, "the id that the first one had"
    ((nearest, cosine),) = buffer.nearest(unit(2), 5)
    assert buffer.get(nearest).question == "question 2" and cosine == pytest.approx(1, abs=1e-3)


def test_answered_sets_are_kept_until_they_are_learned_and_go_last(store):
    buffer = make(store, capacity=2)
    first, second = fill(buffer, 2)
    queue, prompt = show_prompt(store)
    queue.edit(prompt.id, "better")
    answered, other = prompt.dialogue_set_id, ({first, second} - {prompt.dialogue_set_id}).pop()
    third = buffer.admit(a_set(7))
    assert third.evicted == other and answered in ids(buffer)
    learn(store, buffer, [answered])
    assert buffer.admit(a_set(8, response="so")).evicted == third.id  # an answer outlives what has none
    assert buffer.admit(a_set(9)).evicted == answered  # all are answered, and the other is not learned from


def test_a_reply_that_was_good_goes_after_what_has_no_answer_and_waits_for_no_learning(store):
    buffer = make(store, capacity=2)
    fill(buffer, 2)
    queue, prompt = show_prompt(store)
    queue.accept(prompt.id)
    good = prompt.dialogue_set_id
    third = buffer.admit(a_set(7))
    assert third.evicted not in (None, good)
    assert buffer.admit(a_set(8, response="so")).evicted == third.id
    assert buffer.admit(a_set(9, response="so")).evicted == good
    assert buffer.admit(a_set(10)).action == "dropped"


def test_with_every_set_protected_an_offer_is_dropped(store):
    buffer = make(store, capacity=2)
    for number in range(2):
        buffer.admit(a_set(number, response="so"))
    assert buffer.admit(a_set(3)).action == "dropped"


def test_the_set_that_is_being_asked_about_stays(store):
    buffer = make(store, capacity=2)
    fill(buffer, 2)
    queue, prompt = show_prompt(store)
    for number in range(5):
        buffer.admit(a_set(10 + number))
    assert prompt.dialogue_set_id in ids(buffer)
    queue.dismiss(prompt.id)
    for number in range(2):
        buffer.admit(a_set(20 + number))
    assert prompt.dialogue_set_id not in ids(buffer)


def test_a_policy_cannot_break_the_protection(store):
    buffer = make(store, Scripted([ADMIT, AdmissionDecision(True, 1)]), capacity=1)
    buffer.admit(a_set(1, response="so"))
    with pytest.raises(AssertionError, match="protected"):
        buffer.admit(a_set(2))
    assert ids(buffer) == [1] and store.counter("seen") == 1


def test_a_replaced_set_takes_its_prompt_and_synthetic_sets(store):
    buffer = make(store, capacity=1)
    (first,) = fill(buffer, 1)
    AnnotationQueue(store).refill()
    with store.transaction() as db:
        db.execute("INSERT INTO synthetic_sets VALUES (NULL, ?, 0.5, 'q', 'r')", (first,))
    assert buffer.admit(a_set(5)).evicted == first
    assert not store.rows("SELECT * FROM prompts") and not store.rows("SELECT * FROM synthetic_sets")


def test_a_deleted_adapter_protects_its_sets_again(store):
    buffer = make(store, capacity=1)
    id = buffer.admit(a_set(1, response="so")).id
    version = learn(store, buffer, [id])
    assert buffer.get(id).tags["learned_in"] == version
    with store.transaction() as db:
        db.execute("DELETE FROM adapters WHERE version = ?", (version,))
    assert buffer.admit(a_set(2)).action == "dropped"


def test_refreshed_embeddings_are_seen_by_every_mirror(store, tmp_path):
    buffer = make(store)
    first, second = fill(buffer, 2)
    with Store(tmp_path / "home") as other_store:
        other = make(other_store)
        tokens = TokenEmbeddings(unit(50)[None], unit(51)[None])
        buffer.refresh(first, tokens, "token")
        for each in (buffer, other):
            assert np.array_equal(each.embeddings(), [text_embedding(tokens.both), unit(1)])
            ((nearest, cosine),) = each.nearest(unit(50), 1)
            assert nearest == first and cosine == pytest.approx(1, abs=1e-3)
            assert np.array_equal(each.get(nearest).embedding, text_embedding(tokens.both))
    assert buffer.get(first).scores.eoe == entropy_of_embedding(tokens.both, "token") != a_set(0).scores.eoe
    assert buffer.get(second).scores == a_set(1).scores


def test_refreshing_what_is_not_there(store):
    with pytest.raises(UsageError, match="no dialogue set 5"):
        make(store).refresh(5, TokenEmbeddings(unit(1)[None], unit(2)[None]))
    with pytest.raises(AssertionError):
        make(store).refresh(5, TokenEmbeddings(np.full((1, HIDDEN), np.nan), unit(2)[None]))


def test_hold_out(store):
    buffer = make(store)
    first, second = fill(buffer, 2)
    buffer.hold_out([first])
    assert [kept.tags["held_out"] for kept in buffer.sets()] == [True, False]
    buffer.hold_out([first], held_out=False)
    assert not buffer.get(first).tags["held_out"]


def test_a_set_that_fits_to_the_byte_and_one_that_does_not(store):
    buffer = make(store, bin_bytes=6 * HIDDEN + 10)
    buffer.admit(a_set(1, question="é" * 3, reply="abcd"))
    with pytest.raises(UsageError, match="59 bytes .* more than the 58 bytes of a bin"):
        buffer.admit(a_set(2, question="é" * 3, reply="abcde"))
    with pytest.raises(UsageError, match="59 bytes"):
        buffer.admit(a_set(2, question="é" * 3, reply="", response="abcde"))
    assert len(buffer) == 1 and store.counter("seen") == 1


def test_half_a_character_is_refused(store):
    with pytest.raises(UsageError, match="half a character"):
        make(store).admit(a_set(1, reply="\ud83d"))


@pytest.mark.parametrize("embedding", [np.zeros(HIDDEN + 1, np.float32), np.full(HIDDEN, np.nan, np.float32)])
def test_a_broken_embedding_is_our_fault(store, embedding):
    buffer = make(store)
    with pytest.raises(AssertionError):
        buffer.admit(a_set(1, embedding=embedding))
    assert len(buffer) == 0


def test_scores_that_are_no_numbers_are_our_fault(store):
    with pytest.raises(AssertionError, match="finite"):
        make(store).admit(a_set(1, scores=Scores(0.5, float("nan"), 0.5)))


@pytest.mark.parametrize("options", [{"capacity": 0}, {"bin_bytes": 6 * HIDDEN}])
def test_a_buffer_that_holds_nothing_is_refused(store, options):
    with pytest.raises(UsageError):
        make(store, **options)


def test_removing(store):
    buffer = make(store)
    first, second, third = fill(buffer, 3)
    buffer.remove(second)
    assert ids(buffer) == [first, third] and len(buffer) == 2
    assert {kept for kept, _ in buffer.nearest(unit(1), 9)} == {first, third}
    for call in (buffer.remove, buffer.get):
        with pytest.raises(UsageError, match=f"no dialogue set {second}"):
            call(second)


@pytest.mark.parametrize("id", [0, -1, 2**70, None])
def test_ids_that_never_were(store, id):
    with pytest.raises(UsageError, match="no dialogue set"):
        make(store).get(id)


def test_what_others_change_is_seen_at_once(store, tmp_path):
    """A second connection stands for the web page's process or the command line."""
    buffer = make(store)
    first, second = fill(buffer, 2)
    with Store(tmp_path / "home") as other_store:
        other = make(other_store)
        other.remove(first)
        other.admit(a_set(5))
    assert [buffer.get(kept).question for kept, _ in buffer.nearest(unit(5), 2)][0] == "question 5"
    assert len(buffer.embeddings()) == 2


def test_nearest_is_ranked_by_cosine_of_the_standardized_questions(store):
    buffer, questions = make(store, capacity=9), np.stack([unit(90 + number) for number in range(9)])
    for number, question in enumerate(questions):
        buffer.admit(a_set(number, question_embedding=question))
    found = buffer.nearest(questions[4], 3)
    standardize = Standardization(questions)
    cosines = standardize(questions) @ standardize(questions[4])
    assert [buffer.get(kept).question for kept, _ in found] == [f"question {n}" for n in np.argsort(-cosines)[:3]]
    assert [cosine for _, cosine in found] == pytest.approx(np.sort(cosines)[::-1][:3].tolist(), abs=5e-3)
    assert buffer.get(found[0][0]).question_embedding == pytest.approx(questions[4], abs=1e-3)
    assert len(buffer.nearest(questions[4], 99)) == 9
    assert make(Store(store.home / "empty")).nearest(questions[4], 3) == []


def test_sets_from_before_question_embeddings_are_compared_by_what_they_have(store):
    buffer = make(store)
    fill(buffer, 3)
    with store.transaction() as db:
        db.execute("UPDATE dialogue_sets SET question_embedding = NULL")
    buffer = make(store)
    assert buffer.get(2).question_embedding is None
    assert [kept for kept, _ in buffer.nearest(unit(1), 1)] == [2]
    embeddings = TokenEmbeddings(unit(50)[None], unit(51)[None])
    buffer.refresh(2, embeddings)
    assert buffer.get(2).question_embedding == pytest.approx(unit(50), abs=1e-3)


def test_embeddings_of_a_domain(store):
    buffer = make(store)
    fill(buffer, 4)
    assert np.array_equal(buffer.embeddings("domain 0"), [unit(0), unit(3)])
    assert buffer.embeddings("nothing").shape == (0, HIDDEN)
    buffer.embeddings()[:] = 0
    assert buffer.embeddings().all(), "a copy, not the mirror itself"


def test_a_lowered_capacity_deletes_nothing(store):
    fill(make(store, capacity=7), 7)
    buffer = make(store, capacity=3)
    assert len(buffer) == 7 and len(buffer.nearest(unit(1), 9)) == 7
    assert buffer.admit(a_set(20)).action == "replaced"
    assert len(buffer) == 7


def test_another_models_embeddings_are_refused(store):
    fill(make(store), 1)
    with pytest.raises(UsageError, match="embedding of 8 values, the base model gives 16"):
        make(store, hidden=16)


def test_a_broken_stored_embedding(store):
    fill(make(store), 1)
    for column, size in (("question_embedding", 2), ("embedding", 4)):
        with store.transaction() as db:
            db.execute(f"UPDATE dialogue_sets SET {column} = ?", (b"\xff" * size * HIDDEN,))
        with pytest.raises(DamagedDataError, match="dialogue set 1"):
            make(store)


def test_that_a_set_was_paraphrased_is_forgotten_with_it(store):
    buffer = make(store, capacity=2)
    for id in fill(buffer, 2):
        record_paraphrased(store, id)
    buffer.admit(a_set(3))  # takes the first one's place
    assert (is_paraphrased(store, 1), is_paraphrased(store, 2)) == (False, True)
