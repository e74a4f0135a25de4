"""The Android classes on Android's own framework classes, by Robolectric, on the desktop's JVM."""

import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ANDROID = Path(__file__).parents[2] / "android_bridge" / "android"
SECONDS = 600  # the first run downloads the framework, some 300 MB


@pytest.fixture(scope="module")
def maven():
    """Runs Maven on the Android classes: without a network, unless something was never downloaded here."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("no JDK and Maven here (Debian: apt install openjdk-17-jdk-headless maven)")

    def run(*arguments: str, **variables: str) -> str:
        command = ["mvn", "-B", "-q", "-f", str(ANDROID / "pom.xml"), *arguments]
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


def test_on_androids_own_classes(maven, bridge_library, tiny_path, tiny_graphs):
    shutil.rmtree(ANDROID / "target" / "surefire-reports", ignore_errors=True)
    maven(
        "test", IDLETUNE_TEST_LIBRARY=str(bridge_library), IDLETUNE_TEST_MODEL=str(tiny_path),
        IDLETUNE_TEST_GRAPHS=str(tiny_graphs.folder),
    )
    reports = [ElementTree.parse(path).getroot() for path in (ANDROID / "target/surefire-reports").glob("*.xml")]
    ran = {report.get("name").rpartition(".")[2]: int(report.get("tests")) for report in reports}
    assert sum(int(report.get("skipped")) for report in reports) == 0, "the night needs the runtime and must not be skipped"
    assert {"KeystoreKeyTest", "PromptNotifierTest", "DeviceStateReaderTest", "NightTest"} <= ran.keys(), ran
