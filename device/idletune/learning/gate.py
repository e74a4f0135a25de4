"""The gate: an adapter is served only on evidence, all of it measured on this device.

Three questions: did it learn the user (held-out answers), did it keep its general language (a probe text),
and does the engine that will serve it really apply it (llama.cpp against the trainer)?

It compares losses; it is no safety check. What the user accepted is learned, whoever wrote it. A loss that falls too
far to be true is held back for a look.
"""

from dataclasses import asdict, dataclass

from .outcome import Outcome

# Below this relative change of llama.cpp's loss the adapter may not be applied at all.
LEAST_EFFECT = 1e-4


@dataclass(frozen=True)
class Evidence:
    """Mean losses in nats per token; `personal` on answers never trained on, `probe` on general text.

    `personal` and `probe` are the trainer's, `engine` is `personal` in llama.cpp; `serving` is what
    answered before: an earlier adapter, or the base. `margin` is by how much the log-odds of held-out replies that the
    user chose exceed those of the ones beside them; None where there are none. It is kept to be looked at.
    """

    personal_base: float
    personal_adapted: float
    engine_base: float
    engine_serving: float
    engine_adapted: float
    probe_base: float
    probe_adapted: float
    margin_base: float | None = None
    margin_adapted: float | None = None

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """`suspicious`: every check holds, but a person should look before it is served."""

    promoted: bool
    reason: str
    suspicious: bool = False

    @property
    def outcome(self) -> Outcome:
        return Outcome.PROMOTED if self.promoted else Outcome.HELD_BACK if self.suspicious else Outcome.REJECTED


def judge(
    evidence: Evidence,
    *,
    probe_tolerance: float,
    engine_tolerance: float,
    suspicious_fall: float = 1.0,
    version: int = 0,
) -> Verdict:
    """Promote only if every check holds; the reason names the first that failed, with its numbers.

    A held-out loss that falls by `suspicious_fall` or more is no success to be sure of: what is held out says what was
    trained on. `version` is the adapter's, for the next step that the reason names.
    """
    e = evidence
    rise = e.probe_adapted / e.probe_base - 1
    # Beside a loss near 0 any difference would be large; 0.01 nats are 1% of the perplexity at every loss.
    gap = abs(e.engine_adapted - e.personal_adapted) / max(e.personal_adapted, 1.0)
    effect = abs(e.engine_adapted / e.engine_base - 1)
    if not e.personal_adapted < e.personal_base:
        return Verdict(False, f"held-out loss did not fall: {e.personal_base:.3f} to {e.personal_adapted:.3f}")
    if not e.engine_adapted < e.engine_serving:
        return Verdict(False, f"no better than what serves now: {e.engine_serving:.3f} to {e.engine_adapted:.3f}")
    if not rise <= probe_tolerance:
        return Verdict(False, f"general loss rose {rise:.1%}, more than {probe_tolerance:.1%}")
    if not effect > LEAST_EFFECT:
        return Verdict(False, f"llama.cpp does not apply the adapter: its loss changed by {effect:.3%} only")
    if not gap <= engine_tolerance:
        return Verdict(False, f"llama.cpp and the trainer differ by {gap:.1%}, more than {engine_tolerance:.1%}")
    fall = 1 - e.personal_adapted / e.personal_base
    if fall >= suspicious_fall:
        return Verdict(False, _held_back(fall, suspicious_fall, version), suspicious=True)
    return Verdict(True, f"held-out loss fell {fall:.1%}, general loss {rise:+.1%}, engines within {gap:.2%}")


def _held_back(fall: float, limit: float, version: int) -> str:
    return (
        f"held-out loss fell {fall:.1%}, more than {limit:.0%}: rather one text many times than learning; status says"
        f" where its answers came from: `idletune promote {version}` serves it, `idletune forget ID` removes a set"
    )
