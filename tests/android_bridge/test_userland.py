"""The chroot's mounts, with folders of the test's own in a mount namespace of the test's own: never /proc or /dev."""

import os
import shutil
import subprocess
import sys

import pytest
from building import BRIDGE, need

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import run
with run.temporary_root() as root:
    sources = [Path(source) for source in sys.argv[2:]]
    for source in sources:
        (root / source.name).mkdir()
    with run.mounted(root, sources):
        print("mounted", *(path.name for path in root.rglob("*")))
"""


@pytest.fixture
def mounting(tmp_path):
    """Mounts two folders with a file each, in a temporary root; gives what was printed."""
    need("unshare", "mount", "umount")
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("only root may mount")
    (tmp_path / "commands").mkdir()
    (tmp_path / "temporary").mkdir()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of-{name}").touch()

    def run() -> str:
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                sys.executable,
                "-c",
                PROGRAM,
                BRIDGE / "userland",
                tmp_path / "first",
                tmp_path / "second",
            ],
            env={
                **os.environ,
                "PATH": f"{tmp_path / 'commands'}:{os.environ['PATH']}",
                "TMPDIR": str(tmp_path / "temporary"),
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert (tmp_path / "first" / "of-first").exists() and (tmp_path / "second" / "of-second").exists()
        return done.stdout

    return run


def stand_in(folder, name: str, refused: str) -> None:
    """A program that fails for what is named `refused`, and is the real one otherwise."""
    program = folder / "commands" / name
    program.write_text(f'#!/bin/sh\ncase "$*" in *{refused}) exit 1;; esac\nexec {shutil.which(name)} "$@"\n')
    program.chmod(0o755)


def test_what_was_mounted_is_unmounted_and_stays(mounting, tmp_path):
    assert "of-first" in mounting()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_mount_that_fails_takes_the_one_before_with_it_and_no_file(mounting, tmp_path):
    stand_in(tmp_path, "mount", "second")
    assert "returned non-zero exit status" in mounting()
    assert not list((tmp_path / "temporary").iterdir())


def test_what_stays_mounted_is_not_deleted(mounting, tmp_path):
    stand_in(tmp_path, "umount", "second")
    printed = mounting()
    (root,) = (tmp_path / "temporary").iterdir()
    assert f"{root} stays, since these are still mounted: {root / 'second'}; unmount them" in printed
