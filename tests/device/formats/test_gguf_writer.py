"""Files that we write."""

import gguf
import numpy as np
from idletune.formats.gguf_writer import write_gguf


def test_the_gguf_package_reads_what_we_write(tmp_path):
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(5, np.float32)}
    write_gguf(tmp_path / "out.gguf", {"general.architecture": "llama", "n": 3, "x": 0.5}, arrays)
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    for tensor in reader.tensors:
        np.testing.assert_array_equal(tensor.data.reshape(arrays[tensor.name].shape), arrays[tensor.name])
    assert reader.fields["n"].contents() == 3 and reader.fields["x"].contents() == 0.5
    assert reader.fields["general.architecture"].contents() == "llama"
