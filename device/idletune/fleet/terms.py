"""The terms of a fleet: what a user agrees to, fixed at joining. A round on other terms is refused."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields

from ..errors import UsageError
from ..formats.model_shape import ModelShape
from ..settings import Settings
from ..training.lora import Lora
from .privacy import epsilon

LONGEST_NAME = 80
MOST = {"rank": 64, "epochs": 20, "seed": 2**32 - 1, "phones": 1_000_000, "rounds": 1_000_000}


@dataclass(frozen=True)
class Terms:
    """Written by whoever runs the fleet, as JSON. A differs from phone to phone in no number: it follows from `seed`.

    `operator_key`: the Ed25519 public key, 64 hexadecimal digits, that results are signed with.
    `epsilon` bounds what all of a home's updates together may cost, at `delta`; 0 where there is no noise.
    """

    fleet: str
    base_sha256: str
    operator_key: str
    operator: str  # who runs it, for the user to read
    phones: int  # that take part in a round
    rounds: int
    clipping_norm: float
    noise_multiplier: float  # of the noise that each phone adds, in clipping norms
    epsilon: float
    delta: float = 1e-5
    epochs: int = 1  # passes over the answers in a round
    learning_rate: float = 8e-4
    targets: str = "gate,up,down"
    rank: int = 16
    alpha: float = 32.0
    top_share: float = 0.5
    seed: int = 0
    tell_loss: bool = False  # whether a phone tells how well the shared adapter fits its held-out answers

    def __post_init__(self) -> None:
        for spec in fields(self):
            _check(spec.name, getattr(self, spec.name), spec.type)
        if self.noise_multiplier and not self.epsilon:
            raise UsageError("terms with noise need an epsilon above 0: what all updates together may cost")

    @classmethod
    def from_dict(cls, values: dict) -> "Terms":
        """UsageError for a missing, an unknown or an impossible value."""
        known = {spec.name for spec in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UsageError(f"the fleet's terms have {str(unknown[0])[:40]!r}, which this version does not know")
        try:
            return cls(**values)
        except TypeError as error:
            missing = str(error).partition(": ")[2] or str(error)
            raise UsageError(f"the fleet's terms lack {missing}; ask whoever runs the fleet for whole ones") from None

    def to_dict(self) -> dict:
        return asdict(self)

    @property
    def digest(self) -> str:
        """SHA-256 that names these terms: a round says on which it is."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def lora(self, shape: ModelShape) -> Lora:
        """The adapter of the fleet before its first round: A from the seed, B zero."""
        return Lora.from_settings(shape, self.settings(Settings()))

    def settings(self, own: Settings) -> Settings:
        """The user's settings with what the terms say of the adapter and its training."""
        names = ("targets", "rank", "alpha", "top_share", "seed", "epochs", "learning_rate")
        values = {name: getattr(self, name) for name in names}
        return Settings(**{**vars(own), **values, "min_steps": 0, "weight_decay": 0.0})

    def told(self) -> str:
        """What the user agrees to, to be read before joining."""
        return "\n".join(
            [
                f"The fleet {self.fleet} is run by {self.operator}.",
                f"What leaves this phone: in up to {self.rounds} rounds the numbers of a shared adapter, changed by"
                f" training on your answers ({self._protection()}); and that your phone took part.",
                self._loss(),
                "What never leaves: your messages, your answers, your own adapter, your settings.",
                "What was sent cannot be taken back: leaving ends it at once, and forgetting keeps a dialogue set out"
                " of every later update, but the average keeps what it has.",
            ]
        )

    def _protection(self) -> str:
        if not self.noise_multiplier:
            return f"clipped to a norm of {self.clipping_norm:g}, WITHOUT noise: {self.operator} may learn from it"
        one = epsilon([self.noise_multiplier], self.delta)
        return (
            f"clipped to a norm of {self.clipping_norm:g} and hidden in noise on this phone; one update costs epsilon"
            f" {_number(one)}, all together at most {self.epsilon:g}, at delta {self.delta:g}: {strength(self.epsilon)}"
        )

    def _loss(self) -> str:
        if not self.tell_loss:
            return "How well it answers is measured on this phone and told to nobody."
        return "Also told, without noise: how well the shared adapter fits your answers, to a tenth of a nat."


def strength(cost: float) -> str:
    """What an epsilon means, in words."""
    if cost <= 1:
        return "whoever sees the updates can hardly tell whether your answers were among them"
    if cost <= 4:
        return "whoever sees the updates can guess whether your answers were among them, seldom surely"
    if cost <= 10:
        return "a weak promise: somebody who suspects an answer may find the suspicion confirmed"
    return "no promise worth the name"


def spent_text(multipliers: list[float], delta: float) -> str:
    """What all updates so far cost, for people."""
    cost = epsilon(multipliers, delta)
    if not multipliers:
        return "no update has left this home"
    left = f"{len(multipliers)} update{'s' * (len(multipliers) > 1)} left this home"
    if math.isinf(cost):
        return f"{left}, not all of them in enough noise: they promise no privacy"
    return f"{left}; together they cost epsilon {_number(cost)} at delta {delta:g}: {strength(cost)}"


def _number(value: float) -> str:
    return "above 500" if math.isinf(value) else f"{value:.2f}"


def _check(name: str, value: object, kind: object) -> None:
    wrong = UsageError(f"the fleet's terms say {name} = {str(value)[:40]!r}; ask whoever runs the fleet for right ones")
    if kind is str:
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= LONGEST_NAME:
            raise wrong
        if name in ("base_sha256", "operator_key") and not _is_hex(value):
            raise wrong
    elif kind is bool:
        if not isinstance(value, bool):
            raise wrong
    elif isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        raise wrong
    elif not math.isfinite(value) or value < 0 or value > MOST.get(name, 1e6):
        raise wrong
    elif not value and name not in ("noise_multiplier", "epsilon", "seed"):
        raise wrong
    elif name == "delta" and not 0 < value < 1 or name == "top_share" and value > 1:
        raise wrong


def _is_hex(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
