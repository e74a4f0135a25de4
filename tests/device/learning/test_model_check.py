"""idletune check: what it says of a model that trains, and why another does not."""

import json

import pytest
from idletune.commands.cli import main
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.tensor_types import TYPE_IDS
from idletune.learning.model_check import check_model, known_models
from idletune.settings import Settings
from mutated_gguf import BOOL, Editable
from tiny_model import write_tiny_model

SETTINGS = Settings(threads=1, context_tokens=512)


@pytest.fixture(scope="module")
def report(tiny_path):
    return check_model(tiny_path, SETTINGS)


def test_a_model_that_trains(report):
    assert report.supported and not report.refusal and report.architecture == "llama"
    assert report.block_formats == {"Q8_0": 15, "F32": 5} and "SmolLM2" in report.family
    assert report.adapter.first_layer == 1 and report.adapter.layers == 2
    assert report.adapter.parameters == 16 * (3 * (64 + 96)) and report.planned_mb <= report.budget_mb


def test_the_probe_measures_a_step_and_says_what_a_night_takes(report):
    night = report.night
    assert night.answers == 32 and night.steps >= SETTINGS.min_steps and night.step_seconds > 0
    least = night.steps * night.step_seconds  # and what the first step loads, where that takes any time
    assert night.minutes * 60 >= least * (1 - 1e-9) and night.slices >= 1
    assert night.peak_mb is None or night.peak_mb < report.planned_mb


@pytest.fixture
def changed(tiny_path, tmp_path):
    def write(change) -> object:
        editable = Editable(tiny_path)
        change(editable)
        return editable.write(tmp_path / "changed.gguf")

    return write


def test_a_family_that_is_not_known_names_those_that_are(tmp_path):
    path = write_tiny_model(tmp_path / "other.gguf", architecture="mamba")
    report = check_model(path, SETTINGS)
    assert not report.supported and report.night is None and not report.family
    assert "architecture 'mamba' cannot be trained" in report.refusal and known_models() in report.refusal


def test_a_key_or_a_tensor_or_a_format_that_is_not_known_is_named(changed, tmp_path):
    path = changed(lambda file: file.set("llama.attention.causal", BOOL, False))
    assert "llama.attention.causal = False" in check_model(path, SETTINGS).refusal
    more = write_tiny_model(tmp_path / "more.gguf", further={"blk.0.attn_sinks.weight": 4})
    assert "blk.0.attn_sinks.weight" in check_model(more, SETTINGS).refusal

    def retype(file):
        next(tensor for tensor in file.tensors if tensor[0] == b"blk.1.ffn_up.weight")[2] = TYPE_IDS["NVFP4"]

    assert "blk.1.ffn_up.weight has the type NVFP4" in check_model(changed(retype), SETTINGS).refusal


def test_what_does_not_fit_says_how_much_it_takes(tiny_path):
    report = check_model(tiny_path, Settings(threads=1, memory_mb=1))
    assert report.supported and "give at least" in report.refusal and report.night is None
    report = check_model(tiny_path, SETTINGS, free_mb=lambda: 50.0)
    assert report.supported and "50 MB of memory are free" in report.refusal and report.night is None


def test_the_command_prints_one_screen_or_json_and_its_exit_code_tells(tiny_path, tmp_path, capsys):
    options = ["--set", "threads=1", "--set", "window_reserve_mb=0"]
    assert main(["check", str(tiny_path), *options]) == 0
    page = capsys.readouterr().out
    assert len(page.splitlines()) < 20 and "verdict   fits" in page and "measured" in page
    assert main(["check", str(tiny_path), "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["supported"] and found["fits"] and found["night"]["steps"] >= 24
    other = write_tiny_model(tmp_path / "other.gguf", architecture="mamba")
    assert main(["check", str(other), "--json"]) == 2
    told = capsys.readouterr()
    assert not json.loads(told.out)["supported"] and told.err.count("\n") == 1 and "cannot be trained here" in told.err


def test_what_is_no_model_is_an_error(tmp_path):
    path = tmp_path / "no.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises((UsageError, DamagedDataError)):
        check_model(path, SETTINGS)
