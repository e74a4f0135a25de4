"""Threads are given up where others take the processor, and taken again later; by clocks of the test's own."""

import pytest
from idletune.model.thread_count import FIRST_PAUSE, ThreadCount


class Machine:
    """A wall clock that every look moves on, and the processor's clock at `share` of each core."""

    def __init__(self, most, share):
        self.wall, self.used, self.threads, self.share = 0.0, 0.0, 1, share
        self.count = ThreadCount(most, self.look, lambda: self.used)

    def look(self):
        self.run(0.001)
        return self.wall

    def run(self, seconds):
        self.wall += seconds
        self.used += seconds * self.threads * self.share(self.threads)

    def work(self, pieces=1, seconds=0.1):
        for _ in range(pieces):
            with self.count.piece() as self.threads:
                self.run(seconds)
            used, self.threads = self.threads, 1
        return used


def beside(neighbours, cores=2):
    """The share of a core that each of so many threads gets beside the neighbours' threads."""
    return lambda threads: min(1.0, cores / (threads + neighbours))


@pytest.mark.parametrize("most, neighbours, threads", [(2, 0, 2), (2, 1, 1), (2, 3, 1), (1, 0, 1), (1, 3, 1)])
def test_all_cores_alone_and_one_beside_busy_programs(most, neighbours, threads):
    assert Machine(most, beside(neighbours)).work(5) == threads


def test_the_first_piece_is_not_lost_beside_busy_programs():
    assert Machine(2, beside(3)).work() == 1 and Machine(2, beside(0)).work() == 2


def test_of_many_threads_as_many_are_kept_as_there_was_time_for():
    machine = Machine(8, beside(0, cores=8))
    assert machine.work() == 8
    machine.share = beside(8, cores=8)
    assert machine.work(2) == 4


def test_all_cores_are_tried_again_when_there_is_room():
    machine = Machine(2, beside(0))
    machine.work()
    machine.share = beside(3)
    assert machine.work(2) == 1
    machine.share = beside(0)
    assert machine.work() == 1 and machine.work(int(FIRST_PAUSE / 0.1) + 2) == 2


def test_tries_that_fail_become_rare():
    """With one neighbour on two cores one thread has a core of its own, and the second gets in the way."""
    machine = Machine(2, beside(1))
    tried = [machine.work() == 2 for _ in range(3000)]
    assert 3 <= sum(tried) <= 20 and sum(tried[:100]) > sum(tried[-100:])
