"""The two ways to ONNX Runtime: the same bytes, the same errors."""

import subprocess
import sys

import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.onnx_runtime.dequantizer import GRAPHS
from idletune.onnx_runtime.graph import Graph
from idletune.settings import Settings
from idletune.training.graph_files import GRAPHS as TRAINING_GRAPHS
from idletune.training.packing import pack
from idletune.training.trainer import Trainer
from reference import make_layers, random_examples

BINDINGS = ("package", "library")
HEAD = TRAINING_GRAPHS / "head" / "loss.onnx"
WITHOUT_THE_PACKAGE = """
import sys
sys.modules["onnxruntime"] = None
from pathlib import Path
import idletune.runtime, idletune.rpc
from idletune.errors import UsageError
from idletune.onnx_runtime.graph import Graph
try:
    print(len(Graph(Path(sys.argv[1]), 1).inputs))
except UsageError as error:
    print(error)
"""


def test_training_gives_the_same_bytes(tiny_path, use_binding):
    adapters, losses = [], []
    for name in BINDINGS:
        use_binding(name)
        layers = make_layers(tiny_path, targets="q,k,v,o,gate,up,down")
        examples = random_examples(layers.shape.vocabulary, (20, 30, 11, 25))
        trainer = Trainer(
            layers, examples, Settings(epochs=3, min_steps=0, sequence_tokens=48, learning_rate=3e-3), None
        )
        losses.append(trainer.run().losses)
        adapters.append(trainer.lora.flat.tobytes())
    assert adapters[0] == adapters[1] and losses[0] == losses[1]


@pytest.mark.parametrize("recompute", [0, 2, 99])
def test_a_real_step_gives_the_same_bytes(model_path, use_binding, recompute):
    results = []
    for name in BINDINGS:
        use_binding(name)
        layers = make_layers(model_path, recompute=recompute, resident=0)
        gradient = np.zeros(layers.lora.size, np.float32)
        loss, _ = layers.gradients(pack(random_examples(layers.shape.vocabulary, (30, 21))), gradient, 1.0)
        results.append((loss, gradient.tobytes()))
    assert results[0] == results[1]


def test_names_of_inputs_and_outputs(use_binding):
    found = []
    for name in BINDINGS:
        use_binding(name)
        graph = Graph(HEAD, 1)
        found.append((graph.inputs, graph.outputs))
    assert found[0] == found[1] and all(found[0])


def test_a_broken_graph_is_told_in_onnx_runtimes_words(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(HEAD.read_bytes()[:-100])
    with pytest.raises(DamagedDataError, match=f"{broken} does not load .*[Pp]rotobuf.*; export it again"):
        Graph(broken, 1)


def test_another_number_of_threads_is_refused():
    Graph(HEAD, 1)
    with pytest.raises(UsageError, match="has 1 threads in this process already, not 3"):
        Graph(HEAD, 3)


def test_inputs_of_a_wrong_shape_are_told_in_onnx_runtimes_words():
    graph = Graph(GRAPHS / "Q4_0.onnx", 1)
    inputs = {name: np.zeros((3, 5), np.uint8) for name in graph.inputs}
    with pytest.raises(Exception, match="(?i)invalid|shape|dimension"):
        graph.run(inputs, {name: np.zeros((1, 1), np.float32) for name in graph.outputs})


@pytest.mark.parametrize(
    "library, said",
    [
        ("", "ONNX Runtime does not load from libonnxruntime.so"),
        ("/none.so", "does not load from /none.so"),
        ("libc.so.6", "OrtGetApiBase"),
    ],
)
def test_without_the_package_the_library_is_named_when_it_is_missing(library, said, monkeypatch):
    monkeypatch.setenv("IDLETUNE_ONNXRUNTIME", library)
    assert said in _without_the_package()


def test_without_the_package_everything_imports_and_a_graph_loads(c_library, monkeypatch):
    monkeypatch.setenv("IDLETUNE_ONNXRUNTIME", c_library)
    assert int(_without_the_package()) > 3


def _without_the_package() -> str:
    command = [sys.executable, "-c", WITHOUT_THE_PACKAGE, str(HEAD)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
