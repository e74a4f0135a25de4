"""Who calls, in which sessions, and what each is told.

- A client is a connection on the socket, or the host app that has the dispatcher in its process.
- A session is a conversation with its prompts. Its id cannot be guessed: who knows it was told it, so naming it is
  sharing it. It outlives its clients, so that an app goes on where it was, until its place is needed.
- A prompt goes to the clients of the session its exchange is from, and to those that asked for the prompts of all.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable

from .errors import WRONG_USE, RpcError
from .events import EventQueue

MOST_SESSIONS = 64  # the one unused longest goes, first those whose clients have all gone
MOST_OF_A_CLIENT = 3  # sessions; so that the connected clients' own always have their place


class Client:
    """One caller: its event queue, its sessions (the first is used where none is named), and its subscriptions.

    A client that sends each request over a connection of its own (HTTP) has a client for each, with `owner` in common:
    it is the owner's turn at the model, and each request can be abandoned alone. `only` are the methods it may call,
    where it may not call all.
    """

    def __init__(self, events: EventQueue, session: str, is_host: bool = False, owner: "Client | None" = None):
        self.events, self.sessions, self.is_host = events, [session], is_host
        self.owner = owner or self
        self.subscribed = self.all_prompts = is_host  # a host in the process is told everything
        self.told_prompt: int | None = None  # the prompt it was told last
        self.only: frozenset[str] = frozenset()
        self.gone = False  # hung up: nobody reads an answer


class Clients:
    """The clients and their sessions. Every method may be called from any thread."""

    def __init__(self, ended: Callable[[str], None] = lambda session: None):
        self._lock, self._ended = threading.Lock(), ended  # called with a session that lost its place
        self._clients: list[Client] = []
        self._sessions: OrderedDict[str, None] = OrderedDict()  # ids, the one unused longest first

    def connect(self, events: EventQueue, is_host: bool = False) -> Client:
        """A new client with a session of its own."""
        with self._lock:
            client = Client(events, self._new_id(), is_host)
            self._clients = [*self._clients, client]
            return client

    def request_of(self, owner: Client, events: EventQueue) -> Client:
        """A client for one request of `owner`, in the owner's session."""
        with self._lock:
            return Client(events, owner.sessions[0], owner=owner)

    def leave(self, client: Client) -> None:
        """The client has hung up; its sessions stay for others, or for its return."""
        client.gone = True
        with self._lock:
            self._clients = [known for known in self._clients if known is not client]

    def subscribed(self) -> list[Client]:
        """Those that get events."""
        return [client for client in self._clients if client.subscribed]

    def told_nothing(self) -> None:
        """Another home was opened, its prompts have numbers of their own."""
        for client in self._clients:
            client.told_prompt = None

    def session_of(self, client: Client, named: str | None) -> str:
        """The session a call is in: the one it names, which the client then has joined, or its own."""
        with self._lock:
            session = client.sessions[0] if named is None else named
            if named is not None and named not in self._sessions:
                raise RpcError(WRONG_USE, "no such session, or it was unused for long; method session gives another")
            self._sessions[session] = None  # a client's own comes back, its conversation begins anew
            self._sessions.move_to_end(session)
            if session not in client.sessions:
                self._join(client, session)
            return session

    def new_session(self, client: Client) -> str:
        """Another session for a client, e.g. for a second window."""
        with self._lock:
            session = self._new_id()
            self._join(client, session)
            return session

    def use(self, client: Client, session: str) -> None:
        """Calls of this client that name no session are in this one from now on."""
        with self._lock:
            client.sessions = [session, *(known for known in client.sessions if known != session)]

    def _join(self, client: Client, session: str) -> None:
        if len(client.sessions) >= MOST_OF_A_CLIENT:
            client.sessions = [client.sessions[0], *client.sessions[2:]]  # its own stays, of the others the oldest goes
        client.sessions = [*client.sessions, session]

    def _new_id(self) -> str:
        session = secrets.token_urlsafe(16)
        self._sessions[session] = None
        held = {session, *(each for client in self._clients for each in client.sessions)}
        while len(self._sessions) > MOST_SESSIONS:
            oldest = next((each for each in self._sessions if each not in held), next(iter(self._sessions)))
            del self._sessions[oldest]
            self._ended(oldest)
        return session
