"""What few bits are spent on is measured in every class that transformers has, fused and unlike layers included."""

import gguf
import numpy as np
import pytest
from families.made import folder_of, make_missing
from gguf.quants import dequantize
from idletune_export.base import Base
from idletune_export.gguf_model import quantize
from idletune_export.importance import column_importance


@pytest.mark.parametrize("name", ["phi3", "lfm2"])
def test_importance_lowers_the_error_where_it_counts(name, tmp_path):
    make_missing([name])
    whole = folder_of(name) / "f32.gguf"
    importance = column_importance(folder_of(name) / "original")
    assert set(importance) == set(Base(whole).gguf_names().values())
    weighted, plain = (
        quantize(whole, tmp_path / f"{n}.gguf", "Q4_0", used) for n, used in enumerate((importance, None))
    )
    exact = matrices(whole, importance)
    errors = [
        sum(
            ((found - exact[tensor]) ** 2 * importance[tensor]).sum()
            for tensor, found in matrices(path, importance).items()
        )
        for path in (weighted, plain)
    ]
    assert errors[0] < 0.98 * errors[1]


def matrices(path, names) -> dict[str, np.ndarray]:
    tensors = (tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name in names)
    return {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in tensors}
