#!/usr/bin/env python3
"""The fast part of the tests as other people's machines run it: other hours, zones and locales, no home folder, and,
where root starts this, a user whom no passwd entry knows.

Nothing is faked: the hour is set by a zone in which it is that late now, so programs that a test starts see it too.
`check_anywhere.py` runs every variant, `check_anywhere.py night evening` these.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 54321  # a number that no passwd entry has
FAST = ["tests", "--fast", "-p", "no:cacheprovider", *(["--numprocesses", "2"] if find_spec("xdist") else [])]


@dataclass(frozen=True)
class Variant:
    """Where, when and as whom the tests run; an `hour` ("03:00") is that of a zone in which it is so late now."""

    zone: str = ""
    hour: str = ""
    locale: str = "C.UTF-8"
    home: bool = True
    user: int | None = None

    def environment(self, folder: Path) -> dict[str, str]:
        """Ours without its locale and user folders, and without a home where the variant has none."""
        left_out = ("LC_", "XDG_") if self.home else ("LC_", "XDG_", "HOME", "USER", "LOGNAME")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(left_out)},
            "TZ": zone_at(self.hour) if self.hour else self.zone,
            "LC_ALL": self.locale,
            "LOCPATH": str(folder / "locales"),
            "TMPDIR": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


# Zones are spelled out: a small machine has no zone database.
VARIANTS = {
    "night": Variant(hour="03:00", locale="C", home=False, user=NOBODY),
    "evening": Variant(hour="23:30", locale="tr_TR.UTF-8"),
    "kiritimati": Variant(zone="<+14>-14", locale="de_DE.UTF-8", home=False),
    "st_johns": Variant(zone="NST3:30NDT,M3.2.0,M11.1.0", user=NOBODY),
    "kathmandu": Variant(zone="<+0545>-5:45", locale="tr_TR.UTF-8", home=False),
}


def zone_at(hour: str) -> str:
    """A zone, as POSIX writes it, in which it is `hour` now."""
    utc = time.gmtime()
    ahead = (60 * int(hour[:2]) + int(hour[3:]) - 60 * utc.tm_hour - utc.tm_min + 720) % 1440 - 720
    return f"<HERE>{'-' if ahead >= 0 else '+'}{abs(ahead) // 60}:{abs(ahead) % 60:02}"


def make_locale(name: str, folder: Path) -> None:
    """Compile a locale into `folder`; where that cannot be, programs get the variables and the C library's own."""
    if name.startswith("C"):
        return
    language, encoding = name.split(".")
    command = ["localedef", "-i", language, "-f", encoding, str(folder / name)]
    if not shutil.which("localedef") or subprocess.run(command, capture_output=True).returncode > 1:
        print(f"the locale {name} cannot be made here (apt install locales); its variables are set all the same")


def user_of(variant: Variant) -> dict:
    """How to start a process as the variant's user: root alone can, and only a Python that others may read."""
    if variant.user is None or os.geteuid() != 0:
        return {}
    user = {"user": variant.user, "group": variant.user, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", "import pytest"], check=True, capture_output=True, cwd=ROOT, **user)
    except (OSError, subprocess.CalledProcessError):
        print(f"user {variant.user} cannot start {sys.executable} in {ROOT}; as root, then")
        return {}
    return user


def run(name: str) -> bool:
    variant, start = VARIANTS[name], time.monotonic()
    print(f"== {name}: {variant}", flush=True)
    with tempfile.TemporaryDirectory(prefix="idletune-anywhere-") as scratch:
        folder, user = Path(scratch), user_of(variant)
        folder.chmod(0o755)  # some tests start programs as another user
        (folder / "locales").mkdir()
        make_locale(variant.locale, folder / "locales")
        if user:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user["user"], user["group"])
        command = [sys.executable, "-m", "pytest", *FAST, "--basetemp", str(folder / "tests")]
        done = subprocess.run(command, cwd=ROOT, env=variant.environment(folder), umask=0o022, **user)
    passed, seconds = done.returncode == 0, time.monotonic() - start
    print(f"== {name}: {'passed' if passed else 'FAILED'} in {seconds:.0f} s", flush=True)
    return passed


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        print(f"no variant {unknown[0]}; there are {', '.join(VARIANTS)}")
        return 2
    return 0 if all([run(name) for name in names or VARIANTS]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
