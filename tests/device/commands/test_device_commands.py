"""`idletune tick` from battery program to adapter, on the tiny model and the stand-ins for Termux."""

import json
import os
import signal
import subprocess

import pytest
from idletune.commands import device_commands
from idletune.commands.cli import main
from idletune.settings import Settings
from loop import SETTINGS, answer_all, observe, open_tiny_runtime

CHANGED = {
    **{name: value for name, value in vars(SETTINGS).items() if value != getattr(Settings(), name)},
    "window_from": 0,
    "window_until": 0,
    "memory_mb": 100,
    "window_reserve_mb": 0,
    "window_disk_mb": 0,
}


@pytest.fixture
def idletune(phone, home, tiny_path, capsys):
    """Runs a command in a home with ten answers; returns exit code and output."""
    with open_tiny_runtime(tiny_path, home)() as runtime:
        observe(runtime, 10)
        answer_all(runtime)
    (home / "settings.json").write_text(json.dumps(CHANGED))

    def run(*command):
        code = main([*command, "--model", str(tiny_path)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.mark.slow
def test_a_tick_learns_on_the_charger_and_not_off_it(phone, idletune):
    phone.battery(plugged="UNPLUGGED")
    assert idletune("tick") == (0, "not learning: not plugged in\n") and not phone.wakes()
    phone.battery()
    code, said = idletune("tick")
    assert code == 0 and "promoted: held-out loss fell" in said
    assert phone.wakes() == ["termux-wake-lock", "termux-wake-unlock"]
    facts = json.loads(idletune("status", "--json")[1])
    assert facts["adapter"]["version"] == 1 and "promoted" in facts["learning"]["last"]["outcome"]
    assert facts["learning"]["reason"] == "0 new answers; learning starts at 5"
    page = idletune("status")[1]
    assert "learning now  no: 0 new answers" in page and "last slice" in page


def test_a_tick_learns_with_the_engine_that_was_asked_for(phone, idletune):
    code, said = idletune("tick", "--backend", "onnx")
    assert code == 2 and "no base.onnx" in said
    assert "failed: no base.onnx" in idletune("status")[1]


@pytest.mark.slow
def test_the_installed_job_learns_in_an_encrypted_home(phone, idletune, home, tmp_path):
    """From `termux install` to a new adapter, as Android starts the script."""
    key = tmp_path / "key"
    idletune("rotate-key", "--new-key-file", str(key))
    assert idletune("termux", "install", "--key-file", str(key))[0] == 0
    subprocess.run([home / "termux" / "learn"], env={}, cwd="/")
    assert phone.wakes() == ["termux-wake-lock", "termux-wake-unlock"]
    facts = json.loads(idletune("status", "--json", "--key-file", str(key))[1])
    assert facts["encrypted"] and facts["adapter"]["version"] == 1
    assert "promoted: held-out loss fell" in facts["jobs"]["learn"]["said"]


def test_what_the_battery_program_does_not_tell_keeps_it_shut(phone, idletune):
    (phone.state / "battery").write_text("Termux:API is not yet available\n")
    assert idletune("tick") == (0, "not learning: unknown: plugged, percentage, temperature_c\n")


def test_a_second_learner_is_told_in_one_line(phone, idletune, home):
    from idletune.schedule.lock import learner_lock

    with learner_lock(home):
        code, said = idletune("tick")
    assert code == 2 and said.startswith("idletune: another IdleTune (process") and said.count("\n") == 1


def test_a_signal_ends_a_slice_gently_and_a_second_one_at_once(home):
    with device_commands.open_scheduler(home, Settings()) as scheduler:
        os.kill(os.getpid(), signal.SIGTERM)
        assert scheduler.interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
