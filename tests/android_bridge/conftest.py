"""What the bridge is built with here: CMake, Maven, and the Python that is embedded."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest
from building import ANDROID, BRIDGE, ROOT, alone, need, run


@pytest.fixture(scope="session")
def native():
    """Builds the C library and its fuzzer for this machine; gives the folder."""
    need("cmake", "cc", "javac")

    def build(*options: str) -> Path:
        folder = ROOT / "build" / "-".join(["native", *(option.split("=")[0].lstrip("-D") for option in options)])
        with alone(folder.name):
            run(["cmake", "-S", BRIDGE / "native", "-B", folder, "-DCMAKE_BUILD_TYPE=Release", *options])
            run(["cmake", "--build", folder])
        return folder

    return build


@pytest.fixture(scope="session")
def embedded(tmp_path_factory) -> dict[str, str]:
    """libpython, and where it finds the package and what that needs, for a process that embeds Python."""
    library = Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("LDLIBRARY")
    if not library.is_file() or ".so" not in library.name:
        pytest.skip(f"this Python has no shared library at {library} (Debian: apt install libpython3-dev)")
    package = tmp_path_factory.mktemp("python")
    (package / "idletune").symlink_to(ROOT / "device" / "idletune")
    elsewhere = [path for path in sys.path if path.endswith("site-packages")]
    return {"LIBPYTHON": str(library), "PYTHONPATH": os.pathsep.join([str(package), *elsewhere])}


@pytest.fixture(scope="session")
def maven():
    """Runs Maven on a project: without a network, unless something was never downloaded here."""
    need("mvn", "javac")

    def build(project: Path, *arguments: str, **variables: str) -> str:
        command = ["mvn", "-B", "-q", "-f", project / "pom.xml", *arguments]
        with alone(f"maven-{project.name}"):
            try:
                return run([*command, "-o"], **variables)
            except AssertionError as failed:
                if "offline" not in str(failed):
                    raise
            try:
                return run(command, **variables)
            except AssertionError as failed:
                if "Could not transfer" in str(failed) or "Unknown host" in str(failed):
                    pytest.skip("Maven reaches no repository from here")
                raise

    return build


@pytest.fixture(scope="session")
def compiled_classes(maven) -> Path:
    maven(ANDROID, "compile")
    return ANDROID / "target" / "classes"


@pytest.fixture(scope="session")
def android_libraries() -> Path:
    """The native libraries for Android."""
    need("clang", "ld.lld", "javac")
    folder = ROOT / "build" / "android"
    with alone("android"):
        run(["sh", BRIDGE / "native" / "build_android.sh", folder])
    return folder
