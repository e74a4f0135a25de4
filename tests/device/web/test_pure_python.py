"""What the HTTP server needs is pure Python, so that pip installs it in Termux, where no wheel of native code fits."""

from importlib.metadata import distribution

from packaging.requirements import Requirement


def needed(name: str, extras: set[str]) -> set[str]:
    """The installed distributions that one needs, itself included, here and without its other extras."""
    found, names = distribution(name), {name}
    for text in found.requires or ():
        wanted = Requirement(text)
        places = [{"extra": extra} for extra in extras or {""}]
        if wanted.marker is None or any(wanted.marker.evaluate(place) for place in places):
            names |= needed(wanted.name, wanted.extras)
    return names


def test_the_server_and_all_it_needs_is_pure_python():
    names = needed("starlette", set()) | needed("uvicorn", set())
    assert {"anyio", "h11", "click"} <= names
    for name in names:
        wheel = distribution(name).read_text("WHEEL") or ""
        assert "Root-Is-Purelib: true" in wheel, f"{name} is not pure Python"


def test_a_package_that_is_not_is_noticed():
    assert "Root-Is-Purelib: true" not in (distribution("numpy").read_text("WHEEL") or "")
