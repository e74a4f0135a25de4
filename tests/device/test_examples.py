"""Training examples and their labels."""

from idletune.examples import IGNORE_INDEX, labelled_example


def test_the_labels_of_an_example_begin_where_they_are_told_to():
    assert labelled_example([5, 6, 7, 8], start=2).labels.tolist() == [IGNORE_INDEX, 7, 8, IGNORE_INDEX]
