"""Nothing that is sent makes a fault of ours: seeded nonsense, from bytes to nearly right calls, from many threads."""

import json
import random
import threading

import pytest
from idletune.rpc import Dispatcher
from idletune.rpc.methods import METHODS
from rpc_caller import CHARGING, check_response

CALLS = 4000
VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1,
    7,
    2**31,
    2**63,
    -(2**70),
    10**400,
    0.5,
    -1e300,
    "",
    "x",
    "accept",
    "edit",
    "😀\u0000é",
    "half \ud83d",
    "x" * 5000,
    "/",
    "/dev/null",
    "\0",
    "../..",
    [],
    [[]],
    [1, "a", None],
    {},
    {"a": {"b": [{}]}},
    CHARGING,
    {"daily_limit": 3},
    {"threads": 10**12},
    {"epochs": "many"},
    {"learning_rate": -1},
    {"seed": 2**64},
    {"buffer_capacity": None},
    {"plugged": "yes", "percentage": -5, "temperature_c": 1e9},
]
# Opening, closing and writing files are left to their own tests: here the runtime stays open, and the disk as it is.
LEFT_OUT = "open", "close", "export_my_data", "export_answers", "export_adapter", "rotate_key", "erase", "check"


def random_bytes(rng):
    return rng.randbytes(rng.choice((0, 1, 5, 50, 2000)))


def random_request(rng):
    known = METHODS[rng.choice([name for name in METHODS if name not in LEFT_OUT])]
    params = {field.name: rng.choice(VALUES) for field in known.params if rng.random() < 0.8}
    if rng.random() < 0.05:
        params["unknown"] = rng.choice(VALUES)
    request = {"jsonrpc": "2.0", "id": rng.randrange(10**6), "method": known.name, "params": params}
    if rng.random() < 0.3:
        request[rng.choice(("jsonrpc", "id", "method", "params", "more"))] = rng.choice(VALUES)
    if rng.random() < 0.1:
        del request[rng.choice(list(request))]
    if request.get("method") in LEFT_OUT:
        request["method"] = "version"
    return request


def random_message(rng):
    kind = rng.random()
    if kind < 0.1:
        return random_bytes(rng)
    value = [random_request(rng) for _ in range(rng.randrange(4))] if kind < 0.2 else random_request(rng)
    data = bytearray(json.dumps(value).encode())
    if kind > 0.85:  # a byte is lost, or another one
        place = rng.randrange(len(data))
        data[place : place + rng.randrange(2)] = rng.randbytes(rng.randrange(3))
    return bytes(data)


def check(answer: bytes):
    if not answer:
        return
    parsed = json.loads(answer)
    for response in parsed if isinstance(parsed, list) else [parsed]:
        check_response(response)
        assert response.get("error", {}).get("code") != -32603, response


@pytest.mark.parametrize("threads", [1, 8])
def test_nonsense_is_answered_without_a_fault_of_ours(opened, threads):
    opened.open(reply_tokens=4)
    opened.answered(6)
    problems = []

    def send(seed):
        rng = random.Random(seed)
        try:
            for _ in range(CALLS // threads):
                message = random_message(rng)
                check(opened.dispatcher.handle(message))
                if rng.random() < 0.02:
                    opened.dispatcher.cancel()
                if rng.random() < 0.05:
                    opened.dispatcher.next_event(0)
        except BaseException as error:
            problems.append((error, message))

    senders = [threading.Thread(target=send, args=(seed,)) for seed in range(threads)]
    [sender.start() for sender in senders]
    while any(sender.is_alive() for sender in senders):
        opened.dispatcher.handle(b'{"jsonrpc": "2.0", "method": "stop"}')
        [sender.join(0.2) for sender in senders]
    assert not problems, problems[0]
    assert opened.call("status")["open"] and opened.call("settings", values={"reply_tokens": 5})


def test_lives_end_at_any_moment(opened):
    """Opened, called and closed from several threads in any order."""
    rng, dispatcher = random.Random(0), Dispatcher()
    place = {"model": str(opened.model), "home": str(opened.home), "settings": {"threads": 1}}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": name, "params": params}
        for name, params in (
            ("open", place),
            ("close", {}),
            ("chat", {"text": "hi"}),
            ("status", {}),
            ("prompts", {}),
            ("observe", {"question": "what?", "response": "that"}),
            ("tick", {}),
        )
    ]
    scripts = [[rng.choice(messages) for _ in range(30)] for _ in range(4)]
    problems = []

    def send(script):
        for message in script:
            try:
                check(dispatcher.handle(json.dumps(message).encode()))
            except BaseException as error:
                problems.append((error, message))

    senders = [threading.Thread(target=send, args=(script,)) for script in scripts]
    [sender.start() for sender in senders]
    senders[0].join(60)
    dispatcher.close()
    [sender.join(60) for sender in senders]
    assert not any(sender.is_alive() for sender in senders) and not problems, problems
