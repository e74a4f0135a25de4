"""The methods, each declared beside its function: what it takes, what it gives, what it does."""

import base64
import binascii
import itertools
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import IdleTuneError, UsageError
from ..model.engines import BACKENDS
from ..settings import Settings, load_settings
from .errors import CANCELLED, ERRORS, INVALID_PARAMS, RpcError
from .events import EVENTS, EventQueue
from .schema import Field, Method, array, boolean, identifier, integer, number, object_, path, text

if TYPE_CHECKING:
    from ..runtime import Runtime
    from ..state.annotation import Prompt

API_VERSION = 1  # counts up when a caller that knew the version before could fail
MOST_SLICE_SECONDS = 480
MOST_ADAPTERS = 100
_serial = itertools.count()  # tells two chats with the same id apart

METHODS: dict[str, Method] = {}


@dataclass(frozen=True)
class Call:
    """Where a call came from."""

    dispatcher: object
    id: object
    reader: EventQueue

    @property
    def session(self):
        return self.dispatcher.session


def method(name: str, params: tuple[Field, ...] = (), result: tuple[Field, ...] = ()):
    """Declare the function below as a method; its docstring is the method's description."""
    def declare(run):
        METHODS[name] = Method(name, " ".join(run.__doc__.split()), params, result, run)
        return run

    return declare


@method("version", result=(
    text("idletune", "the package's version"), integer("api", "the version of these methods; 1 more when one breaks"),
))
def version(call: Call) -> dict:
    """Versions; needs nothing open."""
    return {"idletune": __version__, "api": API_VERSION}


@method("open", (
    path("model", "a GGUF file, or the folder of a bundle"),
    path("home", "the folder the state lives in; made if there is none"),
    object_("settings", "settings that go before those kept in the home; not kept", required=False),
    text("key", "32 bytes in Base64 that encrypt the state; left out: none", required=False, longest=64),
    text("backend", "what answers", required=False, choices=tuple(BACKENDS)),
), (path("home", "the folder in use"), path("model", "the GGUF file in use")))
def open_(call: Call, model: str, home: str, settings: dict | None = None, key: str | None = None,
          backend: str = BACKENDS[0]) -> dict:
    """Load the model and open the state; takes from a part of a second to many, by the model's size."""
    try:  # only here, so that a process that never opens anything loads no numerical library
        from ..model.bundle import base_of
        from ..runtime import Runtime
    except ImportError as error:
        raise UsageError(f"the runtime needs {error.name}, which this Python has not; pack it with the app") from None

    def make() -> "Runtime":
        kept = load_settings(Path(home) / "settings.json")
        return Runtime(
            Path(home), base_of(Path(model)), _settings({**kept, **(settings or {})}),
            key=None if key is None else _key(key), backend=backend,
        )

    runtime = call.session.open(make)
    return {"home": str(runtime.store.home), "model": str(runtime.model.path)}


@method("close", result=(boolean("closed", "false when nothing was open"),))
def close(call: Call) -> dict:
    """Stop what runs and close the model and the state; open may follow."""
    return {"closed": call.session.close()}


@method("chat", (
    text("text", "the user's message"),
    boolean("stream", "send the answer in pieces, as event.chat_text, as it is written", required=False),
    boolean("new_conversation", "forget the messages before", required=False),
), (
    text("text", "the whole answer"), integer("tokens", "tokens of the answer"),
    integer("prompt_tokens", "tokens of the conversation it answers"),
    text("stop", "why it ended", choices=("end", "length")),
    text("unobserved", "why the exchange could not be observed; there only then", required=False),
))
def chat(call: Call, text: str, stream: bool = False, new_conversation: bool = False) -> dict:
    """Answer one message of the conversation, and observe the exchange; what cannot be observed is answered, too."""
    key = next(_serial)

    def told(part: str) -> None:
        call.reader.put("event.chat_text", key, request_id=call.id, text=part)

    with call.session.chatting() as (runtime, should_stop):
        if new_conversation:
            runtime.new_conversation()
        reply = call.session.compute(lambda: runtime.chat(text, told if stream else None, should_stop))
        if reply.stop == "asked":
            raise RpcError(CANCELLED, f"the chat was cancelled after {len(reply.tokens)} tokens; nothing of it is kept")
        _announce_prompt(call, runtime)
    answered = {
        "text": reply.text, "tokens": len(reply.tokens), "prompt_tokens": reply.prompt_tokens, "stop": reply.stop,
    }
    return {**answered, "unobserved": reply.unobserved} if reply.unobserved else answered


@method("observe", (
    text("question", "what the user asked"), text("response", "what was answered"),
), (
    text("action", "what became of it", choices=("kept", "replaced", "dropped")),
    integer("id", "the dialogue set it is kept as", nullable=True),
    integer("replaced", "the dialogue set it replaced", nullable=True),
    text("domain", "the domain most of its words are of"), object_("scores", "eoe, dss and idd"),
))
def observe(call: Call, question: str, response: str) -> dict:
    """Let the buffer look at an exchange that another model or a person answered."""
    with call.session.model() as runtime:
        seen = call.session.compute(lambda: runtime.observe_exchange(question, response))
        _announce_prompt(call, runtime)
    found = seen.dialogue_set
    return {
        "action": seen.offer.action, "id": seen.offer.id, "replaced": seen.offer.replaced,
        "domain": found.domain, "scores": {name: float(value) for name, value in asdict(found.scores).items()},
    }


@method("prompts", result=(
    array("prompts", "the question to put to the user now, or none: id, dialogue_set_id, question, response, asked_at"),
    integer("waiting", "how many wait in all, this one included"),
))
def prompts(call: Call) -> dict:
    """The question to the user that is due: one at a time, a few a day, none in the quiet hours."""
    runtime = call.session.opened()
    due = runtime.next_prompt()
    return {"prompts": [_described(due)] if due else [], "waiting": len(runtime.queue.pending())}


@method("answer", (
    identifier("prompt_id", "the question's id"),
    text("verdict", "the response was good, this is better, no answer, or never ask about this",
         choices=("accept", "edit", "dismiss", "never_ask")),
    text("text", "the better response, with edit only", required=False),
), (text("verdict", "as given"),))
def answer(call: Call, prompt_id: int, verdict: str, text: str | None = None) -> dict:
    """Take the user's answer; it is on the disk when this returns."""
    if (text is not None) != (verdict == "edit"):
        raise RpcError(INVALID_PARAMS, "parameter text goes with the verdict edit, and with no other")
    queue = call.session.opened().queue
    if verdict == "edit":
        queue.edit(prompt_id, text)
    else:
        getattr(queue, verdict)(prompt_id)
    return {"verdict": verdict}


@method("device_state", (
    object_("state", "plugged, percentage, temperature_c, thermal_status, thermal_headroom, idle, free_memory_mb,"
                     " free_disk_mb; what is left out is unknown"),
), (object_("believed", "the same fields; null where the value was missing or absurd"),))
def device_state(call: Call, state: dict) -> dict:
    """Tell the device's state; it counts for 30 seconds, so tell it again while a slice runs."""
    return {"believed": call.session.opened().push_device_state(state)}


@method("tick", (
    number("max_seconds", "the longest the slice may take; the settings bound it as well", required=False,
           least=1, most=MOST_SLICE_SECONDS),
), (
    text("outcome", "not now; stopped, to go on in the next one; a verdict; or only embeddings were refreshed",
         choices=("not_now", "stopped", "promoted", "rejected", "refreshed")),
    text("code", "the check that closed the window, or that would now"), text("reason", "the same in words"),
    number("seconds", "how long it learned"), boolean("more", "whether work is left for another slice"),
))
def tick(call: Call, max_seconds: float = float("inf")) -> dict:
    """Learn for one slice if the device may now; fails with busy when the model is in use, instead of waiting."""
    with call.session.learning() as (runtime, asked), _watched(call, runtime) as verdicts:
        done = call.session.compute(lambda: runtime.tick(_bars(call), asked, max_seconds))
        more = runtime.scheduler.nothing_to_learn() is None
    # A slice also ends before it is done when another process forgets a set that it learns from.
    kind = "not_now" if not done.outcome else "stopped" if done.stopped or more else "refreshed"
    for event in verdicts:
        kind = "promoted" if event.detail["promoted"] else "rejected"
    reason = done.outcome or done.decision.reason
    return {"outcome": kind, "code": done.decision.code, "reason": reason, "seconds": done.seconds, "more": more}


@method("stop", result=(boolean("stopped", "false when none was running"),))
def stop(call: Call) -> dict:
    """Ask the running slice of learning to stop; it keeps a checkpoint, and its tick answers `stopped`."""
    return {"stopped": bool(call.session.cancel("tick"))}


@method("cancel", result=(array("cancelled", "what was there to stop: chat, tick"),))
def cancel(call: Call) -> dict:
    """Ask all chats and the slice of learning to stop; a chat fails with `cancelled` then."""
    return {"cancelled": call.session.cancel()}


@method("status", result=(
    boolean("open", "whether a runtime is open; the other fields are there only then"),
    object_("runtime", "home, model, buffer, answers, questions, adapter, learning, settings ...", required=False),
))
def status(call: Call) -> dict:
    """What a person wants to know."""
    runtime = call.session.runtime()
    return {"open": True, "runtime": runtime.status()} if runtime else {"open": False}


@method("adapters", result=(
    integer("serving", "the version that answers; null is the base model alone", nullable=True),
    array("adapters", f"the newest {MOST_ADAPTERS} versions, newest first: version, state, reason, losses ..."),
))
def adapters(call: Call) -> dict:
    """What was learned so far, rejected versions included."""
    from ..learning.adapters import describe

    known = call.session.opened().adapters
    current = known.current()
    return {
        "serving": current and current.version, "adapters": [describe(found) for found in known.all()[:MOST_ADAPTERS]],
    }


@method("rollback", result=(integer("serving", "the version that answers now; null is the base", nullable=True),))
def rollback(call: Call) -> dict:
    """Serve the adapter before the current one, or the base."""
    with call.session.model() as runtime, _watched(call, runtime):
        before = runtime.rollback()
    return {"serving": before and before.version}


@method("forget", (identifier("id", "the dialogue set"),), (array("dropped", "adapter versions that went with it"),))
def forget(call: Call, id: int) -> dict:
    """Remove a dialogue set and all that came of it, adapters included."""
    with call.session.model() as runtime, _watched(call, runtime):
        return {"dropped": runtime.forget(id)}


@method("settings", (object_("values", "settings to change, by name; they are kept", required=False),), (
    object_("settings", "all of them"), array("at_next_open", "changed ones that wait for the next open"),
))
def settings(call: Call, values: dict | None = None) -> dict:
    """Get the settings, or change some."""
    if not values:
        return {"settings": asdict(call.session.opened().settings), "at_next_open": []}
    with call.session.model() as runtime:
        waiting = runtime.change_settings(values)
        return {"settings": asdict(runtime.settings), "at_next_open": waiting}


@method("export_my_data", (
    path("path", "a file that does not exist yet; for its owner only, not encrypted"),
), (integer("records", "lines written"),))
def export_my_data(call: Call, path: str) -> dict:
    """Write everything that is kept of the user as JSON lines."""
    from ..state.privacy import export_data

    return {"records": export_data(call.session.opened().store, Path(path))}


@method("rpc.discover", result=(
    text("openrpc", "the version of the description's form"), object_("info", "title and version"),
    array("methods", "name, summary, params and result of each, with JSON Schema"),
    array("x-events", "name, summary and params of each event"), array("x-errors", "code, kind and meaning of each"),
))
def discover(call: Call) -> dict:
    """What can be called, as an OpenRPC document."""
    return document()


def document() -> dict:
    """The OpenRPC description (spec.open-rpc.org, 1.3.2) of all methods."""
    return {
        "openrpc": "1.3.2", "info": {"title": "IdleTune", "version": str(API_VERSION)},
        "methods": [_openrpc(found) for found in METHODS.values()],
        "x-events": [{"name": name, "summary": help, "params": params} for name, (help, params) in EVENTS.items()],
        "x-errors": [{"code": code, "kind": kind, "meaning": help} for code, (kind, help) in ERRORS.items()],
    }


def _openrpc(found: Method) -> dict:
    return {
        "name": found.name, "summary": found.help, "paramStructure": "by-name",
        "params": [{"name": p.name, "required": p.required, "schema": p.to_schema()} for p in found.params],
        "result": {"name": "result", "schema": {
            "type": "object", "properties": {field.name: field.to_schema() for field in found.result},
            "required": [field.name for field in found.result if field.required],
        }},
    }


@method("subscribe", (boolean("on", "false ends it", required=False),), (boolean("subscribed", "as it is now"),))
def subscribe(call: Call, on: bool = True) -> dict:
    """Get the events that concern everybody, on a socket; in a process they come without asking."""
    (call.dispatcher.subscribe if on else call.dispatcher.unsubscribe)(call.reader)
    return {"subscribed": on}


def _settings(values: dict) -> Settings:
    known = {spec.name for spec in fields(Settings)}
    if unknown := sorted(set(values) - known):
        raise UsageError(f"no setting {unknown[0][:40]!r}; known: {', '.join(sorted(known))}")
    return Settings(**values)


def _key(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise RpcError(INVALID_PARAMS, "parameter key is not Base64") from None


def _described(prompt: "Prompt") -> dict:
    return {
        "id": prompt.id, "dialogue_set_id": prompt.dialogue_set_id, "question": prompt.question,
        "response": prompt.reply, "asked_at": prompt.asked_at,
    }


def _announce_prompt(call: Call, runtime: "Runtime") -> None:
    """Tell a question that has become due; each once, for it stays the due one until it is answered."""
    try:
        due = runtime.next_prompt()
    except IdleTuneError:  # no storage is left to note that it was asked: it waits, the call's own result does not
        return
    if due and due.id != call.session.told_prompt:
        call.session.told_prompt = due.id
        call.dispatcher.announce("event.prompt", due.id, prompt=_described(due))


def _bars(call: Call):
    """Progress bars that are events."""
    @contextmanager
    def bars(label: str, total: int):
        def bar(done: int, note: str = "") -> None:
            call.dispatcher.announce("event.training", stage=label, done=done, total=total)

        yield bar

    return bars


@contextmanager
def _watched(call: Call, runtime: "Runtime"):
    """Announces what the block does to the adapters; gives the gate's verdicts, once the block has ended."""
    verdicts, newest = [], _newest_verdict(runtime)
    serving = runtime.adapters.current()
    yield verdicts
    found = _newest_verdict(runtime)
    if found and (newest is None or found.id > newest.id):
        verdicts.append(found)
        call.dispatcher.announce("event.adapter", found.detail["version"], **found.detail)
    if serving and not verdicts and runtime.adapters.current() != serving:
        gone = runtime.adapters.get(serving.version)
        told = {"version": gone.version, "promoted": False, "reason": gone.reason}
        call.dispatcher.announce("event.adapter", gone.version, **told)


def _newest_verdict(runtime: "Runtime"):
    return next(iter(runtime.store.events(1, "gate")), None)
