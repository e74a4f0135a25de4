"""The Java API has every method, parameter and event of the RPC reference, or it says here why not."""

import re

from building import BRIDGE
from idletune.rpc.events import EVENTS
from idletune.rpc.methods import METHODS

NOT_IN_JAVA = {
    "close": "closing the connection closes the runtime",
    "upload": "an app has the file at a path",
    "rotate_key": "an app keeps the key itself (Settings.key)",
    "fleet_update": "the fleet's client asks for it, over the socket",
    "fleet_loss": "as above",
    "rpc.discover": "for programs that make their own client",
}
PARAMETERS_NOT_IN_JAVA = {
    "max_tokens": "an app sets how it samples by settings",
    "temperature": "as above",
    "top_p": "as above",
    "seed": "as above",
    "stop": "as above",
    "new": "a further IdleTune has a session of its own",
    "on": "who hears nothing sets no listener",
    "upload": "an app has the file at a path",
    "format": "it is recognized by content",
}
EVENTS_NOT_IN_JAVA = {"event.chat_thought": "thoughts come whole, with the answer"}


def found(pattern: str) -> set[str]:
    sources = (BRIDGE / "java" / "src" / "main").rglob("*.java")
    return set(re.findall(pattern, "\n".join(path.read_text() for path in sources)))


def test_every_method_is_called_or_left_out_for_a_reason():
    called = found(r'(?:rpc\.call\(|StreamedChat\(rpc,)\s*"([^"]+)"')
    assert called == METHODS.keys() - NOT_IN_JAVA.keys()


def test_every_parameter_is_given_or_left_out_for_a_reason():
    methods = [method for name, method in METHODS.items() if name not in NOT_IN_JAVA]
    known = {field.name for method in methods for field in method.params}
    assert found(r'(?:Params\.of|\.and)\(\s*"([^"]+)"') == known - PARAMETERS_NOT_IN_JAVA.keys()


def test_every_event_is_listened_to_or_left_out_for_a_reason():
    assert found(r'"(event\.[a-z_]+)"') == EVENTS.keys() - EVENTS_NOT_IN_JAVA.keys()
