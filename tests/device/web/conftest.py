"""The HTTP server over the tiny model."""

import pytest
from served import Web


@pytest.fixture
def web(home, tiny_path):
    served = Web(home, tiny_path)
    yield served
    served.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, tiny_path):
    """One for all tests of a file that change nothing."""
    served = Web(tmp_path_factory.mktemp("shared") / "home", tiny_path)
    yield served
    served.close()
