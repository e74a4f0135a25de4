"""Training runs on the package onnxruntime and on its C library alone: the tests here on both."""

import pytest


@pytest.fixture(autouse=True)
def binding(request, use_binding) -> str:
    use_binding(getattr(request, "param", "package"))


def pytest_generate_tests(metafunc):
    """What needs PyTorch on a large model runs once; test_graph.py compares the bindings' bytes."""
    if {"model_path", "architecture", "use_binding"}.isdisjoint(metafunc.fixturenames):
        metafunc.parametrize("binding", ["package", "library"], indirect=True)
