"""Methods of completions: complete, continue_text, and feedback about a reply by its id."""

from typing import TYPE_CHECKING, Any

from ..errors import CANCELLED, INVALID_PARAMS, TOO_LARGE, RpcError
from ..schema import LONGEST_TEXT, array, boolean, integer, number, text
from .adapter_changes import adapter_changes_announced
from .chat import session_field
from .declaration import Call, method
from .prompts import announce_prompt, dismissals_announced
from .streaming import Stream

if TYPE_CHECKING:  # loads numerical libraries
    from ...model.reply import Reply

ROLES = "system", "user", "assistant"
MOST_MESSAGES = 2000
MOST_STOPS, LONGEST_STOP = 4, 64
MOST_TOKENS = 2**31 - 1
ID_CHARACTERS = 64

SAMPLING = (
    integer(
        "max_tokens", "longest answer; left out: the setting reply_tokens", required=False, least=1, most=MOST_TOKENS
    ),
    number("temperature", "0 is greedy; left out: the setting", required=False, least=0, most=2),
    number("top_p", "nucleus of sampling; left out: the setting", required=False, least=0, most=1),
    integer("seed", "the same seed gives the same answer", required=False, least=0, most=2**32 - 1),
    array("stop", f"up to {MOST_STOPS} texts before which the answer ends", required=False),
)
COUNTED = (
    integer("tokens", "tokens of the text"),
    integer("prompt_tokens", "tokens of what came before it"),
    integer("cached_tokens", "of these, that the KV cache held before"),
    text("stop", "why it ended", choices=("end", "length")),
    integer("adapter", "the adapter that took part; null is the base model alone", nullable=True),
)


@method(
    "complete",
    (
        array(
            "messages",
            "the whole conversation: role (system, user, assistant) and content of each; the last is the user's",
        ),
        *SAMPLING,
        boolean("stream", "send the answer in pieces, as event.chat_text, as it is written", required=False),
        session_field("whose questions to the user come of it; left out: this client's own"),
    ),
    (
        text("completion", "the answer's id, for feedback", longest=ID_CHARACTERS),
        text("text", "the whole answer"),
        *COUNTED,
        text("thoughts", "what the model thought before it answered (setting thinking)", required=False),
        text("unobserved", "why the exchange could not be observed; absent where it was", required=False),
    ),
)
def complete(call: Call, messages: list, stream: bool = False, session: str | None = None, **sampling: Any) -> dict:
    """Answer a whole conversation, as OpenAI's API has it, and observe the exchange.

    A history that was answered here before is recognized: its KV cache is reused, and no question in it is observed
    twice. Nothing of it is kept on the disk but the dialogue sets that the buffer keeps.
    """
    from ...runtime.completions import Sampling, new_id

    check_messages(messages)
    chosen = Sampling(**{**sampling, "stop": checked_stops(sampling.get("stop", []))})
    session, completion = call.session(session), new_id()
    pieces = Stream(call, completion, stream)
    with call.shared.chatting(call.client) as (runtime, should_stop), adapter_changes_announced(call, runtime):
        on_text, on_thought, origin = pieces.on_text, pieces.on_thought, call.origin
        reply = call.shared.compute(
            lambda: runtime.complete(messages, chosen, on_text, should_stop, session, origin, on_thought, completion)
        )
        check_not_cancelled(reply)
        announce_prompt(call, runtime)
    answered = told(reply, completion, reply.provenance.adapter_version)
    for name in ("thoughts", "unobserved"):
        if said := getattr(reply, name):
            answered[name] = said
    return answered


@method(
    "continue_text",
    (
        text("text", "the beginning; control tokens of the model's chat template in it are read as such"),
        *SAMPLING,
        boolean("stream", "send what follows in pieces, as event.chat_text, as it is written", required=False),
    ),
    (
        text("completion", "its id, that its events name; feedback is about answers alone", longest=ID_CHARACTERS),
        text("text", "what follows, with its spaces"),
        *COUNTED,
    ),
)
def continue_text(call: Call, text: str, stream: bool = False, **sampling: Any) -> dict:
    """Continue a text as it stands: no chat template, no system message, none of the user's answers is shown.

    The adapter takes part. Nothing is observed or kept: a text has no question of the user and no answer to it. A text
    that does not fit the context with its continuation is refused.
    """
    from ...runtime.completions import Sampling, new_id

    chosen = Sampling(**{**sampling, "stop": checked_stops(sampling.get("stop", []))})
    completion = new_id("cmpl")
    pieces = Stream(call, completion, stream)
    with call.shared.chatting(call.client) as (runtime, should_stop), adapter_changes_announced(call, runtime):
        reply = call.shared.compute(lambda: runtime.continue_text(text, chosen, pieces.on_text, should_stop))
        check_not_cancelled(reply)
        serving = runtime.adapters.current()
    return told(reply, completion, serving.version if serving else None)


@method(
    "feedback",
    (
        text("completion", "the answer's id, as chat and complete give it", longest=ID_CHARACTERS),
        text(
            "verdict",
            "the answer was good; it was not; this is better; it is the better of two; or never ask about this",
            choices=("up", "down", "better", "preferred", "never_ask"),
        ),
        text("text", "the better answer, with better only", required=False),
        text(
            "over",
            "the id of the other answer to the same question, with preferred only",
            required=False,
            longest=ID_CHARACTERS,
        ),
    ),
    (
        integer("dialogue_set_id", "the dialogue set that it is kept in; null where none is kept", nullable=True),
        boolean("answered", "whether that set has an answer of the user now"),
    ),
)
def feedback(call: Call, completion: str, verdict: str, text: str | None = None, over: str | None = None) -> dict:
    """Say what an answer was worth; it is on the disk when this returns. It needs no question to the user.

    With better the given text is learned. With up the answer itself, or a preferred one, is kept and shown, and trains
    at the weight choice_weight, 0 as it comes; beside a preferred one the other is kept (preference). All this holds
    whether or not the buffer had kept the exchange. With down the user is asked for a better one, at a time for
    questions. An answer is known by its id as long as its exchange is kept, and a while longer until a restart.
    """
    if (text is not None) != (verdict == "better"):
        raise RpcError(INVALID_PARAMS, "parameter text goes with the verdict better, and with no other")
    if (over is not None) != (verdict == "preferred"):
        raise RpcError(INVALID_PARAMS, "parameter over goes with the verdict preferred, and with no other")
    runtime = call.shared.opened()
    with dismissals_announced(call, runtime):
        if text is not None:
            found = runtime.correct(completion, text, call.origin)
        elif over is not None:
            found = runtime.prefer(completion, over, call.origin)
        else:
            found = runtime.feedback(completion, verdict, call.origin)  # type: ignore[arg-type]  # one of its choices
    return {"dialogue_set_id": found.dialogue_set_id, "answered": found.answered}


def check_not_cancelled(reply: "Reply") -> None:
    """RpcError (cancelled) for a reply that was stopped."""
    if reply.stop == "asked":
        raise RpcError(CANCELLED, f"cancelled after {len(reply.tokens)} tokens; nothing of it is kept")


def told(reply: "Reply", completion: str, adapter: int | None) -> dict:
    """What both kinds of completion tell."""
    return {
        "completion": completion,
        "text": reply.text,
        "tokens": len(reply.tokens),
        "prompt_tokens": reply.prompt_tokens,
        "cached_tokens": reply.cached_tokens,
        "stop": reply.stop,
        "adapter": adapter,
    }


def check_messages(messages: list) -> None:
    """RpcError (invalid_params or too_large) unless these are messages with a role and a text each."""
    if not messages or len(messages) > MOST_MESSAGES:
        raise RpcError(
            INVALID_PARAMS, f"parameter messages has {len(messages)} messages; 1 to {MOST_MESSAGES} are taken"
        )
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            raise RpcError(INVALID_PARAMS, f"{where} is to have role and content, and nothing else")
        if message["role"] not in ROLES:
            raise RpcError(INVALID_PARAMS, f"{where}.role takes one of {', '.join(ROLES)}")
        check_text(f"{where}.content", message["content"], LONGEST_TEXT)


def checked_stops(stop: list) -> tuple[str, ...]:
    """RpcError unless these are a few short texts."""
    if len(stop) > MOST_STOPS:
        raise RpcError(INVALID_PARAMS, f"parameter stop has {len(stop)} texts; {MOST_STOPS} are the limit")
    for place, end in enumerate(stop):
        check_text(f"stop[{place}]", end, LONGEST_STOP)
        if not end:
            raise RpcError(INVALID_PARAMS, f"stop[{place}] is empty; leave it out")
    return tuple(stop)


def check_text(where: str, value: object, longest: int) -> None:
    """RpcError unless the value is a text, whole and not too long."""
    if not isinstance(value, str):
        raise RpcError(INVALID_PARAMS, f"{where} takes a text")
    if len(value) > longest:
        raise RpcError(TOO_LARGE, f"{where} has {len(value)} characters; {longest} are the limit")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RpcError(INVALID_PARAMS, f"{where} has half a character at position {error.start}") from None
