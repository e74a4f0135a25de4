"""Writes the reference page of the methods: `python -m idletune.rpc.reference > docs/rpc.md`."""

from .clients import MOST_OF_A_CLIENT, MOST_SESSIONS
from .connection import MOST_REQUESTS, Patience
from .errors import ERRORS
from .events import EVENTS, MOST_WAITING
from .messages import DEEPEST, LARGEST_REQUEST, LONGEST_BATCH
from .methods import API_VERSION, METHODS
from .schema import LONGEST_TEXT, Field, Method
from .server import MOST_CLIENTS
from .turns import MOST_QUEUED_CHATS

OPENING = f"""# The methods

Written by `python -m idletune.rpc.reference > docs/rpc.md` from the code; version {API_VERSION} of the methods.

One dispatcher answers [JSON-RPC 2.0](https://www.jsonrpc.org/specification) requests, batches and notifications, with
parameters by name. The C library, the Java API and the socket all speak to it; `rpc.discover` gives this page as an
OpenRPC document. In Python:

```python
from idletune.rpc import Dispatcher

dispatcher = Dispatcher()
dispatcher.handle(b'{{"jsonrpc": "2.0", "id": 1, "method": "version"}}')
dispatcher.close()
```

**Who waits for whom.** The model is for one call at a time. Calls that need it (open, close, chat, observe, rollback,
forget, changing settings) wait for each other, round robin among clients and in order within one, and a running `tick`
stops at its next step for them, with a checkpoint. `tick` itself never waits: it fails with `busy`. So does a `chat`
while {MOST_QUEUED_CHATS} calls of the same client wait. All others are answered at once, also while a `tick` runs.

**Sessions.** A conversation belongs to a session, and each client begins with a session of its own. Method `session`
gives its id, which cannot be guessed; a client that names the id of another one shares its conversation. A client is in
at most {MOST_OF_A_CLIENT} sessions: its own, and those it joined last. A session outlives its client, so that an app
goes on where it was; of more than {MOST_SESSIONS} the one unused longest goes, first those without a client. Nothing of
a conversation is written to the disk but the dialogue sets that the buffer keeps. What the user has answered is shown
to the model in all sessions: they are one user's.

**Prompts.** A question to the user is about an exchange, and goes to the clients of the session the exchange is from:
by `prompts`, and to subscribers as `event.prompt`. A question of a session without a client, or of an earlier run, is
for clients that asked for the questions of all sessions (`subscribe` with `prompts` `all`), as are all others. The host
that has the dispatcher in its own process gets all. Only a question that was handed out counts against the daily limit.

**Limits.** {LARGEST_REQUEST:,} bytes a request, {LONGEST_BATCH} requests a batch, {DEEPEST} levels of nesting,
{LONGEST_TEXT:,} characters a text where nothing else is said.

**On a socket.** `idletune serve --socket PATH` listens where nobody but its user can come: the folder must have mode
0700, the socket has 0600. One message a line. Answers come in the order they are ready, so give each request its own
id. One runtime serves all clients; they cannot open or close it. A client's own chat text comes to it alone, prompts to
those above, and the other events, which hold none of the user's words, to all that called `subscribe`. At most
{MOST_CLIENTS} clients, each with {MOST_REQUESTS} requests under way; a further one is read when one is answered.
For a new client the one idle longest is sent away, of those that subscribed last. A client without subscription is sent
away after {Patience.idle:.0f} s without a request, and any client that takes none of its messages for
{Patience.unread:.0f} s. What a client had asked for when it hung up is stopped: its chats, its slice of learning, the
rest of its batches. One that has only said all it had to say (`shutdown` of its writing side) still gets its answers.
"""
EVENTS_OPENING = f"""## Events

Notifications, from `next_event` or on the socket. Nobody waits for a reader: while an event is not read, the text of
a chat is joined to the piece before, and of progress only the newest stays; of more than {MOST_WAITING} waiting ones
the oldest goes. The whole answer is in the response of `chat` as well, which comes after its last piece.
"""
ERRORS_OPENING = """## Errors

`error.data.kind` is the code's name; codes and kinds are stable, messages are not.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [OPENING, "## Methods\n", *map(_method, METHODS.values()), EVENTS_OPENING]
    parts += [_event(name, help, params) for name, (help, params) in EVENTS.items()]
    return "\n".join([*parts, ERRORS_OPENING, _errors()])


def _method(found: Method) -> str:
    return f"### {found.name}\n\n{found.help}\n" + _table("parameter", found.params) + _table("result", found.result)


def _table(title: str, fields: tuple[Field, ...]) -> str:
    return f"\n| {title} | type | |\n|---|---|---|\n" + "".join(map(_row, fields)) if fields else ""


def _row(field: Field) -> str:
    name = f"`{field.name}`" if field.required else f"`{field.name}` (optional)"
    kind = f"{field.type} or null" if field.nullable else field.type
    return f"| {name} | {kind} | {field.help}{_limits(field)} |\n"


def _limits(field: Field) -> str:
    if field.choices:
        return ": " + ", ".join(f"`{choice}`" for choice in field.choices)
    if field.type == "string" and field.longest != LONGEST_TEXT:
        return f"; at most {field.longest:,} characters"
    if field.type == "number" and field.most is not None:
        return f"; {field.least:g} to {field.most:g}"
    return ""


def _event(name: str, help: str, params: dict[str, str]) -> str:
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in params.items())
    return f"### {name}\n\n{help[0].upper()}{help[1:]}.\n\n| parameter | |\n|---|---|\n{rows}"


def _errors() -> str:
    rows = "".join(f"| {code} | {kind} | {meaning} |\n" for code, (kind, meaning) in ERRORS.items())
    return f"| code | kind | |\n|---|---|---|\n{rows}"


if __name__ == "__main__":
    print(page(), end="")
