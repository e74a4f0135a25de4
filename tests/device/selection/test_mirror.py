"""The buffer's mirror: rows that come and go, a capacity that was lowered, views and neighbours."""

import numpy as np
from idletune.dialogue import DialogueSet, Scores
from idletune.selection.mirror import BufferMirror

HIDDEN = 4


def a_set(number, origin="chat"):
    embedding = np.eye(HIDDEN, dtype=np.float32)[number % HIDDEN]
    return DialogueSet(f"q{number}", "r", f"domain {number}", embedding, Scores(number, -number, 1), origin=origin)


def mirror_of(ids, capacity=3, origins={}):
    mirror = BufferMirror(capacity, HIDDEN)
    for id in ids:
        mirror.add(id, a_set(id, origins.get(id, "chat")))
    return mirror


def contents(view):
    """What a view says of each set, by id."""
    columns = zip(view.domains, view.eoe, view.dss, map(tuple, view.embeddings))
    return dict(zip(view.ids, columns))


def test_more_sets_than_the_capacity_and_a_removed_one_in_the_middle():
    mirror, expected = mirror_of(range(1, 8)), mirror_of([1, 2, 4, 5, 6, 7], capacity=6)
    mirror.remove(3)
    assert contents(mirror.view(3, 9)) == contents(expected.view(3, 9))
    mirror.remove(7)
    mirror.remove(1)
    assert sorted(mirror.ids) == [2, 4, 5, 6] and all(mirror.ids[row] == id for id, row in mirror.row_of.items())


def test_a_view_of_one_origin_alone():
    mirror = mirror_of([1, 2, 3], origins={2: "notes"})
    rows = mirror.of_origin("notes")
    view = mirror.view(1, 5, rows)
    assert (view.ids, view.domains, view.capacity, view.seen) == ([2], ["domain 2"], 1, 5)
    assert contents(view)[2] == contents(mirror.view(3, 5))[2]


def test_neighbours_follow_what_was_added_and_removed():
    mirror = mirror_of([1, 2, 3])
    assert mirror.nearest(a_set(2).embedding, 1)[0].tolist() == [2]
    mirror.remove(2)
    assert 2 not in mirror.nearest(a_set(2).embedding, 3)[0]
    mirror.add(6, a_set(6))  # the same direction
    assert mirror.nearest(a_set(2).embedding, 1)[0].tolist() == [6]
