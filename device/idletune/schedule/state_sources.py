"""Where the device's state comes from: Termux, the kernel's files, the host app, or a script.

A source has one method, `read() -> DeviceState`, and it never fails: what it cannot find out is unknown.
"""

import shutil
from bisect import bisect_right
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ..clock import Clock, Moment, SystemClock
from ..free_memory import available_mb
from ..state.home import stored_bytes
from .device_state import MB, DeviceState, parse_state, parse_termux, validated
from .programs import output_of

BATTERY_STATUS = "termux-battery-status"
HOST_FRESH_SECONDS = 30.0  # an older report of the host app tells nothing about now
CHARGERS = ("Mains", "USB", "Wireless")
# What the kernel does at a zone's trip point, in Android's thermal status.
TRIPS = {"passive": 2, "hot": 3, "critical": 5}


class StateSource(Protocol):
    def read(self) -> DeviceState: ...


class ResourcesSource:
    """Free memory and free disk under `home`, the only two that every system tells."""

    def __init__(self, home: Path, proc: Path = Path("/proc")):
        self.home, self.proc = home, proc

    def read(self) -> DeviceState:
        return DeviceState(
            free_memory_mb=validated("free_memory_mb", available_mb(self.proc)),
            free_disk_mb=validated("free_disk_mb", self._disk()),
        )

    def _disk(self) -> float | None:
        """int8 weights count as free: they are removed when storage is short."""
        try:
            return (shutil.disk_usage(self.home).free + stored_bytes(self.home)) / MB
        except OSError:
            return None


class TermuxSource:
    """The battery from Termux:API. It tells neither the thermal status nor whether the phone is in use."""

    def __init__(self, home: Path, program: str = BATTERY_STATUS):
        self.resources, self.program = ResourcesSource(home), program

    def read(self) -> DeviceState:
        return completed(parse_termux(output_of([self.program]) or ""), self.resources.read())


class SysfsSource:
    """A Linux board, an emulator, a laptop: /sys/class/power_supply and /sys/class/thermal."""

    def __init__(self, home: Path, root: Path = Path("/sys"), proc: Path = Path("/proc")):
        self.resources, self.root = ResourcesSource(home, proc), root

    def read(self) -> DeviceState:
        supplies = sorted(self.root.glob("class/power_supply/*"))
        batteries = [s for s in supplies if _text(s / "type") == "Battery" and _text(s / "scope") != "Device"]
        battery = batteries[0] if len(batteries) == 1 else None  # of two, nobody knows which one matters
        tenths = _number(battery / "temp") if battery else None
        state = DeviceState(
            plugged=self._plugged([s for s in supplies if _text(s / "type") in CHARGERS]),
            percentage=validated("percentage", _number(battery / "capacity")) if battery else None,
            temperature_c=validated("temperature_c", tenths / 10) if tenths is not None else None,
            thermal_status=self._thermal_status(),
        )
        return completed(state, self.resources.read())

    def _plugged(self, chargers: list[Path]) -> bool | None:
        online = {_number(charger / "online") for charger in chargers}
        return True if 1 in online else False if online == {0} else None

    def _thermal_status(self) -> int | None:
        statuses = [self._zone_status(zone) for zone in self.root.glob("class/thermal/thermal_zone*")]
        return max((status for status in statuses if status is not None), default=None)

    def _zone_status(self, zone: Path) -> int | None:
        """The gravest trip point that the zone's temperature has reached; None where it tells nothing."""
        temperature, status = _number(zone / "temp"), None
        if temperature is None:
            return None
        for trip in zone.glob("trip_point_*_temp"):
            limit = _number(trip)
            kind = TRIPS.get(_text(trip.with_name(trip.name.replace("_temp", "_type"))))
            if kind is not None and limit is not None and limit > 0:
                status = max(status or 0, kind if temperature >= limit else 0)
        return status


class HostSource:
    """What the host app reported last; unknown again after HOST_FRESH_SECONDS without a report."""

    def __init__(self, home: Path, clock: Clock):
        self.resources, self.clock = ResourcesSource(home), clock
        self.reported: tuple[Moment, DeviceState] | None = None

    def push(self, state: str | bytes | dict) -> DeviceState:
        """Take JSON with the field names of DeviceState; returns what of it is valid."""
        self.reported = self.clock.now(), parse_state(state)
        return self.reported[1]

    def read(self) -> DeviceState:
        state = DeviceState()
        if self.reported and 0 <= self.clock.now().since(self.reported[0]) <= HOST_FRESH_SECONDS:
            state = self.reported[1]
        return completed(state, self.resources.read())


def may_ask(source: StateSource) -> bool:
    """Whether questions may be put to the user: not while the last report of the host app says `do_not_ask`.

    That stands until the next report: what the user is asked does not hang on how often the app reports.
    """
    return not (isinstance(source, HostSource) and source.reported and source.reported[1].do_not_ask)


class ScriptedSource:
    """Replays (uptime, state) pairs in the order of time: for tests."""

    def __init__(self, script: list[tuple[float, DeviceState]], clock: Clock):
        self.script, self.clock = script, clock

    def read(self) -> DeviceState:
        place = bisect_right(self.script, self.clock.now().uptime, key=lambda entry: entry[0])
        return self.script[place - 1][1] if place else DeviceState()


def make_source(name: str, home: Path, clock: Clock | None = None) -> StateSource:
    """By the setting `state_source`; "auto" is Termux where its programs are, else the kernel's files."""
    if name == "host":
        return HostSource(home, clock or SystemClock())
    if name == "termux" or name == "auto" and shutil.which(BATTERY_STATUS):
        return TermuxSource(home)
    return SysfsSource(home)


def completed(state: DeviceState, other: DeviceState) -> DeviceState:
    """`state` with its unknown fields taken from `other`."""
    return replace(other, **{name: value for name, value in vars(state).items() if value is not None})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return int(text) if len(text) < 20 else None
    except ValueError:
        return None
