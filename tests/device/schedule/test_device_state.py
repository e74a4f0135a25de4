import json
import os
import subprocess

import pytest
from idletune.clock import FakeClock
from idletune.schedule.device_state import DeviceState, parse_state, parse_termux
from idletune.schedule.programs import output_of
from idletune.schedule.state_sources import (
    HostSource,
    ResourcesSource,
    ScriptedSource,
    SysfsSource,
    TermuxSource,
    make_source,
)

TERMUX = {
    "present": True,
    "technology": "Li-ion",
    "health": "GOOD",
    "plugged": "PLUGGED_AC",
    "status": "CHARGING",
    "temperature": 30.1,
    "voltage": 4177,
    "current": 451000,
    "percentage": 81,
    "level": 81,
    "scale": 100,
}


def termux(**changes):
    return parse_termux(json.dumps({**TERMUX, **changes}))


def program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_termux_battery_status_is_read():
    assert termux() == DeviceState(plugged=True, percentage=81, temperature_c=30.1)
    assert termux(plugged="UNPLUGGED").plugged is False
    assert termux(plugged="PLUGGED_USB", status="NOT_CHARGING").plugged is True


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"plugged": "PLUGGED_-1"}, "plugged"),
        ({"plugged": "UNKNOWN"}, "plugged"),
        ({"plugged": True}, "plugged"),
        ({"plugged": ["PLUGGED_AC"]}, "plugged"),
        ({"percentage": 101}, "percentage"),
        ({"percentage": -1}, "percentage"),
        ({"percentage": "81"}, "percentage"),
        ({"percentage": True}, "percentage"),
        ({"present": False}, "percentage"),
        ({"temperature": -214748364.8}, "temperature_c"),
        ({"temperature": 301}, "temperature_c"),
        ({"temperature": float("nan")}, "temperature_c"),
        ({"temperature": None}, "temperature_c"),
        ({"temperature": 10**400}, "temperature_c"),
    ],
)
def test_what_cannot_be_is_unknown(changes, field):
    assert getattr(termux(**changes), field) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        "\0",
        '"PLUGGED_AC"',
        '{"plugged": "PLUGGED_AC"' * 3,
        "[" * 100_000,
        " " * 100_000 + "{}",
        '{"plugged": "UNPLUGGED", "plugged": "PLUGGED_AC"}',
        '{"percentage": ' + "9" * 6000 + "}",
        b"\xff\xfe{}",
    ],
)
def test_what_is_no_state_tells_nothing(text):
    assert parse_termux(text) == parse_state(text) == DeviceState()


def test_an_overheated_battery_is_a_thermal_status():
    assert termux(health="OVERHEAT").thermal_status == 3 and termux().thermal_status is None


def test_a_host_reported_state_is_checked_field_by_field():
    given = {
        "plugged": 1,
        "percentage": 50,
        "temperature_c": "warm",
        "thermal_status": 2.0,
        "thermal_headroom": float("inf"),
        "idle": True,
        "free_memory_mb": 1e12,
        "colour": "blue",
    }
    assert parse_state(json.dumps(given)) == DeviceState(percentage=50, idle=True)


def test_the_termux_program_is_run(tmp_path):
    battery = program(tmp_path, "termux-battery-status", f"cat <<'E'\n{json.dumps(TERMUX, indent=2)}\nE")
    state = TermuxSource(tmp_path, str(battery)).read()
    assert state.plugged and state.percentage == 81 and state.free_memory_mb > 1 and state.free_disk_mb > 1
    program(tmp_path, "termux-battery-status", "exit 1")
    assert TermuxSource(tmp_path, str(battery)).read().plugged is None
    assert TermuxSource(tmp_path, str(tmp_path / "none")).read().plugged is None


def test_a_program_that_hangs_ends_with_its_children(tmp_path, monkeypatch):
    """Its time is over when its child is there, so that no machine is too slow for it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    hanging = program(tmp_path, "hang", f"sleep 600 > {pipe} & wait")
    communicate, reading = subprocess.Popen.communicate, []

    def over(process, input=None, timeout=None):
        if timeout is None:  # what the program that was ended had written
            return communicate(process)
        reading.append(open(pipe, "rb"))  # as soon as the child writes to it
        raise subprocess.TimeoutExpired(process.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", over)
    assert output_of([str(hanging)]) is None
    with reading[0] as held_by_the_child:
        assert held_by_the_child.read() == b"", "it ends when nobody has it any more"


def test_a_program_has_its_time(tmp_path):
    assert output_of([str(program(tmp_path, "hang", "exec sleep 600"))], seconds=0.1) is None


def files(root, **texts):
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.fixture
def sysfs(tmp_path):
    supply, zone = "sys__class__power_supply__", "sys__class__thermal__thermal_zone0__"
    files(
        tmp_path,
        **{
            supply + "AC__type": "Mains",
            supply + "AC__online": 1,
            supply + "BAT0__type": "Battery",
            supply + "BAT0__capacity": 77,
            supply + "BAT0__temp": 312,
            supply + "mouse__type": "Battery",
            supply + "mouse__scope": "Device",
            supply + "mouse__capacity": 3,
            zone + "temp": 61000,
            zone + "trip_point_0_type": "passive",
            zone + "trip_point_0_temp": 60000,
            zone + "trip_point_1_type": "hot",
            zone + "trip_point_1_temp": 90000,
            "proc__meminfo": "MemTotal: 9 kB\nMemAvailable:    1000000 kB",
        },
    )
    return tmp_path


def read_sysfs(root):
    return SysfsSource(root, root / "sys", root / "proc").read()


def test_sysfs_is_read(sysfs):
    state = read_sysfs(sysfs)
    assert (state.plugged, state.percentage, state.temperature_c, state.thermal_status) == (True, 77, 31.2, 2)
    assert state.free_memory_mb == 1024


def test_sysfs_without_a_charger_or_with_nonsense(sysfs):
    supply = sysfs / "sys/class/power_supply"
    (supply / "AC/online").write_text("0")
    assert read_sysfs(sysfs).plugged is False
    (supply / "AC/online").write_text("yes")
    (supply / "BAT0/capacity").write_text("9" * 5000)
    (supply / "BAT0/temp").unlink()
    state = read_sysfs(sysfs)
    assert state.plugged is state.percentage is state.temperature_c is None
    assert SysfsSource(sysfs, sysfs / "none", sysfs / "none").read().plugged is None


def test_resources_of_a_missing_folder_are_unknown(tmp_path):
    assert ResourcesSource(tmp_path / "none", tmp_path).read() == DeviceState()


def test_what_the_host_reported_gets_old(tmp_path):
    clock = FakeClock(0)
    source = HostSource(tmp_path, clock)
    assert source.read().plugged is None
    source.push('{"plugged": true, "free_memory_mb": 5}')
    assert source.read().plugged and source.read().free_memory_mb == 5 and source.read().free_disk_mb
    clock.jump(-86400)  # nobody's clock makes it fresher or older
    clock.advance(29)
    assert source.read().plugged
    clock.advance(2)
    assert source.read().plugged is None


def test_a_script_is_replayed():
    clock, plugged = FakeClock(0, uptime=0), DeviceState(plugged=True)
    source = ScriptedSource([(10, plugged), (20, DeviceState())], clock)
    read = []
    for _ in range(3):
        read.append(source.read())
        clock.advance(10)
    assert read == [DeviceState(), plugged, DeviceState()]


def test_the_source_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(make_source("auto", tmp_path), SysfsSource)
    program(tmp_path, "termux-battery-status", "")
    assert isinstance(make_source("auto", tmp_path), TermuxSource)
    assert isinstance(make_source("host", tmp_path), HostSource)
