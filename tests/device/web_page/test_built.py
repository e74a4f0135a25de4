"""The page as it ships: small, whole, free of what the content policy forbids, and built from its sources."""

import gzip
import re
import shutil
import subprocess

import pytest
from building import ROOT

SOURCES, BUILT = ROOT / "device" / "web_page", ROOT / "device" / "idletune" / "web" / "page"
MOST_BYTES = 150_000


def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_that_the_page_names_ships_with_it():
    html = (BUILT / "index.html").read_text()
    named = re.findall(r'(?:src|href)="/([^"]+)"', html)
    assert len(named) == 3 and set(named) <= files(BUILT).keys()


def test_nothing_in_it_is_inline_or_from_elsewhere():
    html = (BUILT / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]* src=)|javascript:", html)
    for name, data in files(BUILT).items():
        found = set(re.findall(rb"https?://[\w.]+", data)) - {b"http://www.w3.org"}
        assert not found, f"{name} names {found}"
        assert b"eval(" not in data and b"new Function" not in data


def test_no_source_makes_html_of_text():
    for path in (SOURCES / "src").rglob("*.ts*"):
        assert not re.search("innerHTML|outerHTML|insertAdjacentHTML|document.write", path.read_text(), re.I), path


def test_it_is_small():
    assert sum(len(gzip.compress(data)) for data in files(BUILT).values()) < MOST_BYTES


@pytest.fixture(scope="module")
def node_modules():
    """The packages that build it, as the lock file names them."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("npm is not installed, so the page is not built anew")
    if not (SOURCES / "node_modules" / ".package-lock.json").exists():
        done = subprocess.run(["npm", "ci", "--silent"], cwd=SOURCES, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm cannot install what builds the page: {done.stderr[-300:]}")


@pytest.mark.slow
def test_it_is_built_from_its_sources(node_modules, tmp_path):
    subprocess.run(["node", "build.mjs", str(tmp_path / "page")], cwd=SOURCES, check=True)
    built, shipped = files(tmp_path / "page"), files(BUILT)
    assert built.keys() == shipped.keys()
    stale = [name for name in built if built[name] != shipped[name]]
    assert not stale, f"{stale} are not built from these sources: make page"


@pytest.mark.slow
def test_its_types_are_right(node_modules):
    done = subprocess.run(["npm", "run", "--silent", "check"], cwd=SOURCES, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
