"""Programs that build and run what is not Python."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BRIDGE = ROOT / "android_bridge"
ANDROID = BRIDGE / "android"
# Named in full: a prefix alone is looked up in the repositories' metadata, which a machine without them does not have.
MAVEN_DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
SECONDS = 1800  # the first run of Maven downloads the Android framework, some 300 MB


@contextmanager
def alone(what: str) -> Iterator[None]:
    """One process at a time builds it: pytest's processes share the folders that are built in."""
    place = ROOT / "build"
    place.mkdir(exist_ok=True)
    with open(place / f"{what}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command, **variables) -> str:
    """What the command printed, which must succeed."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        timeout=SECONDS,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout[-6000:]}"
    return done.stdout


def need(*programs: str) -> None:
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here (Debian: apt install cmake gcc openjdk-17-jdk-headless maven)")
