"""The default model through the whole export: how much each step may lose."""

import numpy as np
import pytest
from idletune.model.base_model import BaseModel
from idletune.model.chat_template import conversation
from idletune_export.adapter_files import Adapter, convert_adapter, write_peft_folder
from idletune_export.base import Base
from idletune_export.bundle import build_bundle
from idletune_export.gguf_model import quantize, write_gguf_model
from idletune_export.hugging_face_folder import write_hugging_face_folder
from idletune_export.importance import column_importance
from idletune_export.onnx_model import write_onnx_models
from idletune_export.parity import compare, first_tokens, next_token_loss, paragraphs
from idletune_export.reference import Reference
from idletune_export.sources import Source
from idletune_export.training_check import LEAST_INT8_COSINE

pytestmark = pytest.mark.model
QUESTIONS = [
    "What is the capital of France?",
    "Name three fruits.",
    "How do I boil an egg?",
    "Write a haiku about rain.",
    "What is 12 times 12?",
    "Who wrote Hamlet?",
    "Explain gravity to a child.",
    "Give me a name for a dog.",
    "What does a baker do?",
    "How far is the moon?",
    "Translate hello into Spanish.",
    "What is a verb?",
    "List the days of the week.",
    "Why is the sky blue?",
    "How many legs has a spider?",
    "What is tea made of?",
    "Tell me a fact about whales.",
    "How do plants eat?",
    "What is an island?",
    "Say goodbye politely.",
]


@pytest.fixture(scope="module")
def folder(model_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    write_hugging_face_folder(model_path, folder / "hf")
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    return Reference(folder / "hf")


@pytest.fixture(scope="module")
def texts(reference):
    return paragraphs(reference.tokenize, first_tokens(reference), longest=96)


def open_model(path, backend="llama.cpp"):
    return BaseModel(path, context_tokens=512, sequences=4, backend=backend)


@pytest.fixture(scope="module")
def half(folder):
    return write_gguf_model(folder / "hf", folder / "f16.gguf")


def test_gguf_files_say_what_transformers_says(folder, half, reference, texts):
    quantize(half, folder / "Q8_0.gguf", "Q8_0")
    quantize(half, folder / "Q4_0.gguf", "Q4_0", column_importance(folder / "hf"))
    models = {"F16": open_model(half), **{kind: open_model(folder / f"{kind}.gguf") for kind in ("Q8_0", "Q4_0")}}
    found = compare({"original": reference.logits, **{name: model.logits for name, model in models.items()}}, texts)
    for model in models.values():
        model.close()
    assert found["F16"].relative_difference < 1e-2  # 0.0012: llama.cpp multiplies in half precision
    assert found["F16"].perplexity == pytest.approx(found["original"].perplexity, rel=1e-3)
    assert found["Q8_0"].perplexity < 1.01 * found["F16"].perplexity
    assert found["Q4_0"].perplexity < 1.08 * found["F16"].perplexity


def test_greedy_answers_are_those_of_transformers(half, reference):
    with open_model(half) as model:
        prompts = [model.encode_prompt(conversation(question)) for question in QUESTIONS]
        replies = model.generate(prompts, max_tokens=10, temperature=0.0, top_p=1.0, seeds=[0] * len(prompts))
    same = sum(reference.continue_greedily(p, 10)[: len(r.tokens)] == r.tokens for p, r in zip(prompts, replies))
    assert same >= 19


def test_onnx_models_and_one_adapter_in_three_engines(folder, half, reference, texts):
    write_onnx_models(folder / "hf", {"fp32": folder / "fp32", "int4": folder / "int4"}, folder)
    models = {kind: open_model(folder / kind / "base.onnx", "onnx") for kind in ("fp32", "int4")}
    found = compare({"original": reference.logits, **{name: model.logits for name, model in models.items()}}, texts)
    assert found["fp32"].largest_difference < 1e-3
    assert found["int4"].perplexity < 1.08 * found["original"].perplexity
    models["int4"].close()

    rng, base = np.random.default_rng(0), Base(folder / "hf")
    modules = {
        name: tuple(0.06 * rng.standard_normal(shape).astype(np.float32) for shape in ((8, columns), (rows, 8)))
        for name, (rows, columns) in base.shapes().items()
        if name.endswith(("q_proj", "v_proj"))
    }
    write_peft_folder(Adapter(16.0, modules), folder / "peft", "base")
    convert_adapter(folder / "peft", folder / "a.gguf", folder / "hf")
    convert_adapter(folder / "a.gguf", folder / "a.onnx_adapter", half)
    engines = {
        "llama.cpp": (open_model(half), "a.gguf"),
        "onnxruntime": (models["fp32"], "a.onnx_adapter"),
        "peft": (reference, "peft"),
    }
    losses = {}
    for name, (model, adapter) in engines.items():
        before = sum(next_token_loss(model.logits(t), t) for t in texts[:4])
        model.load_adapter(folder / adapter)
        losses[name] = sum(next_token_loss(model.logits(t), t) for t in texts[:4])
        assert abs(losses[name] / before - 1) > 0.01, "the adapter changes nothing"
        model.remove_adapter()
    assert max(losses.values()) / min(losses.values()) - 1 < 0.005


def test_the_default_bundle_is_small_and_true(model_path, tmp_path):
    manifest = build_bundle(Source("smollm2-135m", model_path), tmp_path / "bundle", say=lambda _: None)
    assert sum(facts["bytes"] for facts in manifest["files"].values()) <= 105_000_000
    assert manifest["parity"]["training"]["gradient_error"] < 1e-3
    assert manifest["parity"]["training"]["int8_cosine"] > LEAST_INT8_COSINE
    assert manifest["parity"]["base.gguf"]["perplexity"] < 1.01 * manifest["parity"]["original"]["perplexity"]
