"""Sessions: whose they are, how they are shared, and how many there may be."""

import pytest
from idletune.rpc.clients import MOST_OF_A_CLIENT, MOST_SESSIONS, Clients
from idletune.rpc.errors import RpcError
from idletune.rpc.events import EventQueue


def test_each_client_has_a_session_of_its_own_that_nobody_guesses():
    clients = Clients()
    own = [clients.session_of(clients.connect(EventQueue()), None) for _ in range(20)]
    assert len(set(own)) == 20 and min(map(len, own)) >= 20
    with pytest.raises(RpcError, match="no such session") as caught:
        clients.session_of(clients.connect(EventQueue()), "")
    assert caught.value.code == -32001


def test_who_names_a_session_has_joined_it():
    clients = Clients()
    first, second = clients.connect(EventQueue()), clients.connect(EventQueue())
    session = clients.session_of(first, None)
    own = clients.session_of(second, None)
    assert clients.session_of(second, session) == session and second.sessions == [own, session]
    clients.use(second, session)
    assert clients.session_of(second, None) == session


def test_a_session_outlives_its_client_until_its_place_is_needed():
    ended = []
    clients = Clients(ended.append)
    first = clients.connect(EventQueue())
    session = clients.session_of(first, None)
    clients.leave(first)
    back = clients.connect(EventQueue())
    assert clients.session_of(back, session) == session
    clients.leave(back)
    for _ in range(MOST_SESSIONS + 1):
        clients.leave(clients.connect(EventQueue()))
    assert session in ended and len(set(ended)) == len(ended)
    with pytest.raises(RpcError, match="no such session"):
        clients.session_of(clients.connect(EventQueue()), session)


def test_clients_that_come_and_go_cost_nobody_who_stays_the_session():
    ended = []
    clients = Clients(ended.append)
    staying = [clients.connect(EventQueue()) for _ in range(16)]
    own = {clients.session_of(client, None) for client in staying}
    for _ in range(10 * MOST_SESSIONS):
        passing = clients.connect(EventQueue())
        clients.session_of(passing, None)
        clients.leave(passing)
    assert not own & set(ended) and {clients.session_of(client, None) for client in staying} == own


def test_a_client_is_in_few_sessions_and_always_in_its_own():
    clients = Clients()
    client = clients.connect(EventQueue())
    own = clients.session_of(client, None)
    made = [clients.new_session(client) for _ in range(9)]
    assert client.sessions == [own, *made[1 - MOST_OF_A_CLIENT :]]
