"""The graphs that ship with the package are those that export makes, and hold to their promises."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from idletune.errors import UsageError
from idletune.model.onnx_session import open_session
from idletune.training.graph_files import PACKAGED_GRAPHS, VARIANTS, find_graphs
from idletune.training.rows import lay_out
from idletune.training.shape import BlockShape
from idletune_export import training_graphs
from idletune_export.cli import main, make_parser
from idletune_export.int8_graphs import export_int8_graphs
from idletune_export.unpack_graphs import export_unpack_graphs

SHIPPED = PACKAGED_GRAPHS / "smollm2-135m"
NAMES = ["head_start", "head_total", "head_gather", "head_end"]
WAYS = "forward", "backward", "forward_int8", "backward_int8"
NAMES += [f"{variant}/block_{way}" for variant in VARIANTS for way in WAYS]


@pytest.fixture(scope="module")
def made(exported):
    return exported("smollm2-135m")


def random_inputs(graph, seed=0):
    """Inputs of a row of two sets with a common beginning, by the graph's own names and shapes."""
    rng, layout = np.random.default_rng(seed), lay_out(3, [13, 6])
    sizes = {"T": 22, "B": 2, "L": 13, "R": 4, "n": 7, "V": 50}
    inputs = {**vars(layout), "scale": np.array(2.0, np.float32)}
    for value in graph.graph.input:
        if value.name not in inputs:
            dims = [d.dim_value or sizes[d.dim_param] for d in value.type.tensor_type.shape.dim]
            kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            spread = 40 if kind == np.int8 else 0.1
            inputs[value.name] = (spread * rng.standard_normal(dims)).astype(kind)
    return inputs


def run(path):
    graph, session = onnx.load(path), open_session(path, threads=1)
    inputs = {k: v for k, v in random_inputs(graph).items() if k in {i.name for i in session.get_inputs()}}
    return session.run(None, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_graphs_equal_exported_ones(made, name):
    for ours, theirs in zip(run(SHIPPED / f"{name}.onnx"), run(made / f"{name}.onnx"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert onnx.load(SHIPPED / f"{name}.onnx").graph.input == onnx.load(made / f"{name}.onnx").graph.input
    assert (SHIPPED / "shape.json").read_text() == (made / "shape.json").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_standard_operators_of_opset_20_and_no_parameters(name):
    model = onnx.load(SHIPPED / f"{name}.onnx")
    assert [(o.domain, o.version) for o in model.opset_import if o.domain == ""] == [("", 20)]
    assert {node.domain for node in model.graph.node} <= {""}
    assert sum(np.prod(t.dims) for t in model.graph.initializer) < 1000
    onnx.checker.check_model(model)


@pytest.mark.parametrize("kind, export", [("unpack", export_unpack_graphs), ("int8", export_int8_graphs)])
def test_shipped_graphs_of_all_models_are_the_exported_ones(tmp_path, kind, export):
    export(tmp_path)
    shipped = sorted((PACKAGED_GRAPHS / kind).glob("*.onnx"))
    assert [p.name for p in shipped] == sorted(p.name for p in tmp_path.glob("*.onnx"))
    for path in shipped:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_what_ships_is_small():  # for two models
    assert sum(p.stat().st_size for p in PACKAGED_GRAPHS.rglob("*") if p.is_file()) < 800_000


def test_the_command_that_the_device_names_is_one():
    with pytest.raises(UsageError, match="beside the model") as error:
        find_graphs(BlockShape("llama", 1, 1, 1, 1, 1, 1e-5))
    command = str(error.value).split("idletune-export ")[1].split()
    assert make_parser().parse_args(command).output == Path("training")


def test_a_stopped_export_leaves_nothing_and_mixes_into_nothing(tiny_path, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training_graphs, "export_block", stop)
    folder = tmp_path / "training"
    assert main(["graphs", str(tiny_path), "-o", str(folder)]) == 130
    assert not [*tmp_path.iterdir()] and "nothing half-written is left" in capsys.readouterr().err
    folder.mkdir()
    assert main(["graphs", str(tiny_path), "-o", str(folder)]) == 2
    assert not [*folder.iterdir()] and "exists; name another place" in capsys.readouterr().err
