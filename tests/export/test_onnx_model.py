"""The ONNX inference model answers as transformers and llama.cpp do, with adapters and without."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from idletune.commands.cli import main
from idletune.errors import DamagedDataError, UsageError
from idletune.model.base_model import BaseModel
from idletune.model.chat_template import conversation
from idletune.onnx_runtime.session import open_session
from idletune.runtime import Runtime
from idletune.telemetry import import_onnxruntime
from idletune_export.adapter_files import Adapter, convert_adapter, write_peft_folder
from idletune_export.base import Base
from idletune_export.hugging_face_folder import write_hugging_face_folder
from idletune_export.onnx_model import write_onnx_models
from idletune_export.parity import compare, next_token_loss
from idletune_export.reference import Reference
from loop import SETTINGS

TEXT = "What is the thickest ice of 2026?\n\n  naïve 日本 🐕 isn't IT'S 12345\t= x"
GREEDY = dict(max_tokens=8, temperature=0.0, top_p=1.0)


@pytest.fixture(scope="module")
def folder(tiny_path, tmp_path_factory):
    """Beside base.gguf: hf (the original), onnx (fp32), int8, int4."""
    folder = tmp_path_factory.mktemp("onnx")
    shutil.copy(tiny_path, folder / "base.gguf")
    write_hugging_face_folder(tiny_path, folder / "hf", np.float32)
    places = {"fp32": folder / "onnx", "int8": folder / "int8", "int4": folder / "int4"}
    write_onnx_models(folder / "hf", places, folder)
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    return Reference(folder / "hf")


@pytest.fixture(scope="module")
def model(folder):
    with BaseModel(folder / "base.gguf", context_tokens=512, sequences=2, threads=1, backend="onnx") as model:
        yield model


@pytest.fixture(scope="module")
def adapter(folder):
    """A strong adapter as a PEFT folder, a GGUF and an .onnx_adapter."""
    rng, base = np.random.default_rng(0), Base(folder / "hf")
    modules = {
        name: tuple(0.3 * rng.standard_normal(shape).astype(np.float32) for shape in ((4, columns), (rows, 4)))
        for name, (rows, columns) in base.shapes().items()
        if not name.endswith("v_proj")
    }
    write_peft_folder(Adapter(8.0, modules), folder / "peft", "base")
    for name in ("adapter.gguf", "adapter.onnx_adapter"):
        convert_adapter(folder / "peft", folder / name, folder / "base.gguf")
    return folder


def difference(model, reference, tokens):
    return compare({"original": reference.logits, "ours": model.logits}, [tokens])["ours"]


def test_fp32_logits_are_those_of_transformers(model, reference):
    tokens = model.tokenize(TEXT)
    assert tokens == reference.tokenize(TEXT)
    assert difference(model, reference, tokens * 4).largest_difference < 1e-3


@pytest.mark.parametrize("kind, largest, smaller", [("int8", 0.05, 0.75), ("int4", 0.4, 0.6)])
def test_fewer_bits_are_smaller_and_close(folder, reference, kind, largest, smaller):
    with BaseModel(folder / kind / "base.onnx", context_tokens=128, sequences=1, threads=1, backend="onnx") as model:
        found = difference(model, reference, model.tokenize(TEXT))
    assert 1e-4 < found.relative_difference < largest
    sizes = [sum(t.stat().st_size for t in (folder / name).glob("base.onnx*")) for name in (kind, "onnx")]
    assert sizes[0] < smaller * sizes[1]


def test_three_engines_agree_with_the_same_adapter(folder, adapter, model, reference):
    tokens = model.tokenize(TEXT)
    base_loss = next_token_loss(reference.logits(tokens), tokens)
    reference.load_adapter(adapter / "peft")
    losses = {"transformers": next_token_loss(reference.logits(tokens), tokens)}
    reference.remove_adapter()
    for name in ("adapter.gguf", "adapter.onnx_adapter"):
        model.load_adapter(adapter / name)
        losses[name] = next_token_loss(model.logits(tokens), tokens)
    model.load_adapter(adapter / "adapter.gguf", scale=0.0)
    assert next_token_loss(model.logits(tokens), tokens) == pytest.approx(base_loss, rel=1e-4)
    model.remove_adapter()
    with BaseModel(folder / "base.gguf", context_tokens=128, sequences=1, threads=1) as engine:
        engine.load_adapter(adapter / "adapter.gguf")
        losses["llama.cpp"] = next_token_loss(engine.logits(tokens), tokens)
    assert abs(losses["transformers"] / base_loss - 1) > 0.05
    assert losses["adapter.gguf"] == pytest.approx(losses["transformers"], rel=1e-4)
    assert losses["adapter.onnx_adapter"] == pytest.approx(losses["transformers"], rel=1e-4)
    # The file's Q8_0 weights make llama.cpp multiply activations in 8 bits.
    assert losses["llama.cpp"] == pytest.approx(losses["transformers"], rel=2e-2)
    assert next_token_loss(reference.logits(tokens), tokens) == pytest.approx(base_loss)


def test_onnxruntimes_own_adapters_do_the_same(folder, adapter, model):
    ort = import_onnxruntime()
    tokens = model.tokenize(TEXT)
    model.load_adapter(adapter / "adapter.onnx_adapter")
    ours = model.logits(tokens)
    model.remove_adapter()
    session = open_session(folder / "onnx" / "base.onnx")
    loaded, options = ort.LoraAdapter(), ort.RunOptions()
    loaded.Load(str(adapter / "adapter.onnx_adapter"))
    options.add_active_adapter(loaded)
    n = len(tokens)
    feeds = {"input_ids": np.array([tokens]), "attention_mask": np.ones((1, n), np.int64)}
    feeds["position_ids"] = np.arange(n)[None]
    for value in session.get_inputs():
        if value.name.startswith("past_key_values."):
            feeds[value.name] = np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
    np.testing.assert_allclose(session.run(["logits"], feeds, options)[0][0], ours, atol=1e-4)


def test_bad_adapters_leave_the_one_in_use(adapter, model, tmp_path):
    model.load_adapter(adapter / "adapter.gguf")
    (tmp_path / "half.gguf").write_bytes((adapter / "adapter.gguf").read_bytes()[:-300])
    (tmp_path / "x.onnx_adapter").write_bytes(b"nothing of the kind")
    for path in (tmp_path / "half.gguf", tmp_path / "x.onnx_adapter", adapter / "base.gguf"):
        with pytest.raises(DamagedDataError):
            model.load_adapter(path)
        assert model.adapter == adapter / "adapter.gguf"
    model.remove_adapter()


def test_prompts_and_replies_are_those_of_llama_cpp(folder, model):
    questions = ["How are you?", "naïve café 🐕 日本", "line one\nline two"]
    with BaseModel(folder / "base.gguf", context_tokens=512, sequences=2, threads=1) as engine:
        prompts = [engine.encode_prompt(conversation(question)) for question in questions]
        assert prompts == [model.encode_prompt(conversation(question)) for question in questions]
        example = [m.encode_exchange("a question", "an answer", system="be kind") for m in (engine, model)]
        assert all((ours == theirs).all() for ours, theirs in zip(*example))
        ours, theirs = (m.negative_log_likelihood([example[0]])[0] for m in (model, engine))
        assert ours == pytest.approx(theirs, rel=2e-2)
        replies = [m.generate(prompts, seeds=[0] * 3, questions=questions, **GREEDY) for m in (model, engine)]
    for first, second in zip(*replies):
        assert first.tokens[:3] == second.tokens[:3]  # a random model's near ties turn on the last bit
        one, other = first.embeddings.question[0], second.embeddings.question[0]
        assert one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) > 0.99


@pytest.mark.parametrize("beginning", [100, 290, 380])
def test_prompts_with_a_long_beginning_in_common_find_room(folder, beginning):
    with BaseModel(folder / "base.gguf", context_tokens=2048, sequences=8, threads=1, backend="onnx") as model:
        model.engine.cells = 400
        prompts = [model.tokenize("x" * (beginning - 10) + letter * 10) for letter in "abcdefgh"]
        together = model.generate(prompts, seeds=[0] * 8, **GREEDY)
        alone = model.generate(prompts[3:4], seeds=[0], **GREEDY)
    assert together[3].tokens[:3] == alone[0].tokens[:3]


def test_the_cache_changes_nothing(model):
    messages = conversation("what is this?")
    first = model.chat(messages, seed=0, **GREEDY)
    longer = [*messages, {"role": "assistant", "content": first.text}, {"role": "user", "content": "and now?"}]
    cached = model.chat(longer, seed=0, **GREEDY)
    model.clear()
    assert model.chat(longer, seed=0, **GREEDY).tokens == cached.tokens
    tokens = model.tokenize(TEXT * 8)
    assert len(tokens) > 128  # more than one batch
    whole = model.logits(tokens)
    np.testing.assert_allclose(whole[:20], model.logits(tokens[:20]), atol=1e-4)


def test_sampled_answers_repeat_with_their_seed(model):
    prompt, warm = model.encode_prompt(conversation("hi")), dict(max_tokens=8, temperature=1.5, top_p=0.95)
    replies = [model.generate([prompt], seeds=[seed], **warm)[0].tokens for seed in (1, 1, 2)]
    assert replies[0] == replies[1] != replies[2]


def test_a_phone_without_llama_cpp_learns_too(folder, home):
    """Training reads base.gguf, the ONNX model answers and serves the adapter; the gate compares the two."""
    settings = replace(SETTINGS, reply_tokens=4)
    with Runtime(home, folder / "base.gguf", settings, sequences=2, backend="onnx") as runtime:
        for i in range(8):
            runtime.chat(f"question number {i} about bread")
            runtime.new_conversation()
        while (prompt := runtime.next_prompt()) is not None:
            runtime.queue.edit(prompt.id, "aaaa aaaa aaaa")
        report = runtime.learn()
        assert report.verdict.promoted, report.verdict.reason
        assert runtime.model.adapter == report.adapter.path
        assert report.evidence.engine_adapted < 0.9 * report.evidence.engine_base


def test_the_command_line_and_what_is_missing(capsys, folder, tiny_path, home, monkeypatch, tmp_path):
    lines = iter(["hello", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    arguments = ["chat", "--backend", "onnx", *("--set reply_tokens=3 --set threads=1 --set daily_limit=0".split())]
    assert main([*arguments, "--model", str(folder / "base.gguf")]) == 0
    assert main([*arguments, "--model", str(tiny_path)]) == 2
    assert "build the bundle with --onnx int4" in capsys.readouterr().err
    (tmp_path / "onnx").mkdir()
    shutil.copy(tiny_path, tmp_path / "base.gguf")
    for name in ("base.onnx", "model.json", "tokenizer.json"):
        shutil.copy(folder / "onnx" / name, tmp_path / "onnx")
    (tmp_path / "onnx" / "base.onnx").write_bytes(b"half a graph")
    with pytest.raises(DamagedDataError, match="does not load"):
        BaseModel(tmp_path / "base.gguf", backend="onnx")
    with pytest.raises(UsageError, match="no model file|no base.onnx"):
        BaseModel(tmp_path / "none" / "base.gguf", backend="onnx")
