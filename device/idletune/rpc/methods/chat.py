"""Methods of a conversation: session, chat, observe, cancel."""

from dataclasses import asdict

from ..errors import CANCELLED, INVALID_PARAMS, RpcError
from ..schema import Field, array, boolean, integer, object_, text
from .adapter_changes import adapter_changes_announced
from .declaration import Call, method
from .prompts import announce_prompt
from .streaming import Stream

SESSION_CHARACTERS = 64
LABELS = object_(
    "labels",
    'the situation, as {"place": "office"}: up to 8 short texts, kept with the exchange; sets of the same label are'
    " preferred where a message finds several",
    required=False,
)


def session_field(help: str) -> Field:
    return text("session", help, required=False, longest=SESSION_CHARACTERS)


@method(
    "session",
    (
        session_field("another one, e.g. of this app's other window: from now on the one of this client's calls"),
        boolean("new", "make one more, to be named in chat and observe", required=False),
    ),
    (text("session", "the new one, or the one that calls are in which name none", longest=SESSION_CHARACTERS),),
)
def session(call: Call, session: str | None = None, new: bool = False) -> dict:
    """Get the id of this client's session, join another one, or begin one more.

    A session is a conversation with the prompts about it. Each client begins with its own; only who is told an id can
    name it.
    """
    if new and session is not None:
        raise RpcError(INVALID_PARAMS, "parameters session and new do not go together")
    clients = call.dispatcher.clients
    if new:
        return {"session": clients.new_session(call.client)}
    current = call.session(session)
    clients.use(call.client, current)
    return {"session": current}


@method(
    "chat",
    (
        text("text", "the user's message"),
        boolean(
            "stream",
            "send the answer in pieces as it is written, as event.chat_text, and thoughts as event.chat_thought",
            required=False,
        ),
        boolean("new_conversation", "forget the messages before", required=False),
        session_field("the session it belongs to; left out: this client's own"),
        LABELS,
    ),
    (
        text("text", "the whole answer"),
        text("thoughts", "what the model wrote for itself before the answer; absent where it did not", required=False),
        integer("tokens", "tokens of the answer, and of the thoughts"),
        integer("prompt_tokens", "tokens of the conversation it answers"),
        text("stop", "why it ended", choices=("end", "length")),
        text("unobserved", "why the exchange could not be observed; absent where it was", required=False),
        text("completion", "the answer's id, for feedback", longest=SESSION_CHARACTERS),
    ),
)
def chat(
    call: Call,
    text: str,
    stream: bool = False,
    new_conversation: bool = False,
    session: str | None = None,
    labels: dict = {},
) -> dict:
    """Answer one message of the conversation, and observe the exchange.

    An exchange that cannot be observed is answered all the same.
    """
    from ...runtime.completions import new_id

    session, completion = call.session(session), new_id()
    pieces = Stream(call, completion, stream)
    with call.shared.chatting(call.client) as (runtime, should_stop), adapter_changes_announced(call, runtime):
        if new_conversation:
            runtime.new_conversation(session)
        reply = call.shared.compute(
            lambda: runtime.chat(
                text, pieces.on_text, should_stop, session, call.origin, pieces.on_thought, completion, labels
            )
        )
        if reply.stop == "asked":
            raise RpcError(CANCELLED, f"the chat was cancelled after {len(reply.tokens)} tokens; nothing of it is kept")
        announce_prompt(call, runtime)
    answered = {
        "text": reply.text,
        "tokens": len(reply.tokens),
        "prompt_tokens": reply.prompt_tokens,
        "stop": reply.stop,
        "completion": completion,
    }
    for name in ("thoughts", "unobserved"):
        if said := getattr(reply, name):
            answered[name] = said
    return answered


@method(
    "another",
    (
        text("completion", "the id of the answer that the message got", longest=SESSION_CHARACTERS),
        boolean("stream", "as in chat", required=False),
        session_field("the session it belongs to; left out: this client's own"),
    ),
    (
        text("completion", "the second answer's id, for feedback", longest=SESSION_CHARACTERS),
        text("text", "the whole answer"),
        integer("tokens", "tokens of the answer, and of its thoughts"),
        text("stop", "why it ended", choices=("end", "length")),
    ),
)
def another(call: Call, completion: str, stream: bool = False, session: str | None = None) -> dict:
    """Answer the last message of the conversation once more, so that the user can say which answer is better.

    That is `feedback` with the verdict preferred. Until then nothing of it is kept, and the conversation goes on with
    the first answer.
    """
    from ...runtime.completions import new_id

    session, second = call.session(session), new_id()
    pieces = Stream(call, second, stream)
    with call.shared.chatting(call.client) as (runtime, should_stop), adapter_changes_announced(call, runtime):
        reply = call.shared.compute(
            lambda: runtime.another(
                completion, pieces.on_text, should_stop, session, call.origin, pieces.on_thought, second
            )
        )
    if reply.stop == "asked":
        raise RpcError(CANCELLED, f"cancelled after {len(reply.tokens)} tokens; nothing of it is kept")
    return {"completion": second, "text": reply.text, "tokens": len(reply.tokens), "stop": reply.stop}


@method(
    "observe",
    (
        text("question", "what the user asked"),
        text("response", "what was answered"),
        session_field("the session it belongs to; left out: this client's own"),
        LABELS,
    ),
    (
        text("action", "whether the buffer admitted it", choices=("kept", "replaced", "dropped")),
        integer("id", "the dialogue set it is kept as", nullable=True),
        integer("replaced", "the dialogue set it replaced", nullable=True),
        text("domain", "its domain, by most of its words"),
        object_("scores", "eoe, dss and idd"),
    ),
)
def observe(call: Call, question: str, response: str, session: str | None = None, labels: dict = {}) -> dict:
    """Offer the buffer an exchange that another model or a person answered.

    Each program may offer so many an hour (setting observe_hour), and they take no more than a share of the buffer
    (observe_share).
    """
    session = call.session(session)
    with call.shared.model(call.client) as runtime, adapter_changes_announced(call, runtime):
        seen = call.shared.compute(lambda: runtime.observe_exchange(question, response, session, call.origin, labels))
        announce_prompt(call, runtime)
    found = seen.dialogue_set
    return {
        "action": seen.admission.action,
        "id": seen.admission.id,
        "replaced": seen.admission.evicted,
        "domain": found.domain,
        "scores": {name: float(value) for name, value in asdict(found.scores).items()},
    }


@method("cancel", result=(array("cancelled", "what was asked to stop: chat, tick"),))
def cancel(call: Call) -> dict:
    """Stop this client's chats and the slice of learning; a stopped chat fails with `cancelled`."""
    return {"cancelled": call.shared.cancel(client=call.client)}
