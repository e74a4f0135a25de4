"""Whether two machines compute the same: losses of the trainer, of llama.cpp and of the whole loop."""

from idletune.errors import DamagedDataError

TOLERANCE = 1e-4  # nats, of every loss of the trainer
# llama.cpp rounds activations to 8 bits, in another order on each processor: a step of that grid is no fault.
ENGINE_TOLERANCE = 1e-2


def differences(here: dict[str, float], there: dict[str, float]) -> dict[str, dict]:
    """By loss: its two values, how far they are apart, and whether that is within what is allowed."""
    if here.keys() != there.keys():
        raise DamagedDataError(f"{len(here)} losses here and {len(there)} there; run both with the same program")
    return {name: _held(name, here[name], there[name]) for name in here}


def check(found: dict[str, dict]) -> None:
    """DamagedDataError that names the loss furthest outside."""
    wrong = [name for name, row in found.items() if not row["agrees"]]
    if wrong:
        worst = max(wrong, key=lambda name: found[name]["difference"])
        row = found[worst]
        raise DamagedDataError(
            f"{len(wrong)} of {len(found)} losses differ from the host's; {worst!r} by {row['difference']:.1e} nats "
            f"({row['here']:.6f} here, {row['there']:.6f} there): that target's build computes something else"
        )


def _held(name: str, here: float, there: float) -> dict:
    apart, allowed = abs(here - there), ENGINE_TOLERANCE if "llama.cpp" in name else TOLERANCE
    return {"here": here, "there": there, "difference": apart, "allowed": allowed, "agrees": apart <= allowed}
