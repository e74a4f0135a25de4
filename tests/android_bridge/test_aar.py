"""What `make aar` packs, from the classes and libraries as they are built here."""

import importlib.util
import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

BRIDGE = Path(__file__).parents[2] / "android_bridge"
MACHINES = {"arm64-v8a": "AArch64", "x86_64": "Advanced Micro Devices X86-64"}
PAGE = 16 * 1024  # of Android 15's new devices
ANDROID_NAME = "{http://schemas.android.com/apk/res/android}name"
JAVA_8 = 52  # the version in a class file


@pytest.fixture(scope="module")
def aar():
    spec = importlib.util.spec_from_file_location("aar", BRIDGE / "aar.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def packed(aar, compiled_classes, android_libraries) -> bytes:
    return aar.aar(compiled_classes, android_libraries)


@pytest.fixture
def opened(packed):
    return zipfile.ZipFile(io.BytesIO(packed))


def test_the_same_parts_give_the_same_bytes(aar, packed, compiled_classes, android_libraries, tmp_path):
    for name, folder in (("classes", compiled_classes), ("jni", android_libraries)):
        shutil.copytree(folder, tmp_path / name, copy_function=shutil.copyfile)  # other times, other order on the disk
    aar.main(["--classes", str(tmp_path / "classes"), "--jni", str(tmp_path / "jni"), "-o", str(tmp_path / "x.aar")])
    assert (tmp_path / "x.aar").read_bytes() == packed


def test_it_has_the_parts_of_an_android_library(opened):
    libraries = {f"jni/{abi}/libidletune.so" for abi in MACHINES}
    texts = {"AndroidManifest.xml", "classes.jar", "R.txt", "proguard.txt", "LICENSE", "NOTICE"}
    assert set(opened.namelist()) == libraries | texts and opened.testzip() is None


def test_the_manifest_asks_for_no_network(opened):
    manifest = ElementTree.fromstring(opened.read("AndroidManifest.xml"))
    assert {each.get(ANDROID_NAME) for each in manifest.iter("uses-permission")} == {
        "android.permission.RECEIVE_BOOT_COMPLETED",
        "android.permission.POST_NOTIFICATIONS",
    }


def test_every_class_the_manifest_and_proguard_name_is_there(opened):
    names = zipfile.ZipFile(io.BytesIO(opened.read("classes.jar"))).namelist()
    manifest = ElementTree.fromstring(opened.read("AndroidManifest.xml"))
    named = [each.get(ANDROID_NAME) for tag in ("service", "receiver") for each in manifest.iter(tag)]
    named += re.findall(r"class (io\.idletune\.[\w.]+) \{ (?!native)", opened.read("proguard.txt").decode())
    assert len(named) >= 4 and {f"{name.replace('.', '/')}.class" for name in named} <= set(names)


def test_android_can_read_the_classes(opened):
    jar = zipfile.ZipFile(io.BytesIO(opened.read("classes.jar")))
    versions = {int.from_bytes(jar.read(name)[6:8], "big") for name in jar.namelist() if name.endswith(".class")}
    assert versions == {JAVA_8}


@pytest.mark.parametrize("abi", MACHINES)
def test_the_libraries_are_of_their_abi_and_fit_16_kb_pages(opened, abi, tmp_path):
    path = opened.extract(f"jni/{abi}/libidletune.so", tmp_path)
    assert f"Machine: {MACHINES[abi]}" in re.sub(r" +", " ", _readelf("-h", path))
    loads = re.findall(r"LOAD .* (0x[0-9a-f]+)$", _readelf("-lW", path), re.MULTILINE)
    assert loads and all(int(alignment, 16) % PAGE == 0 for alignment in loads)


def test_a_missing_part_is_named(aar, compiled_classes, tmp_path):
    with pytest.raises(SystemExit, match="no native library in .*arm64-v8a; run make aar"):
        aar.aar(compiled_classes, tmp_path)
    with pytest.raises(SystemExit, match="no classes in .*; run make aar"):
        aar.aar(tmp_path, tmp_path)


def _readelf(option: str, path: str) -> str:
    return subprocess.run(["readelf", option, path], check=True, capture_output=True, text=True).stdout
