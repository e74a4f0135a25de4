"""Maven, and what it makes of the Android classes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BRIDGE = Path(__file__).parents[2] / "android_bridge"
ANDROID = BRIDGE / "android"
JAVA = BRIDGE / "java" / "src" / "main" / "java"
CORE = JAVA if JAVA.is_dir() else ANDROID / "src" / "test" / "core"
SECONDS = 600  # the first run downloads the framework, some 300 MB


@pytest.fixture(scope="session")
def maven():
    """Runs Maven on the Android classes: without a network, unless something was never downloaded here."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("no JDK and Maven here (Debian: apt install openjdk-17-jdk-headless maven)")

    def run(*arguments: str, **variables: str) -> str:
        command = ["mvn", "-B", "-q", "-f", str(ANDROID / "pom.xml"), f"-Dcore={CORE}", *arguments]
        environment = {**os.environ, **variables}
        done = _run([*command, "-o"], environment)
        if done.returncode and "offline" in done.stdout:
            done = _run(command, environment)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    return run


def _run(command, environment):
    return subprocess.run(
        command, env=environment, timeout=SECONDS, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="session")
def compiled_classes(maven) -> Path:
    maven("compile")
    return ANDROID / "target" / "classes"


@pytest.fixture(scope="session")
def android_libraries() -> Path:
    """The native libraries for Android, as make bridge builds them."""
    folder = BRIDGE.parent / "build" / "android"
    if not folder.is_dir():
        pytest.skip(f"no native libraries in {folder}; make bridge builds them")
    return folder
