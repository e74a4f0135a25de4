"""The report on a bundle's models."""

import shutil

import numpy as np
import pytest
from idletune_export.adapter_files import Adapter, write_peft_folder
from idletune_export.base import Base
from idletune_export.cli import main
from idletune_export.gguf_model import quantize, write_gguf_model
from idletune_export.hugging_face_folder import write_hugging_face_folder


@pytest.fixture
def models(tiny_path, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    hf = write_hugging_face_folder(tiny_path, tmp_path / "hf")
    half = write_gguf_model(hf, folder / "half.gguf")
    quantize(half, folder / "small.gguf", "Q4_0")
    return folder


def rows(text):
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_the_table_tells_good_from_worse(capsys, models, tmp_path):
    rng, base = np.random.default_rng(0), Base(models / "half.gguf")
    modules = {
        n: (rng.standard_normal((2, c)).astype(np.float32), rng.standard_normal((r, 2)).astype(np.float32) * 0.2)
        for n, (r, c) in base.shapes().items()
        if n.endswith("q_proj")
    }
    write_peft_folder(Adapter(2.0, modules), tmp_path / "peft", "base")
    arguments = ["verify", str(models), "--original", str(tmp_path / "hf"), "--adapter", str(tmp_path / "peft")]
    assert main(arguments) == 0
    table = rows(capsys.readouterr().out)
    assert table["original"][2] == "+0.00%" and table["original"][3] == "0.0000"
    half, small = (
        np.array([float(table[name][column]) for column in (3, 4, 8, 9)]) for name in ("half.gguf", "small.gguf")
    )
    assert (half < 0.2 * small).all() and (half > 0).all()
    assert table["half.gguf"][7] != table["half.gguf"][1]  # the adapter changes the perplexity
    assert float(table["half.gguf"][5]) > 0 and float(table["half.gguf"][6]) > 0


def test_a_folder_without_models_is_one_line(capsys, tmp_path):
    assert main(["verify", str(tmp_path)]) == 2
    assert "no .gguf and no base.onnx" in capsys.readouterr().err


def test_a_changed_bundle_is_refused(capsys, models):
    shutil.move(models / "small.gguf", models / "base.gguf")
    files = '{"base.gguf": {"bytes": 1, "sha256": ""}}'
    (models / "manifest.json").write_text('{"format": 1, "shape": {}, "files": ' + files + "}")
    assert main(["verify", str(models)]) == 2
    assert "its manifest says 1" in capsys.readouterr().err
