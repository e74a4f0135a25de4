"""The graphs that ship with the package are those that `make graphs` writes, and hold to their promises."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from idletune.formats.families import used_kinds
from idletune.formats.sublayers import may_be_adapted
from idletune.onnx_runtime.dequantizer import GRAPHS as DEQUANTIZE_GRAPHS
from idletune.training.graph_files import GRAPHS, sublayer_graph
from idletune_export.dequantize_graphs import export_dequantize_graphs
from idletune_export.graphs.files import write_training_graphs

MOST_BYTES = 6_000_000


def graphs_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.onnx"))


@pytest.mark.parametrize(
    "folder, export", [(DEQUANTIZE_GRAPHS, export_dequantize_graphs), (GRAPHS, write_training_graphs)]
)
def test_shipped_graphs_are_those_that_are_made(tmp_path, folder, export):
    export(tmp_path)
    assert graphs_of(folder) == graphs_of(tmp_path)
    different = [name for name in graphs_of(folder) if (folder / name).read_bytes() != (tmp_path / name).read_bytes()]
    assert not different, f"{len(different)} graphs are not what the sources make, {different[0]} first: make graphs"


def test_they_are_small():
    assert sum(path.stat().st_size for folder in (GRAPHS, DEQUANTIZE_GRAPHS) for path in folder.rglob("*")) < MOST_BYTES


def test_standard_operators_of_opset_20_and_neither_parameters_nor_sizes_of_a_model():
    for name in graphs_of(GRAPHS):
        model = onnx.load(GRAPHS / name)
        onnx.checker.check_model(model)
        assert all(entry.domain == "" and entry.version <= 20 for entry in model.opset_import), name
        assert {node.domain for node in model.graph.node} <= {""}, name
        constants = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
        values = [onnx.numpy_helper.to_array(tensor) for tensor in (*constants, *model.graph.initializer)]
        assert sum(value.size for value in values) < 500, name
        integers = [value for value in values if value.dtype == np.int64]
        assert all(np.abs(value).max() < 10 for value in integers), name
        inputs = [value.type.tensor_type.shape.dim for value in model.graph.input]
        assert {d.dim_value for dims in inputs for d in dims} <= {0, 1}, name  # 0: a name stands for it


@pytest.mark.parametrize("kind", used_kinds(), ids=lambda kind: kind.name)
def test_the_forward_graph_saves_what_the_backward_graph_takes(kind):
    for int8 in (False, True):
        for adapted in (False, True) if may_be_adapted(kind) else (False,):
            forward, backward = (
                onnx.load(sublayer_graph(GRAPHS, kind, adapted=adapted, int8=int8, backward=side)).graph
                for side in (False, True)
            )
            saved = {value.name for value in forward.output} - {"y", "keys", "values"}
            assert saved <= {value.name for value in backward.input}
            lora = {value.name.replace(".lora_", ".d_lora_") for value in forward.input if ".lora_" in value.name}
            assert {value.name for value in backward.output} == {"dx", *lora} and bool(lora) == adapted
