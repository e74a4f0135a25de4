"""Questions to the user: prompts, answer, subscribe; and the events about them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import IdleTuneError
from ...state.origins import notified
from ..clients import Client
from ..errors import INVALID_PARAMS, RpcError
from ..schema import array, boolean, identifier, integer, text
from .declaration import Call, method

if TYPE_CHECKING:  # loads numerical libraries
    from ...runtime import Runtime
    from ...state.annotation import Prompt


SHOWN_CHARACTERS = 64


@method(
    "prompts",
    result=(
        array(
            "prompts",
            "the question to put to the user now, or none: id, dialogue_set_id, question, response, asked_at, shown,"
            " second (another response where the question is which is better, else null)",
        ),
        integer("waiting", "how many are open in all sessions"),
    ),
)
def prompts(call: Call) -> dict:
    """The question to the user that is due: one at a time, a few a day, none in the quiet hours.

    About this client's sessions, or about all where it subscribed to that.
    """
    runtime = call.shared.opened()
    due = runtime.next_prompt(_is_for(call.client, runtime))
    return {"prompts": [described(due)] if due else [], "waiting": len(runtime.queue.pending())}


@method(
    "answer",
    (
        identifier("prompt_id", "the question's id"),
        text("shown", "the question's `shown`: what the user saw, whole", longest=SHOWN_CHARACTERS),
        text(
            "verdict",
            "the response was good, this is better, no answer, never ask about this; or which of two is better",
            choices=("accept", "edit", "dismiss", "never_ask", "first", "second"),
        ),
        text("text", "the better response, with edit only", required=False),
        boolean("notification", "it was given on a notification; kept with the answer", required=False),
    ),
    (text("verdict", "as it was given"),),
)
def answer(
    call: Call, prompt_id: int, shown: str, verdict: str, text: str | None = None, notification: bool = False
) -> dict:
    """Take the user's answer; it is on the disk when this returns.

    Only a question that was handed out, with the very texts it has now, can be answered; one that a display had to cut
    must not be accepted from there. Where it has a second response, the verdicts first and second say which one is
    better. A response of the model that is accepted or better is kept and shown; it trains at the weight choice_weight,
    0 as it comes. With edit the given text is learned.
    """
    if (text is not None) != (verdict == "edit"):
        raise RpcError(INVALID_PARAMS, "parameter text goes with the verdict edit, and with no other")
    queue, origin = call.shared.opened().queue, notified(call.origin) if notification else call.origin
    with dismissals_announced(call, call.shared.opened()):
        if text is not None:
            queue.edit(prompt_id, text, origin, shown)
        elif verdict == "accept":
            queue.accept(prompt_id, origin, shown)
        elif verdict in ("first", "second"):
            queue.choose_shown(prompt_id, verdict == "second", origin, shown)
        else:
            getattr(queue, verdict)(prompt_id, shown)
    return {"verdict": verdict}


@method(
    "subscribe",
    (
        boolean("on", "false: send no more events", required=False),
        text(
            "prompts",
            "questions about this client's sessions, or about all, those without a client included; default: own",
            required=False,
            choices=("own", "all"),
        ),
    ),
    (boolean("subscribed", "whether events are sent now"),),
)
def subscribe(call: Call, on: bool = True, prompts: str = "own") -> dict:
    """Get events, on a socket. The host of the process gets all events and all prompts without it."""
    call.client.subscribed, call.client.all_prompts = on, call.client.is_host or (on and prompts == "all")
    return {"subscribed": on}


def announce_prompt(call: Call, runtime: "Runtime") -> None:
    """Send each subscriber the question that is due for it, once; it stays due until it is answered.

    Where another process closed the question sent before, send its dismissal.
    """
    open_ids = runtime.queue.open_ids()
    for client in call.dispatcher.clients.subscribed():
        if client.told_prompt is not None and client.told_prompt not in open_ids:
            client.events.put("event.prompt_dismissed", client.told_prompt, prompt_id=client.told_prompt)
            client.told_prompt = None
        try:
            due = runtime.next_prompt(_is_for(client, runtime))
        except IdleTuneError:  # no storage is left to note that it was asked: it waits, the call's own result does not
            return
        if due and due.id != client.told_prompt:
            client.told_prompt = due.id
            client.events.put("event.prompt", due.id, prompt=described(due))


@contextmanager
def dismissals_announced(call: Call, runtime: "Runtime") -> Iterator[None]:
    """Announce the questions that the block closes, so that clients dismiss them; Termux's notification goes, too."""
    from ...schedule import termux

    before = runtime.queue.open_ids()
    try:
        yield
    finally:
        if closed := sorted(before - runtime.queue.open_ids()):
            termux.dismiss(runtime.store.home)
        for id in closed:
            call.dispatcher.announce("event.prompt_dismissed", id, prompt_id=id)
        for client in call.dispatcher.clients.subscribed():
            client.told_prompt = None if client.told_prompt in closed else client.told_prompt


def described(prompt: "Prompt") -> dict:
    """A prompt as clients get it."""
    return {
        "id": prompt.id,
        "dialogue_set_id": prompt.dialogue_set_id,
        "question": prompt.question,
        "response": prompt.reply,
        "second": prompt.second,
        "asked_at": prompt.asked_at,
        "shown": prompt.shown,
    }


def _is_for(client: Client, runtime: "Runtime") -> Callable[[int], bool]:
    """Tells of a dialogue set's id whether the question about it is for this client."""

    def wanted(dialogue_set_id: int) -> bool:
        is_from = runtime.conversations.is_from
        return client.all_prompts or any(is_from(session, dialogue_set_id) for session in client.sessions)

    return wanted
