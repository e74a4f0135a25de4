"""The Android classes on Android's own framework classes, by Robolectric, on the desktop's JVM."""

import json
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from rpc_caller import CHANGED

ANDROID = Path(__file__).parents[2] / "android_bridge" / "android"


def test_on_androids_own_classes(maven, tiny_path, tiny_graphs):
    shutil.rmtree(ANDROID / "target" / "surefire-reports", ignore_errors=True)
    settings = {**CHANGED, "epochs": 40, "poll_seconds": 0.1}
    maven(
        "test", IDLETUNE_TEST_PYTHON=sys.executable, IDLETUNE_TEST_MODEL=str(tiny_path),
        IDLETUNE_TEST_GRAPHS=str(tiny_graphs.folder), IDLETUNE_TEST_SETTINGS=json.dumps(settings),
    )
    reports = [ElementTree.parse(path).getroot() for path in (ANDROID / "target/surefire-reports").glob("*.xml")]
    ran = {report.get("name").rpartition(".")[2] for report in reports}
    assert {"KeystoreKeyTest", "PromptNotifierTest", "DeviceStateReaderTest", "NightTest"} <= ran
    assert not any(int(report.get("skipped")) for report in reports), "the night must not be left out"
