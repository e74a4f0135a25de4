"""The gate: an adapter is served only on evidence, all of it measured on this device.

Three questions: did it learn the user (held-out answers), did it keep its general language (a probe text),
and does the engine that will serve it really apply it (llama.cpp against the trainer)?
"""

from dataclasses import asdict, dataclass

# Below this relative change of llama.cpp's loss the adapter may not be applied at all.
LEAST_EFFECT = 1e-4


@dataclass(frozen=True)
class Evidence:
    """Mean losses in nats per token; `personal` on answers never trained on, `probe` on general text.

    `personal` and `probe` are the trainer's, `engine` is `personal` in llama.cpp; `serving` is what
    answered before: an earlier adapter, or the base.
    """

    personal_base: float
    personal_adapted: float
    engine_base: float
    engine_serving: float
    engine_adapted: float
    probe_base: float
    probe_adapted: float

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    promoted: bool
    reason: str


def judge(evidence: Evidence, *, probe_tolerance: float, engine_tolerance: float) -> Verdict:
    """Promote only if every check holds; the reason names the first that failed, with its numbers."""
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
    return Verdict(True, f"held-out loss fell {fall:.1%}, general loss {rise:+.1%}, engines within {gap:.2%}")
