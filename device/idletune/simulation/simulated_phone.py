"""A phone and its user for a simulated month: when it is charged, how warm it gets, when it is in use.

Everything follows from a seed. A day's plan is drawn when the day is first looked at; charge and
temperature are integrated in steps of a minute at most, so that learning itself warms the battery.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..schedule.device_state import DeviceState

MINUTE, HOUR = 60.0, 3600.0
DRAIN_IDLE, DRAIN_IN_USE, CHARGE = 1.2, 9.0, 28.0  # percent an hour
HEAT_CHARGING, HEAT_FULL, HEAT_LEARNING, HEAT_IN_USE = 4.5, 1.0, 5.0, 3.0  # degrees C above the room, in the end
SETTLING = 15 * MINUTE  # time in which the battery's temperature goes two thirds of its way
FREE_MEMORY, TRAINER_MEMORY = 1600.0, 450.0  # MB


@dataclass(frozen=True)
class Day:
    """One day from noon to noon, in seconds since 1970: charger, use, talk, the room's temperature."""

    charging: list[tuple[float, float]]
    in_use: list[tuple[float, float]]
    talks: list[float]
    room_c: float
    telling: bool  # False on a day when the battery program hangs and tells nothing


class SimulatedPhone:
    """The device as a state source; `learning` is set while a slice runs."""

    def __init__(self, clock, seed: int):
        self.clock, self.seed = clock, seed
        self.percentage, self.temperature_c, self.learning = 70.0, 27.0, False
        self.at = clock.now().wall
        self.days: dict[datetime, Day] = {}

    def read(self) -> DeviceState:
        self.move_on()
        if not self.day().telling:
            return DeviceState()
        return DeviceState(
            plugged=self.plugged(),
            percentage=round(self.percentage),
            temperature_c=round(self.temperature_c, 1),
            thermal_status=0 if self.temperature_c < 40 else 3,
            idle=not self.in_use(),
            free_disk_mb=20_000.0,
            free_memory_mb=FREE_MEMORY - TRAINER_MEMORY * self.learning - 700 * self.in_use(),
        )

    def plugged(self) -> bool:
        return _inside(self.day().charging, self.at)

    def in_use(self) -> bool:
        return _inside(self.day().in_use, self.at)

    def day(self) -> Day:
        noon = datetime.fromtimestamp(self.at - 12 * HOUR).replace(hour=12, minute=0, second=0, microsecond=0)
        if noon not in self.days:
            self.days[noon] = _draw_day(noon, random.Random(f"{self.seed} {noon.date()}"))
        return self.days[noon]

    def move_on(self) -> None:
        """Charge and temperature up to the clock's present."""
        while (left := self.clock.now().wall - self.at) > 0:
            seconds = min(MINUTE, left)
            self.at += seconds
            rate = CHARGE if self.plugged() else -(DRAIN_IN_USE if self.in_use() else DRAIN_IDLE)
            self.percentage = min(100.0, max(1.0, self.percentage + rate * seconds / HOUR))
            share = min(1.0, seconds / SETTLING)
            self.temperature_c += (self._goal() - self.temperature_c) * share

    def _goal(self) -> float:
        goal = self.day().room_c + HEAT_LEARNING * self.learning + HEAT_IN_USE * self.in_use()
        if self.plugged():
            goal += HEAT_CHARGING if self.percentage < 100 else HEAT_FULL
        return goal


def _draw_day(noon: datetime, chance: random.Random) -> Day:
    def at(hours: float) -> float:  # after noon
        return (noon + timedelta(hours=hours)).timestamp()

    bed, wake = chance.gauss(11.0, 0.7), chance.gauss(19.3, 0.6)
    charging = []
    if chance.random() < 0.88:  # else forgotten in the living room
        charging.append((at(bed - chance.uniform(0, 0.5)), at(wake + chance.uniform(0, 0.3))))
    if chance.random() < 0.3:  # an hour at the desk
        start = chance.uniform(0.5, 6)
        charging.append((at(start), at(start + chance.uniform(0.3, 1.5))))
    sleepless = _times(chance, chance.choice((0, 1, 2, 5)), bed, wake)
    looks = [*_times(chance, 14, 0, bed), *sleepless, *_times(chance, 8, wake, 24)]
    in_use = [(at(h), at(h + chance.uniform(0.04, 0.3))) for h in looks]
    said = _times(chance, chance.randint(0, 7), 0, bed) + _times(chance, chance.randint(0, 4), wake, 24)
    talks = [at(h) for h in said]
    room = chance.gauss(24, 2) + (9 if chance.random() < 0.15 else 0)  # some nights under a pillow
    return Day(charging, in_use, sorted(talks), room, chance.random() > 0.05)


def _times(chance: random.Random, count: int, start: float, end: float) -> list[float]:
    return [chance.uniform(start, end) for _ in range(count)]


def _inside(spans: list[tuple[float, float]], at: float) -> bool:
    return any(start <= at < end for start, end in spans)
