"""Pack the Android library: `python android_bridge/aar.py --classes DIR --jni DIR -o dist/idletune.aar`.

The same inputs give the same bytes on every machine: entries are sorted, their times fixed, and nothing is compressed,
since what zlib writes depends on its version.
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ABIS = ("arm64-v8a", "x86_64")
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first moment a zip entry can have
JAR_MANIFEST = b"Manifest-Version: 1.0\r\n\r\n"


def zipped(entries: dict[str, bytes]) -> bytes:
    """A zip of the entries, the same bytes for the same entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, EARLIEST)
            info.create_system, info.external_attr = 3, 0o100644 << 16  # a plain file of Unix, wherever it was made
            archive.writestr(info, entries[name])
    return buffer.getvalue()


def classes_jar(folder: Path) -> bytes:
    """The compiled classes as a jar."""
    classes = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.class")}
    if not classes:
        raise SystemExit(f"no classes in {folder}; run make aar, which compiles them first")
    return zipped({"META-INF/MANIFEST.MF": JAR_MANIFEST, **classes})


def libraries(folder: Path) -> dict[str, bytes]:
    """The native libraries of every ABI, by their place in the AAR."""
    found = {}
    for abi in ABIS:
        paths = sorted((folder / abi).glob("*.so"))
        if not paths:
            raise SystemExit(f"no native library in {folder / abi}; run make aar, which builds them first")
        found |= {f"jni/{abi}/{path.name}": path.read_bytes() for path in paths}
    return found


def aar(classes: Path, jni: Path) -> bytes:
    """The whole library. SystemExit names the part that is missing."""
    return zipped(
        {
            "AndroidManifest.xml": (HERE / "android/src/main/AndroidManifest.xml").read_bytes(),
            "classes.jar": classes_jar(classes),
            "R.txt": b"",  # no resources of its own
            "proguard.txt": (HERE / "android/proguard.txt").read_bytes(),
            "LICENSE": (HERE.parent / "LICENSE").read_bytes(),
            "NOTICE": (HERE / "android/NOTICE").read_bytes(),
            **libraries(jni),
        }
    )


def main(arguments: list[str] | None = None) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=Path, required=True, help="folder of compiled classes")
    parser.add_argument("--jni", type=Path, required=True, help="folder with a folder of libraries for each ABI")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    content = aar(given.classes, given.jni)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_bytes(content)
    print(f"{given.output}: {len(content):,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
