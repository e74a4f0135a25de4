"""Replays a person's conversations through the loop, and measures what was learned."""

from .calendar import Calendar
from .replay import EXCHANGES_A_DAY, Replay, replay
from .report import Measure, ReplayReport

__all__ = ["EXCHANGES_A_DAY", "Calendar", "Measure", "Replay", "ReplayReport", "replay"]
