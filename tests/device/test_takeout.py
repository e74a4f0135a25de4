"""What was learned, in forms that others read: written once, recorded, and read back."""

import base64
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from idletune.chat_files import Source, open_chat_file
from idletune.commands.cli import main
from idletune.errors import UsageError
from idletune.formats.families import FAMILIES
from idletune.formats.gguf_file import GgufFile, sha256
from idletune.formats.model_shape import ModelShape
from idletune.formats.module_names import ModuleNames
from idletune.formats.peft_folder import peft_files, safetensors
from idletune.rpc import Dispatcher
from idletune.runtime import Runtime
from idletune.settings import Settings
from idletune.state.copies import copies
from idletune.takeout import answer_lines, export_adapter, export_answers
from idletune.training.lora import Lora, read_adapter
from rpc_caller import Caller

SETTINGS = Settings(threads=1, quiet_from=0, quiet_until=0, daily_limit=100, observe_share=1.0)
ANSWERS = ["plain", "two\nlines \u05e9\u05dc\u05d5\u05dd", 'a "quoted" \U0001f35e \\ end']


@pytest.fixture
def runtime(tiny_path, home):
    with Runtime(home, tiny_path, SETTINGS, sequences=2) as opened:
        for n, text in enumerate(ANSWERS):
            opened.observe_exchange(f"what about {n}?", "a reply")
            opened.queue.edit(opened.next_prompt().id, text)
        opened.observe_exchange("never answered?", "a reply")
        yield opened


@pytest.fixture
def adapter(runtime, tiny_path):
    lora = Lora(ModelShape.of(GgufFile(tiny_path)), "q,k,down", 4, 8.0).initialize(1)
    lora.flat += 0.01
    version = runtime.adapters.add(lora, SETTINGS, [1, 2]).version
    runtime.adapters.promote(version, {}, "a test's")
    return version


def test_answers_come_back_as_they_went(runtime, tmp_path, tiny_path):
    assert export_answers(runtime.store, tmp_path / "answers.jsonl", "Be brief.") == 3
    assert oct(os.stat(tmp_path / "answers.jsonl").st_mode)[-3:] == "600"
    first = json.loads((tmp_path / "answers.jsonl").read_text().splitlines()[0])["messages"]
    assert first[0] == {"role": "system", "content": "Be brief."}
    file = open_chat_file(Source.of(tmp_path / "answers.jsonl"))
    assert file.format.name == "openai" and runtime.preview_import(file).exchanges == 3
    with Runtime(tmp_path / "other", tiny_path, SETTINGS, sequences=2) as other:
        list(other.import_conversations(file, other.preview_import(file)))
        assert answer_lines(other.store) == answer_lines(runtime.store)
    (copy,) = copies(runtime.store)
    assert (copy.kind, copy.path) == ("answers", tmp_path / "answers.jsonl")
    assert copy in runtime.preview_forget(1).copies and not runtime.preview_forget(4).copies


def test_nothing_is_overwritten_and_no_record_is_left_of_a_failure(runtime, tmp_path):
    (tmp_path / "there.jsonl").write_text("mine")
    for place in (tmp_path / "there.jsonl", tmp_path / "no" / "folder.jsonl"):
        with pytest.raises(UsageError, match="name a file that does not exist yet"):
            export_answers(runtime.store, place)
    assert (tmp_path / "there.jsonl").read_text() == "mine" and not copies(runtime.store)


def test_an_adapter_as_gguf_is_its_own_file(runtime, adapter, tmp_path, tiny_path):
    assert export_adapter(runtime.adapters, tmp_path / "a.gguf", tiny_path).version == adapter
    assert sha256(tmp_path / "a.gguf") == runtime.adapters.get(adapter).file_sha256
    shape = ModelShape.of(GgufFile(tiny_path))
    assert read_adapter(tmp_path / "a.gguf", shape).rank == 4
    assert [copy.kind for copy in runtime.preview_forget(1).copies] == ["adapter"]
    assert runtime.adapters.own_version(sha256(tmp_path / "a.gguf")) == adapter


def test_an_adapter_as_a_peft_folder(runtime, adapter, tmp_path, tiny_path):
    export_adapter(runtime.adapters, tmp_path / "peft", tiny_path, adapter)
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["layers_to_transform"]) == (4, 8.0, [0, 1])
    assert config["target_modules"] == ["mlp.down_proj", "self_attn.k_proj", "self_attn.q_proj"]
    with pytest.raises(UsageError, match="name a folder that does not exist yet"):
        export_adapter(runtime.adapters, tmp_path / "peft", tiny_path)
    assert len(copies(runtime.store)) == 1


def test_without_an_adapter_or_a_known_architecture(runtime, tmp_path, tiny_path, monkeypatch):
    with pytest.raises(UsageError, match="no adapter serves"):
        export_adapter(runtime.adapters, tmp_path / "a.gguf", tiny_path)
    with pytest.raises(UsageError, match="no adapter version 9"):
        export_adapter(runtime.adapters, tmp_path / "a.gguf", tiny_path, 9)


def test_what_has_no_name_in_transformers_is_refused_by_name(runtime, adapter, tiny_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "llama", replace(FAMILIES["llama"], names=ModuleNames(("llama",), modules={})))
    with runtime.adapters.readable(runtime.adapters.get(adapter)) as path:
        with pytest.raises(UsageError, match="attn_q.weight.lora_a, which has no name in PEFT here; export it as NAME"):
            peft_files(path, tiny_path)


def test_a_safetensors_header_is_aligned():
    for name in ("a", "ab", "abcdefg"):
        data = safetensors({name: np.ones((2, 3), "<f4")})
        assert int.from_bytes(data[:8], "little") % 8 == 0
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        assert header[name] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def test_the_command_line_and_the_dispatcher(runtime, adapter, tmp_path, tiny_path, home, capsys):
    runtime.close()
    assert main(["export", "answers", str(tmp_path / "a.jsonl")]) == 0
    assert main(["export", "adapter", str(tmp_path / "a.gguf"), "--model", str(tiny_path)]) == 0
    assert main(["export", "adapter", str(tmp_path / "peft"), "--model", str(tiny_path), "--version", "1"]) == 0
    printed = capsys.readouterr().out
    assert "3 answers in" in printed and "adapter 1 in" in printed
    dispatcher = Dispatcher()
    call = Caller(dispatcher.handle)
    try:
        call("open", model=str(tiny_path), home=str(home))
        assert call("export_answers")["data"] == (tmp_path / "a.jsonl").read_text()
        assert call("export_answers", path=str(tmp_path / "b.jsonl")) == {"answers": 3}
        assert base64.b64decode(call("export_adapter")["data"]) == (tmp_path / "a.gguf").read_bytes()
        assert call("export_adapter", path=str(tmp_path / "b.gguf"), version=1) == {"version": 1}
        assert len(call("copies")["copies"]) == 7
    finally:
        dispatcher.close()
