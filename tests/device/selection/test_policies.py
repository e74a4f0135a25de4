"""Every policy against small buffers worked out by hand, and against long random streams."""

from dataclasses import replace

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores
from idletune.errors import UsageError
from idletune.runtime.described_settings import choices_of
from idletune.selection import policies
from idletune.selection.policies import (
    ADMIT,
    POLICY_NAMES,
    REJECT,
    AdmissionDecision,
    BufferView,
    Dominance,
    KCenter,
    RecentDiverse,
    Reservoir,
    make_policy,
)
from idletune.selection.scores import in_domain_dissimilarity
from idletune.settings import Settings

HIDDEN = 8


def direction(*degrees):
    """Unit vectors in a plane: the angle between two of them is their cosine's."""
    angles = np.radians(np.array(degrees, dtype=np.float64))
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


def candidate(eoe=0.5, dss=0.5, idd=0.5, domain="work", embedding=None):
    embedding = direction(0)[0] if embedding is None else embedding
    return DialogueSet("question", "reply", domain, embedding, Scores(eoe, dss, idd))


def view(ids, embeddings=None, domains=None, eoe=None, dss=None, answered=(), protected=(), seen=100, capacity=None):
    """A full buffer of the given ids; by default each set is alone in its domain, so that its IDD is 1."""
    n = len(ids)
    return BufferView(
        ids=list(ids),
        embeddings=direction(*range(0, 10 * n, 10)) if embeddings is None else embeddings,
        domains=[f"domain {i}" for i in range(n)] if domains is None else list(domains),
        eoe=np.full(n, 0.5) if eoe is None else np.array(eoe),
        dss=np.full(n, 0.5) if dss is None else np.array(dss),
        answered=np.array([id in answered for id in ids], dtype=bool),
        protected=np.array([id in protected for id in ids], dtype=bool),
        capacity=n if capacity is None else capacity,
        seen=seen,
    )


def stream(length, seed=0):
    """Random candidates without IDD: that one depends on the buffer they meet."""
    random = np.random.default_rng(seed)
    for _ in range(length):
        vector = random.normal(size=HIDDEN)
        embedding = (vector / np.linalg.norm(vector)).astype(np.float32)
        yield candidate(random.random(), random.random(), 0.0, random.choice(["a", "b", "c"]), embedding)


class Buffer:
    """Carries decisions out as the buffer does, without a database."""

    def __init__(self, capacity, protected=()):
        self.capacity, self.answered, self.protected, self.seen, self.sets = capacity, set(), set(protected), 0, {}

    def view(self, order=sorted):
        ids = order(self.sets)
        sets = [self.sets[id] for id in ids]
        return BufferView(
            ids,
            np.array([s.embedding for s in sets], np.float32).reshape(len(ids), HIDDEN),
            [s.domain for s in sets],
            np.array([s.scores.eoe for s in sets]),
            np.array([s.scores.dss for s in sets]),
            np.array([id in self.answered for id in ids], bool),
            np.array([id in self.protected for id in ids], bool),
            self.capacity,
            self.seen,
        )

    def admit(self, policy, item, order=sorted):
        view = self.view(order)
        inside = [d == item.domain for d in view.domains]
        idd = in_domain_dissimilarity(item.embedding, view.embeddings[inside])
        item = replace(item, scores=Scores(item.scores.eoe, item.scores.dss, idd))
        decision = policy.decide(item, view)
        if decision.evicts is not None:
            del self.sets[decision.evicts]
        if decision.admitted:
            self.sets[self.seen] = item  # ids are arrival numbers
        self.seen += 1
        return decision


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_the_capacity_is_filled_first(name):
    worst = candidate(eoe=0.0, dss=0.0, idd=0.0)
    assert make_policy(name, seed=1).decide(worst, view([4, 7], capacity=3)) == ADMIT
    assert make_policy(name, seed=1).decide(worst, view([], np.empty((0, 2), np.float32), capacity=3)) == ADMIT


def test_dominance_replaces_what_it_beats_and_not_what_beats_it():
    # the released code has this direction inverted
    buffer = view([1, 2], eoe=[0.2, 0.9], dss=[0.2, 0.9])
    policy = Dominance(seed=3)
    assert policy.decide(candidate(0.5, 0.5, idd=1.1), buffer) == AdmissionDecision(True, 1)
    assert policy.decide(candidate(0.1, 0.1, idd=1.1), buffer) == REJECT


@pytest.mark.parametrize("scores", [{"eoe": 0.4}, {"dss": 0.4}, {"idd": 0.9}, {"eoe": 0.5}, {"idd": 1.0}])
def test_dominance_needs_all_three_and_a_tie_is_no_win(scores):
    buffer = view([1], eoe=[0.5], dss=[0.5])
    winner = dict(eoe=0.6, dss=0.6, idd=1.1)
    assert Dominance().decide(candidate(**winner), buffer).evicts == 1
    assert Dominance().decide(candidate(**{**winner, **scores}), buffer) == REJECT


@pytest.mark.parametrize("name, loses", [("eoe", 1), ("dss", 2), ("idd", 3)])
def test_single_score_variants_look_at_one_score(name, loses):
    # stored 3 and 4 share a domain and 60 degrees: their IDD is 0.5, that of the others 1
    buffer = view(
        [1, 2, 3, 4],
        direction(0, 10, 100, 160),
        ["a", "b", "c", "c"],
        eoe=[0.1, 0.9, 0.9, 0.9],
        dss=[0.9, 0.1, 0.9, 0.9],
        protected=[4],
    )
    low = dict(eoe=0.0, dss=0.0, idd=0.0)
    beats = dict(eoe=0.5, dss=0.5, idd=0.7)
    policy = make_policy(name)
    assert policy.decide(candidate(**{**low, name: beats[name]}), buffer) == AdmissionDecision(True, loses)
    assert policy.decide(candidate(**low), buffer) == REJECT


def test_stored_dissimilarity_is_the_current_one():
    # Same set 1 twice: alone in its domain it has IDD 1, beside its near twin 2 only 0.015.
    scores = dict(eoe=[0.1, 0.9], dss=[0.1, 0.9])
    alone = view([1, 2], direction(0, 10), ["a", "b"], **scores)
    crowded = view([1, 2], direction(0, 10), ["a", "a"], **scores)
    newcomer = candidate(0.5, 0.5, idd=0.3, domain="a")
    assert Dominance().decide(newcomer, alone) == REJECT
    assert Dominance().decide(newcomer, crowded) == AdmissionDecision(True, 1)


def test_dominance_draws_among_all_it_beats_and_only_those():
    buffer = view(range(6), eoe=[0.1, 0.9, 0.2, 0.9, 0.3, 0.4], dss=[0.1, 0.1, 0.2, 0.1, 0.3, 0.9])
    policy, drawn = Dominance(seed=5), []
    for seen in range(300):
        buffer.seen = seen
        drawn.append(policy.decide(candidate(0.5, 0.5, idd=1.5), buffer).evicts)
    counts = [drawn.count(id) for id in (0, 2, 4)]
    assert sum(counts) == 300 and min(counts) > 60


def test_dominance_refuses_unknown_scores():
    for scores in ((), ("eoe", "rouge")):
        with pytest.raises(UsageError, match="eoe, dss, idd"):
            Dominance(scores=scores)


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_protected_sets_are_never_replaced(name):
    buffer = Buffer(capacity=6, protected=[0, 3])
    policy = make_policy(name, seed=2)
    for item in stream(300):
        buffer.admit(policy, item)
    assert {0, 3} <= set(buffer.sets) and len(buffer.sets) == 6
    buffer.protected = set(buffer.sets)
    best = candidate(9, 9, 9, "new", np.eye(HIDDEN, dtype=np.float32)[0])
    assert policy.decide(best, buffer.view()) == REJECT


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_answered_sets_go_when_no_other_is_left(name):
    buffer, policy = Buffer(capacity=6), make_policy(name, seed=2)
    items = stream(1200)
    for _ in range(6):
        buffer.admit(policy, next(items))
    buffer.answered = {0, 1, 2, 3}
    for _ in range(300):
        buffer.admit(policy, next(items))
    assert {0, 1, 2, 3} <= set(buffer.sets) and len(buffer.sets) == 6
    buffer.answered = set(buffer.sets)
    evicted = [buffer.admit(policy, item).evicts for item in items]
    assert name == "keep_first" or set(evicted) & buffer.answered


@pytest.mark.parametrize("name", sorted({*POLICY_NAMES} - {"keep_first"}))
def test_policies_other_than_keep_first_do_replace(name):
    buffer, policy = Buffer(capacity=6), make_policy(name)
    assert any(buffer.admit(policy, item).evicts is not None for item in stream(100))


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_a_killed_process_decides_the_same(name):
    kept, running = Buffer(8), make_policy(name, seed=7)
    killed, shuffle = Buffer(8), np.random.default_rng(0)
    for item in stream(250, seed=4):
        anew = make_policy(name, seed=7)  # as after a restart, and the rows come back in another order
        order = lambda sets: [int(id) for id in shuffle.permutation(list(sets))]  # noqa: E731
        assert kept.admit(running, item) == killed.admit(anew, item, order)
    assert kept.sets.keys() == killed.sets.keys()


@pytest.mark.parametrize("name", ["recent_diverse", "k_center", "diverse"])
def test_pairs_looked_at_in_parts_decide_the_same(name, monkeypatch):
    whole, parts, policy = Buffer(8, protected=(2, 5)), Buffer(8, protected=(2, 5)), make_policy(name)
    for item in stream(100, seed=5):
        monkeypatch.setattr(policies, "BLOCK", 256)
        at_once = whole.admit(policy, item)
        monkeypatch.setattr(policies, "BLOCK", 3)
        assert parts.admit(policy, item) == at_once


@pytest.mark.parametrize("name", ["all_three", "random", "recent_diverse"])
def test_the_seed_matters(name):
    kept = []
    for seed in range(4):
        buffer, policy = Buffer(8), make_policy(name, seed)
        for item in stream(200):
            buffer.admit(policy, item)
        kept.append(tuple(sorted(buffer.sets)))
    assert len(set(kept)) > 1


@pytest.mark.slow
def test_reservoir_keeps_every_position_of_the_stream_equally_often():
    runs, length, capacity = 2000, 24, 6
    kept, item = np.zeros(length), candidate()
    for seed in range(runs):
        buffer = view(range(capacity))
        for buffer.seen in range(capacity, length):
            decision = Reservoir(seed).decide(item, buffer)
            if decision.evicts is not None:
                buffer.ids[buffer.ids.index(decision.evicts)] = buffer.seen
        kept[buffer.ids] += 1
    expected = runs * capacity / length
    deviation = np.sqrt(expected * (1 - capacity / length))
    assert abs(kept - expected).max() < 4 * deviation
    assert ((kept - expected) ** 2).sum() / deviation**2 < 52  # about chi-square, 23 degrees: p < 0.001


def test_fifo_replaces_the_oldest():
    policy = make_policy("fifo")
    assert policy.decide(candidate(), view([9, 2, 5])) == AdmissionDecision(True, 2)
    assert policy.decide(candidate(), view([9, 2, 5], protected=[2])) == AdmissionDecision(True, 5)


def test_keep_first_keeps():
    buffer, policy = Buffer(5), make_policy("keep_first")
    for item in stream(40):
        buffer.admit(policy, item)
    assert sorted(buffer.sets) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "newcomer, decision",
    [
        (95, REJECT),  # pair 90, 95; the candidate is 75 degrees from 170, the stored set 80 from it
        (85, AdmissionDecision(True, 2)),  # pair 85, 90; the stored set is 80 degrees from 170, the candidate 85
        (90, REJECT),  # a duplicate: neither is nearer to the rest, so the candidate goes
    ],
)
def test_k_center_of_a_pair_with_the_candidate_drops_the_one_nearer_to_the_rest(newcomer, decision):
    buffer = view([1, 2, 3], direction(-10, 90, 170))
    assert KCenter().decide(candidate(embedding=direction(newcomer)[0]), buffer) == decision


def test_k_center_replaces_one_of_a_closer_stored_pair():
    # 2 and 3 are 4 degrees apart, and 3 is the nearer to 4.
    buffer = view([1, 2, 3, 4], direction(0, 90, 94, 180))
    assert KCenter().decide(candidate(embedding=direction(270)[0]), buffer) == AdmissionDecision(True, 3)
    shielded = view([1, 2, 3, 4], direction(0, 90, 94, 180), protected=[3])
    assert KCenter().decide(candidate(embedding=direction(270)[0]), shielded) == AdmissionDecision(True, 2)


def test_a_diverse_reservoir_takes_when_a_reservoir_takes_and_gives_one_of_the_closest_pair():
    buffer = view([1, 2, 3, 4], direction(0, 90, 94, 180), seen=9)
    plain = [make_policy("random", seed).decide(candidate(), buffer) for seed in range(40)]
    diverse = [make_policy("diverse", seed).decide(candidate(), buffer) for seed in range(40)]
    assert [p == REJECT for p in plain] == [p == REJECT for p in diverse]
    assert set(diverse) == {REJECT, AdmissionDecision(True, 3)}  # 3 is nearer to 4 than 2 is to 1


def test_a_diverse_reservoir_repeats_itself_less():
    diverse, plain = Buffer(8), Buffer(8)
    for item in stream(300):
        diverse.admit(make_policy("diverse"), item)
        plain.admit(make_policy("random"), item)
    assert closest(diverse) < closest(plain)


def test_recent_and_diverse_takes_half_of_the_arrivals_and_gives_the_older_of_the_closest_pair():
    far, near = candidate(embedding=direction(270)[0]), candidate(embedding=direction(93)[0])
    buffer = view([8, 3, 5, 2], direction(94, 0, 90, 180))
    for newcomer, loser in ((far, 5), (near, 8)):  # 93 and 94 are closer than 90 and 94
        drawn = []
        for buffer.seen in range(400):
            drawn.append(RecentDiverse().decide(newcomer, buffer))
        assert set(drawn) == {REJECT, AdmissionDecision(True, loser)} and 160 < drawn.count(REJECT) < 240


def test_recent_and_diverse_keeps_what_may_not_go_and_drops_its_like():
    buffer = view([1, 2, 3, 4], direction(0, 90, 94, 180), protected=[2, 3, 4])
    taken = [RecentDiverse(seed).decide(candidate(embedding=direction(93)[0]), buffer) for seed in range(40)]
    assert set(taken) == {REJECT}  # the pair of protected ones is passed over, and of 93 and 94 the arrival goes
    taken = [RecentDiverse(seed).decide(candidate(embedding=direction(20)[0]), buffer) for seed in range(40)]
    assert set(taken) == {REJECT, AdmissionDecision(True, 1)}


def test_recent_and_diverse_forgets_with_age_and_repeats_itself_less():
    follows, uniform = Buffer(16), Buffer(16)
    for item in stream(600):
        follows.admit(make_policy("recent_diverse"), item)
        uniform.admit(make_policy("random"), item)
    assert np.mean(list(follows.sets)) > 500 > np.mean(list(uniform.sets))
    assert closest(follows) < closest(uniform)


def test_k_center_passes_over_a_protected_pair():
    buffer = view([1, 2, 3, 4], direction(0, 2, 90, 100), protected=[1, 2])
    placed = KCenter().decide(candidate(embedding=direction(200)[0]), buffer)
    assert placed == AdmissionDecision(True, 3)  # 3 at 90 is nearer to 0 and 2 than 4 is to 200


def test_k_center_drops_a_duplicate_and_spreads_out():
    assert KCenter().decide(candidate(embedding=direction(10)[0]), view([1, 2, 3])) == REJECT
    spread, first = Buffer(8), Buffer(8)
    for item in stream(300):
        spread.admit(make_policy("k_center"), item)
        first.admit(make_policy("keep_first"), item)
    assert closest(spread) < closest(first)


def test_k_center_drops_a_duplicate_whatever_the_last_bits():
    random, decisions = np.random.default_rng(0), []
    for _ in range(50):
        rows = random.normal(size=(12, 576))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        twin = rows[random.integers(12)] + random.normal(size=576) * 1e-9
        decisions.append(KCenter().decide(candidate(embedding=twin), view(range(12), rows)))
    assert decisions.count(REJECT) >= 47


def closest(buffer):
    rows = buffer.view().embeddings
    return (rows @ rows.T - 2 * np.eye(len(rows))).max()


def test_make_policy_names():
    assert choices_of(Settings.__dataclass_fields__["policy"]) == POLICY_NAMES
    with pytest.raises(UsageError, match="setting policy is 'best'; choose from recent_diverse, all_three"):
        make_policy("best")
    with pytest.raises(UsageError, match="seed is -1"):
        make_policy("random", seed=-1)


def test_a_view_with_missing_rows_is_refused():
    with pytest.raises(AssertionError):
        view([1, 2, 3], direction(0, 10))
