"""The Java API on a desktop's JVM, which checks every use of JNI (-Xcheck:jni)."""

import json
import subprocess
import sys

import pytest
from building import BRIDGE, MAVEN_DEPENDENCY, ROOT, run
from rpc_caller import CHANGED

JAVA = BRIDGE / "java"


@pytest.fixture(scope="session")
def junit(native, embedded, maven, tiny_path):
    """Runs one class of tests; returns what was printed."""
    built = native() / "libidletune.so"
    maven(JAVA, "test-compile")
    class_path = JAVA / "target" / "class-path.txt"
    maven(JAVA, f"{MAVEN_DEPENDENCY}:build-classpath", f"-Dmdep.outputFile={class_path}", "-Dmdep.includeScope=test")

    def tested(name: str, library=built, **given: str) -> str:
        given |= {
            **embedded,
            "TINY_MODEL": str(tiny_path),
            "SETTINGS": json.dumps(CHANGED),
        }
        places = [JAVA / "target" / "classes", JAVA / "target" / "test-classes", class_path.read_text().strip()]
        printed = run(
            [
                "java",
                "-Xcheck:jni",
                f"-Dio.idletune.library={library}",
                "-cp",
                ":".join(map(str, places)),
                "org.junit.runner.JUnitCore",
                f"io.idletune.{name}",
            ],
            **{f"IDLETUNE_TEST_{key}": value for key, value in given.items()},
        )
        assert "OK (" in printed and "in native method" not in printed, printed[-6000:]
        return printed

    return tested


def test_what_the_page_can_do(junit):
    junit("PageMethodsTest")


def test_every_method_on_a_tiny_model(junit):
    junit("IdleTuneTest")


def test_without_the_c_library(junit):
    junit("NoLibraryTest", library="/none/libidletune.so")


def test_the_same_api_over_a_socket(junit, tiny_path, tmp_path):
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    command = [
        sys.executable,
        "-m",
        "idletune.commands.cli",
        "serve",
        "--socket",
        folder / "socket",
        "--model",
        tiny_path,
        "--home",
        tmp_path / "home",
        "--set",
        "quiet_from=0",
        "--set",
        "quiet_until=0",
        "--set",
        "seed=3",
    ]
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline().startswith("serving on")
            junit("SocketTest", SOCKET=str(folder / "socket"))
        finally:
            server.terminate()


def test_the_main_job_on_the_real_model(junit, model_path, tmp_path):
    bundle = ROOT / "dist" / "phone" / "smollm2-135m"  # where make artifacts was run
    junit("RealModelTest", REAL_MODEL=str(bundle if bundle.is_dir() else model_path), HOME=str(tmp_path / "home"))
