"""Fleets over the dispatcher, and the door that opens to a fleet's client alone."""

import base64
import json
import socket

import numpy as np
import pytest
from fleet_terms import terms
from idletune.commands.serving import FLEET_DOOR
from idletune.fleet.shared import a_digest, b_of
from idletune.fleet.terms import Terms
from idletune.formats.gguf_file import GgufFile, sha256
from idletune.formats.model_shape import ModelShape
from idletune.rpc.methods import METHODS
from idletune.rpc.server import Server
from rpc_caller import CHARGING, Caller, Failed, in_thread

pytestmark = pytest.mark.slow


@pytest.fixture
def joined(opened, tiny_path):
    """An open home with answers that joined; the calls that a round takes."""
    opened.open()
    opened.answered(10)
    agreed = terms(sha256(tiny_path), clipping_norm=100.0)
    assert opened.call("join_fleet", terms=agreed, dry_run=True)["joined"] is False
    assert opened.call("fleet")["fleet"] == ""
    assert "never leaves" in opened.call("join_fleet", terms=agreed)["told"]
    lora = Terms.from_dict(agreed).lora(ModelShape.of(GgufFile(tiny_path)))
    return b_of(lora), {"terms": Terms.from_dict(agreed).digest, "a_sha256": a_digest(lora)}


def sent(call, values) -> int:
    data, number = values.astype("<f4").tobytes(), {}
    for piece in (data[:400], data[400:]):
        number = {"upload": call("upload", data=base64.b64encode(piece).decode(), **number)["upload"]}
    return number["upload"]


def test_a_round_over_the_dispatcher(opened, joined):
    shared, asked = joined
    declined = opened.call("fleet_update", upload=sent(opened.call, shared), **asked)
    assert declined["values"] is None and declined["reason"].startswith("unknown: plugged")
    assert opened.call("fleet")["ready"] is False
    opened.call("device_state", state=CHARGING)
    assert opened.call("fleet")["ready"] is True
    made = opened.call("fleet_update", upload=sent(opened.call, shared), **asked)
    values = np.frombuffer(base64.b64decode(made["values"]), "<f4")
    assert values.shape == shared.shape and values.any() and made["seconds"] > 0
    assert opened.call("fleet")["updates"] == 1
    with pytest.raises(Failed, match="do not say that a loss is told"):
        opened.call("fleet_loss", upload=sent(opened.call, shared), **asked)
    with pytest.raises(Failed, match="no upload"):
        opened.call("fleet_update", upload=1, **asked)  # it was let go
    assert opened.call("leave_fleet") == {"left": True} and opened.call("leave_fleet") == {"left": False}
    with pytest.raises(Failed, match="in no fleet"):
        opened.call("fleet_update", upload=sent(opened.call, shared), **asked)


def test_what_is_no_vector_is_refused(opened, joined):
    with pytest.raises(Failed, match="3 bytes, no float32"):
        number = opened.call("upload", data=base64.b64encode(b"abc").decode())["upload"]
        opened.call("fleet_update", upload=number, **joined[1])


def test_the_fleets_door_opens_to_a_fleets_client_alone(opened, tmp_path):
    """The code that Flower runs on the user's computer comes from whoever runs the fleet."""
    opened.open()
    opened.answered(5)
    (tmp_path / "door").mkdir(mode=0o700)
    with Server(opened.dispatcher, tmp_path / "door" / "s", only=FLEET_DOOR) as server:
        done = in_thread(server.run)
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(server.path))
            stream = line.makefile("rwb")

            def handle(request: bytes) -> bytes:
                stream.write(request + b"\n")
                stream.flush()
                while "id" not in json.loads(found := stream.readline()):
                    pass
                return found

            call = Caller(handle)
            assert call("fleet")["fleet"] == ""
            for name in METHODS.keys() - FLEET_DOOR:
                with pytest.raises(Failed, match=f"{name} is not for this door"):
                    call(name)
        server.stop()
        done()
