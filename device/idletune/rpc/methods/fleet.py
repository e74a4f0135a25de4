"""Methods of a fleet: fleet, join_fleet, leave_fleet, fleet_update, fleet_loss, take_fleet."""

import base64
from typing import TYPE_CHECKING

from ..errors import INVALID_PARAMS, RpcError
from ..schema import Field, boolean, integer, number, object_, path, text
from .adapter_changes import adapter_changes_announced
from .declaration import Call, method
from .learning import MOST_SLICE_SECONDS

if TYPE_CHECKING:  # loads numerical libraries
    import numpy as np

LONGEST_DIGEST = 64
LARGEST_VALUES = 128 * 2**20  # characters of Base64
ROUND: tuple[Field, ...] = (
    text("terms", "the digest of the terms that the round is on", longest=LONGEST_DIGEST),
    text("a_sha256", "the SHA-256 of the frozen half of the adapter", longest=LONGEST_DIGEST),
    Field("upload", "integer", "the number of the uploaded shared half: float32, little-endian", least=1),
)


@method(
    "fleet",
    result=(
        text("fleet", "the name of the fleet that was joined; empty where there is none"),
        text("terms", "the digest of its terms"),
        text("told", "what the user agreed to"),
        boolean("ready", "whether this home would take part in a round now"),
        integer("updates", "how many updates ever left this home"),
        text("spent", "what they cost of the user's privacy, in words"),
    ),
)
def fleet(call: Call) -> dict:
    """Which fleet this home is in, on which terms, and what was spent of the user's privacy so far."""
    return call.shared.opened().fleet.status()


@method(
    "join_fleet",
    (
        object_("terms", "the fleet's terms, as whoever runs it wrote them"),
        boolean("dry_run", "say what the user would agree to; change nothing", required=False),
    ),
    (text("told", "what the user agrees to, to be read before joining"), boolean("joined", "false for a dry run")),
)
def join_fleet(call: Call, terms: dict, dry_run: bool = False) -> dict:
    """Join a fleet: from now on updates may leave this home. For the user alone."""
    from ...fleet.terms import Terms

    if dry_run:
        return {"told": Terms.from_dict(terms).told(), "joined": False}
    call.check_person()
    return {"told": call.shared.opened().fleet.join(terms).told(), "joined": True}


@method("leave_fleet", result=(boolean("left", "false where no fleet was joined"),))
def leave_fleet(call: Call) -> dict:
    """Leave the fleet at once; an update that is being made is dropped."""
    return {"left": call.shared.opened().fleet.leave()}


@method(
    "fleet_update",
    (
        *ROUND,
        number("max_seconds", "the longest it may take", required=False, least=1, most=MOST_SLICE_SECONDS),
    ),
    (
        text("values", "the shared half with this home's change, as it was given; null: none", nullable=True,
             longest=LARGEST_VALUES),
        text("reason", "why there is none, or that it was made"),
        number("seconds", "how long it took"),
    ),
)  # fmt: skip
def fleet_update(call: Call, terms: str, a_sha256: str, upload: int, max_seconds: float = float("inf")) -> dict:
    """Take part in a round of the fleet if the device allows it now: train, clip, add noise. Does not wait for the
    model (busy)."""
    shared = _values(call, upload)
    with call.shared.learning(call.client) as (runtime, asked):
        made = call.shared.compute(lambda: runtime.fleet.update(terms, shared, a_sha256, asked, max_seconds))
    values = None if made.values is None else base64.b64encode(made.values.astype("<f4").tobytes()).decode()
    return {"values": values, "reason": made.reason, "seconds": made.seconds}


@method("fleet_loss", ROUND, (number("loss", "nats per token of the held-out answers, rounded to 0.1"),))
def fleet_loss(call: Call, terms: str, a_sha256: str, upload: int) -> dict:
    """Tell how well a shared adapter fits the held-out answers, where the terms say that this is told."""
    shared = _values(call, upload)
    with call.shared.learning(call.client) as (runtime, _):
        return {"loss": call.shared.compute(lambda: runtime.fleet.held_out_loss(terms, shared, a_sha256))}


@method(
    "take_fleet",
    (path("path", "the fleet's adapter, NAME.gguf, with its signed statement NAME.json beside"),),
    (integer("serving", "the version that answers now"),),
)
def take_fleet(call: Call, path: str) -> dict:
    """Serve the fleet's adapter and let training start from it, if it is signed and helps the user's own answers."""
    from ...small_files import user_path

    with call.shared.model(call.client) as runtime, adapter_changes_announced(call, runtime):
        return {"serving": call.shared.compute(lambda: runtime.fleet.take(user_path(path))).version}


def _values(call: Call, upload: int) -> "np.ndarray":
    """An uploaded vector, float32 (n,). The upload is let go."""
    import numpy as np

    data = call.dispatcher.uploads.source(call.client, upload).data
    call.dispatcher.uploads.drop(call.client, upload)
    if not data or len(data) % 4:
        raise RpcError(INVALID_PARAMS, f"upload {upload} holds {len(data or b'')} bytes, no float32 numbers")
    return np.frombuffer(data, "<f4").astype(np.float32)
