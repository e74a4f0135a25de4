"""A key that changes what llama.cpp computes changes what the trainer computes alike, or refuses the file."""

import numpy as np
import pytest
from families.losses import CELLS, token_losses
from families.made import folder_of, make_missing
from families.models import TINY_MODELS
from idletune.errors import DamagedDataError, UsageError
from idletune.examples import Example
from idletune.formats.families import FAMILIES
from idletune.formats.gguf_checks import check_metadata
from idletune.formats.gguf_file import GgufFile
from idletune.formats.loader_keys import EQUAL_TO, FURTHER, guarded_keys
from idletune.formats.metadata import Metadata
from idletune.formats.model_shape import ModelShape
from idletune.training.layers import Layers
from idletune.training.lora import Lora
from idletune.training.packing import pack
from idletune.training.weights import Weights
from mutated_gguf import ARRAY, BOOL, FLOAT32, STRING, UINT32, Editable

YARN = {"rope.scaling.type": b"yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}
CASES = [
    {"rope.scaling.factor": 4.0},
    {"rope.scale_linear": 4.0},
    {"rope.scaling.attn_factor": 1.5},
    {"rope.scaling.type": b"none", "rope.scaling.factor": 4.0},
    {"rope.scaling.type": b"linear", "rope.scaling.factor": 4.0},
    {"rope.scaling.type": b"longrope", "rope.scaling.factor": 4.0},
    YARN,
    {**YARN, "rope.scaling.yarn_beta_fast": 4.0},
    {**YARN, "rope.scaling.yarn_beta_slow": 0.1},
    {**YARN, "rope.scaling.yarn_log_multiplier": 0.7},
    {**YARN, "rope.scaling.attn_factor": 1.5},
    {"rope.scaling.original_context_length": 16},
    {"rope.scaling.finetuned": False},
    {"rope.scaling.alpha": 100.0},
    {"rope.freq_base": 300.0},
    {"rope.freq_base_swa": 300.0},
    {"rope.dimension_count": 8},
    {"rope.dimension_count_swa": 8},
    {"attention.sliding_window": 5},
    {"attention.sliding_window": 5, "attention.sliding_window_pattern": 2},
    {"attention.sliding_window_pattern": 3},
    {"attention.sliding_window_pattern": [True] * 12},
    {"attention.causal": False},
    {"attention.scale": 0.9},
    {"attention.temperature_scale": 0.5, "rope.scaling.original_context_length": 4},
    {"attention.layer_norm_rms_epsilon": 0.1},
    {"attention.shared_kv_layers": 1},
    {"attn_logit_softcapping": 1.0},
    {"final_logit_softcapping": 1.0},
    {"logit_scale": 3.0},
    {"embedding_scale": 3.0},
    {"residual_scale": 0.5},
    {"expert_count": 2, "expert_used_count": 1},
    {"nextn_predict_layers": 1},
    {"deepstack_mapping": [0, 0]},
    {"full_attention_interval": 3},
]
TOKENS = np.random.default_rng(0).integers(0, 260, 31).astype(np.int32)
EXAMPLES = [Example(TOKENS[start:-1], TOKENS[start + 1 :]) for start in (0, 7)]


def tiny(architecture: str) -> str:
    return next(name for name, model in TINY_MODELS.items() if (model.architecture or name) == architecture)


@pytest.fixture(scope="module", autouse=True)
def models():
    make_missing([tiny(architecture) for architecture in FAMILIES])


def packed(value) -> tuple[int, object]:
    """The value with its type in GGUF."""
    if isinstance(value, list):
        return ARRAY, (packed(value[0])[0], value)
    return {bytes: STRING, bool: BOOL, float: FLOAT32, int: UINT32}[type(value)], value


def our_losses(gguf: GgufFile, shape: ModelShape) -> np.ndarray:
    target = next(target for target in ("down", "o") if any(target in name for name in shape.linear_shapes(0)))
    layers = Layers(Weights(gguf, shape, threads=1), Lora(shape, target, 1, 1), threads=1, recompute=0)
    return np.concatenate([layers.token_losses(pack([example])) for example in EXAMPLES])


@pytest.mark.parametrize("architecture", FAMILIES)
def test_each_key_is_computed_with_or_refused(architecture, tmp_path):
    original = folder_of(tiny(architecture)) / "f32.gguf"
    base, losses = ModelShape.of(GgufFile(original), CELLS), token_losses(original, EXAMPLES)
    wrong, computed = [], 0
    for case in CASES:
        edited = Editable(original)
        for key, value in case.items():
            edited.set(f"{architecture}.{key}", *packed(value))
        gguf = GgufFile(edited.write(tmp_path / "edited.gguf"))
        try:
            check_metadata(gguf)
            shape, theirs = ModelShape.of(gguf, CELLS), token_losses(gguf.path, EXAMPLES)
        except (UsageError, DamagedDataError):
            continue
        if shape == base and np.array_equal(theirs, losses):
            continue
        computed += 1
        error = np.abs(our_losses(gguf, shape) - theirs).max()
        wrong += [(case, float(error))] if error > 1e-3 * theirs.mean() else []
    assert not wrong and computed >= 2


def read(values: dict) -> Metadata:
    """A llama of four heads of 16 values, whose sizes are read."""
    sizes = {"embedding_length": 64, "attention.head_count": 4}
    given = {f"llama.{key}": value for key, value in (sizes | values).items()}
    meta = Metadata({"general.architecture": "llama"} | given)
    assert [meta.size(key) for key in sizes] == [64, 4]
    return meta


def test_a_value_that_changes_nothing_is_no_reason_to_refuse():
    read({"attention.value_length": 16, "rope.dimension_count_swa": 16, "attention.causal": True}).refuse_unread()
    for key, value in {"attention.value_length": 8, "expert_used_count": [0, 2], "rope.scale_linear": 2.0}.items():
        with pytest.raises(UsageError, match=f"llama.{key} = "):
            read({key: value}).refuse_unread()


def test_a_key_that_llama_cpp_does_not_read_has_no_value():
    meta = read({"attention.scale": 0.5, "logit_scale": 2.0})
    assert meta.number("attention.scale", 1.0) == 1.0 and meta.get("logit_scale") is None
    with pytest.raises(KeyError):
        meta["attention.scale"]


def test_the_list_has_every_family_and_no_key_twice():
    assert FAMILIES.keys() <= FURTHER.keys()
    assert all(not EQUAL_TO.keys() & FURTHER[name].keys() for name in FURTHER)
    assert "final_logit_softcapping" in guarded_keys("gemma3") and "logit_scale" not in guarded_keys("llama")
