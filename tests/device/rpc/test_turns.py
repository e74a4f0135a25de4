"""The queue at the model: fair among clients, bounded for each, and left by who cancels."""

import threading

import pytest
from idletune.rpc.errors import RpcError
from idletune.rpc.turns import Turns
from rpc_caller import in_thread


class Line:
    """Calls that wait, in the order in which they joined the queue; `served` is the order they had their turns."""

    def __init__(self):
        self.turns, self.served, self.callers = Turns(), [], []
        self.turns.take("the first")

    def join(self, client, most=None, cancelled=lambda: False):
        waiting = self.turns.waiting

        def call():
            self.turns.take(client, most, cancelled)
            self.served.append(client)
            self.turns.release()

        self.callers.append(in_thread(call))
        while self.turns.waiting == waiting and self.callers[-1].running():
            threading.Event().wait(0.001)
        return self.callers[-1]

    def serve(self):
        self.turns.release()
        [caller() for caller in self.callers]
        return "".join(self.served)


def test_clients_take_turns_whoever_has_sent_more():
    line = Line()
    for client in "AAAABCAB":
        line.join(client)
    assert line.serve() == "ABCABAAA"


def test_a_newcomer_waits_for_one_call_of_each_other_client():
    line = Line()
    for client in "AAAA":
        line.join(client)
    line.join("B")
    assert line.serve().index("B") == 1


def test_the_calls_of_one_client_that_may_wait_are_bounded():
    line = Line()
    for _ in range(2):
        line.join("A", most=2)
    with pytest.raises(RpcError, match="2 calls of this client wait already") as caught:
        line.turns.take("A", most=2)
    assert caught.value.code == -32004
    line.join("B", most=2)
    assert line.serve() == "ABA"


def test_who_is_cancelled_leaves_the_queue_at_once():
    line, gone = Line(), threading.Event()
    waiting = line.join("A", cancelled=gone.is_set)
    line.join("B")
    gone.set()
    line.turns.wake()
    with pytest.raises(RpcError, match="before it began") as caught:
        waiting()
    assert caught.value.code == -32005
    line.callers.remove(waiting)
    assert line.serve() == "B"


def test_a_slice_takes_the_turn_only_where_nobody_has_it_or_waits():
    turns = Turns()
    assert turns.take_now() and not turns.take_now()
    waiting = in_thread(lambda: turns.take("A"))
    while not turns.waiting:
        threading.Event().wait(0.001)
    turns.release()
    waiting()
    assert not turns.take_now()
    turns.release()
    assert turns.take_now()
