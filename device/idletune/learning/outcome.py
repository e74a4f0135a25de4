"""What a slice of learning came to: a value for programs, and a text for people."""

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    UNFINISHED = "unfinished"  # the next slice goes on
    REFRESHED = "refreshed"  # embeddings alone; there was nothing to train on
    SHARED = "shared"  # an update for a fleet was made
    PROMOTED = "promoted"
    HELD_BACK = "held back"
    REJECTED = "rejected"


@dataclass(frozen=True)
class SliceOutcome:
    kind: Outcome
    text: str  # for people; no program reads it

    @classmethod
    def unfinished(cls, stage: str) -> "SliceOutcome":
        return cls(Outcome.UNFINISHED, f"{stage}, to be continued")
