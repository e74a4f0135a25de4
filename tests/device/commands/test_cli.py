"""The command line as a person meets it: exit codes, one clear line, a replay end to end."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from idletune.commands.cli import main
from idletune.errors import UsageError
from idletune.figure import save_figure
from idletune.state.store import Store

FIELDS = {
    "base",
    "adapted",
    "general_probe",
    "selected",
    "asked",
    "synthesized",
    "adapter",
    "seconds",
    "tokens_per_second",
    "peak_rss_mb",
}


@pytest.fixture
def conversation_file(tmp_path):
    path = tmp_path / "talk.jsonl"
    lines = [{"question": f"what about {i}?", "response": "aaaa aaaa aaaa", "user": "ann"} for i in range(30)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def failed(capsys, *argv) -> str:
    assert main([str(a) for a in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("idletune: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, tiny_path, conversation_file):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_path.read_bytes()[:-999])
    assert "truncated" in failed(capsys, "status", "--model", cut)
    assert "no base model" in failed(capsys, "status", "--model", tmp_path / "none.gguf")
    (tmp_path / "bad.jsonl").write_text('{"question": "a", "response": "b"}\n{"question": ')
    assert "line 2" in failed(capsys, "replay", tmp_path / "bad.jsonl", "--model", tiny_path)
    assert "no exchange of user 'bob'" in failed(
        capsys, "replay", conversation_file, "--user", "bob", "--model", tiny_path
    )
    assert "no setting 'colour'" in failed(
        capsys, "replay", conversation_file, "--set", "colour=1", "--model", tiny_path
    )
    assert "choose from recent_diverse" in failed(
        capsys, "replay", conversation_file, "--policy", "best", "--model", tiny_path
    )
    assert "too few" in failed(capsys, "replay", conversation_file, "--limit", "4", "--model", tiny_path)


def test_an_empty_key_file_is_no_key_left_out(capsys, tiny_path, home):
    """As `--key-file "$KEY"` gives it where KEY is not set."""
    assert "cannot read the key file" in failed(capsys, "status", "--model", tiny_path, "--key-file", "")
    assert not (home / "idletune.db").exists()


@pytest.mark.parametrize("command", [["simulate", "--days", "1"], ["replay"]])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    capsys,
    tmp_path,
    tiny_path,
    conversation_file,
    monkeypatch,
    command,
):
    command = [*command, *([conversation_file, "--model", tiny_path] if command == ["replay"] else [])]
    monkeypatch.setattr("idletune.commands.replay_commands.simulate", None)
    monkeypatch.setattr("idletune.commands.replay_commands.replay", None)
    assert "neither .png nor .svg" in failed(capsys, *command, "--picture", tmp_path / "x.foo")
    assert "cannot write" in failed(capsys, *command, "--picture", tmp_path / "none" / "x.png")
    if "replay" in command:
        assert "cannot write" in failed(capsys, *command, "--json", tmp_path)


def test_a_picture_that_cannot_be_written_in_the_end_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="cannot write .*none"):
        save_figure(tmp_path / "none" / "x.png", lambda axes: None)


@pytest.mark.slow
def test_other_characters_than_the_terminals_end_nothing(tmp_path, tiny_path, home):
    command = [sys.executable, "-m", "idletune.commands.cli", "chat", "--model", str(tiny_path), "--set", "seed=3"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, input=b"caf\xe9?\n", capture_output=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    with Store(home) as store:
        assert store.row("SELECT question FROM dialogue_sets")["question"] == "caf\ufffd?"
        with store.transaction() as db:
            db.execute("UPDATE dialogue_sets SET reply = '\N{DOG FACE}'")
    command[3:4] = ["ask", "--set", "quiet_from=0", "--set", "quiet_until=0"]
    environment["PYTHONIOENCODING"] = "latin-1:strict"
    done = subprocess.run(command, capture_output=True, env=environment, timeout=300)
    assert done.returncode == 0 and b"it said '?'" in done.stdout, done.stderr


def test_the_folder_of_a_bundle_is_a_model(capsys, tmp_path, tiny_path):
    assert "no base model at" in failed(capsys, "status", "--model", tmp_path)
    shutil.copy(tiny_path, tmp_path / "base.gguf")
    assert main(["status", "--json", "--model", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == str(tmp_path / "base.gguf")


def test_an_unknown_command_is_wrong_use():
    with pytest.raises(SystemExit) as exit:
        main(["dance"])
    assert exit.value.code == 2


def test_status_of_an_empty_home(capsys, tiny_path, home):
    assert main(["status", "--json", "--model", str(tiny_path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["buffer"] == {"kept": 0, "bins": 128, "seen": 0} and facts["adapter"] is None
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_replay_runs_the_whole_loop(tmp_path, tiny_path, conversation_file):
    """In a process of its own, as a person runs it; on the tiny model."""
    model = tmp_path / "model.gguf"
    shutil.copy(tiny_path, model)
    settings = [
        "threads=1",
        "epochs=10",
        "min_steps=0",
        "suspicious_fall=1",
        "learning_rate=0.01",
        "probe_tolerance=10",
        "engine_tolerance=0.3",
        "suspicious_fall=1",  # a random model forgets everything for its few answers
        "paraphrases=1",
    ]
    command = [sys.executable, "-m", "idletune.commands.cli", "replay", str(conversation_file), "--model", str(model)]
    command += ["--json", str(tmp_path / "out.json"), "--picture", str(tmp_path / "out.png")]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    assert FIELDS <= set(report)
    assert report["adapter"]["promoted"], report["adapter"]["reason"]
    assert report["adapted"]["nll_llama_cpp"] < 0.8 * report["base"]["nll_llama_cpp"]
    assert report["adapted"]["nll_trainer"] == pytest.approx(report["adapted"]["nll_llama_cpp"], abs=0.05)
    assert report["base"]["nll_trainer"] == pytest.approx(report["base"]["nll_llama_cpp"], rel=0.02)
    assert report["asked"] == 15 and report["selected"] == 24  # three days of five questions
    assert report["held_out_exchanges"] == 6
    assert "gate: promoted" in done.stdout and "wanted" in done.stdout
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
