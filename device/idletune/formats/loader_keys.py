"""The metadata keys by which llama.cpp computes, and the values of each that change nothing.

Read in the llama.cpp of llama-cpp-python 0.3.36: llama_model_base::load_hparams (src/llama-model.cpp) reads some for
every architecture, load_arch_hparams (src/models/*.cpp) further ones. A key that a family does not read refuses the
file, unless its value changes nothing: training would train another model than is served. Keys of the tokenizer, of
pooling and of vision are not here, for training computes with none of them.

tests/families/test_loader_keys.py sets each key in tiny models and compares with llama.cpp.
"""

from collections.abc import Mapping

Neutral = Mapping[str, tuple]  # key behind the architecture's name -> values that change nothing

# Read for every architecture; the contexts change something only together with a guarded key.
SIZES = ("block_count", "context_length", "embedding_length", "rope.scaling.original_context_length")
EVERY_ARCHITECTURE: Neutral = {
    "attention.causal": (True,),
    "attention.head_count": (),
    "attention.head_count_kv": (),
    "attention.key_length": (),
    "expert_count": (0,),
    "expert_group_count": (0,),
    "expert_used_count": (0,),
    "feed_forward_length": (),
    "nextn_predict_layers": (0,),
    "rope.dimension_count": (),
    "rope.freq_base": (),
    "rope.scale_linear": (0, 1),
    "rope.scaling.attn_factor": (1,),
    "rope.scaling.factor": (0, 1),
    "rope.scaling.type": ("none", "linear"),
}
# Keys whose value changes nothing where it is another key's.
EQUAL_TO = {
    "attention.value_length": "attention.key_length",
    "attention.key_length_swa": "attention.key_length",
    "attention.value_length_swa": "attention.key_length_swa",
    "embedding_length_out": "embedding_length",
    "rope.dimension_count_swa": "rope.dimension_count",
}
# What llama.cpp takes for a key that is missing.
DEFAULTS = {"attention.key_length_swa": "attention.key_length", "rope.dimension_count": "attention.key_length"}
EPSILON: Neutral = {"attention.layer_norm_rms_epsilon": ()}
WINDOW: Neutral = {
    "attention.sliding_window": (0,),
    "attention.sliding_window_pattern": (),
    "rope.freq_base_swa": (),
}
SCALES: Neutral = {"embedding_scale": (0, 1), "residual_scale": (0, 1), "logit_scale": (0, 1)}
YARN: Neutral = {
    "rope.scaling.original_context_length": (),
    "rope.scaling.yarn_beta_fast": (),
    "rope.scaling.yarn_beta_slow": (),
    "rope.scaling.yarn_log_multiplier": (0,),
}
FURTHER: dict[str, Neutral] = {
    "llama": EPSILON,
    "qwen2": EPSILON,
    "qwen3": EPSILON,
    "smollm3": EPSILON,
    "exaone": EPSILON,
    "ernie4_5": EPSILON,
    "gemma2": {**EPSILON, **WINDOW, "attn_logit_softcapping": (), "final_logit_softcapping": ()},
    "gemma3": {**EPSILON, **WINDOW, "final_logit_softcapping": (0,)},
    "gemma4": {
        **EPSILON,
        **WINDOW,
        "attention.shared_kv_layers": (0,),
        "embedding_length_per_layer_input": (0,),
        "expert_feed_forward_length": (0,),
        "final_logit_softcapping": (0,),
    },
    "phi3": {**EPSILON, "rope.scaling.original_context_length": ()},
    "mistral3": {**EPSILON, **YARN, "attention.temperature_scale": (0,)},
    "granite": {
        **EPSILON,
        **SCALES,
        "attention.scale": (0,),
        "deepstack_mapping": (),
        "expert_shared_feed_forward_length": (0,),
        "rope.scaling.finetuned": (True,),
    },
    "minicpm": {**EPSILON, **{key: () for key in SCALES}, "rope.scaling.original_context_length": ()},
    "olmo2": {**EPSILON, **WINDOW},
    "exaone4": {**EPSILON, **WINDOW},
    "hunyuan-dense": {**EPSILON, "expert_count": (0, 1), "expert_used_count": (0, 1), "rope.scaling.alpha": (0,)},
    "lfm2": {**EPSILON, "attention.sliding_window": (0,), "shortconv.l_cache": ()},
    "qwen35": {
        **EPSILON,
        "attention.recurrent_layers": (),
        "full_attention_interval": (4,),
        "ssm.conv_kernel": (),
        "ssm.group_count": (),
        "ssm.inner_size": (),
        "ssm.state_size": (),
        "ssm.time_step_rank": (),
    },
}


def guarded_keys(architecture: str) -> Neutral:
    """The keys that llama.cpp reads for an architecture, with the values that change nothing."""
    equal: Neutral = {key: () for key in EQUAL_TO}
    return {**EVERY_ARCHITECTURE, **equal, **FURTHER.get(architecture, EPSILON)}
