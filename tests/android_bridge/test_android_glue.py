"""The Android classes on Android's own framework classes, by Robolectric, on the desktop's JVM."""

import json
import shutil
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from building import ANDROID
from rpc_caller import CHANGED


@pytest.fixture(scope="session")
def reports(maven, native, embedded, tiny_path):
    """What Maven's tests reported, by class."""
    folder = ANDROID / "target" / "surefire-reports"
    shutil.rmtree(folder, ignore_errors=True)
    settings = {**CHANGED, "epochs": 40, "poll_seconds": 0.1}
    given = {
        **embedded,
        "TINY_MODEL": str(tiny_path),
        "SETTINGS": json.dumps(settings),
        "PYTHON": sys.executable,
    }
    maven(
        ANDROID,
        "test",
        f"-Dnative={native() / 'libidletune.so'}",
        **{f"IDLETUNE_TEST_{key}": value for key, value in given.items()},
    )
    found = [ElementTree.parse(path).getroot() for path in folder.glob("*.xml")]
    return {report.get("name").rpartition(".")[2]: report for report in found}


@pytest.mark.parametrize("name", ["KeystoreKeyTest", "PromptNotifierTest", "DeviceStateReaderTest", "NightTest"])
def test_on_androids_own_classes(reports, name):
    assert int(reports[name].get("tests")) > 0
    assert not any(int(reports[name].get(outcome)) for outcome in ("skipped", "errors", "failures"))
