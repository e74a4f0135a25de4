"""A tiny random model of every family: transformers' own class with a small configuration.

Each has at least two layers of every kind that the family mixes, head widths apart from the usual where the family
allows them, and weights large enough that attention is far from uniform. Norms and scales are nowhere 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from families.folders import as_exaone, as_minicpm, as_ministral, as_qwen35

VOCABULARY = 260  # of tiny_model: special tokens, bytes and one merge
CONTEXT = 1024

# GGUF's name of a linear layer -> the module inside a layer of the transformers class.
MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
FUSED_MODULES = MODULES | {
    "attn_q": "self_attn.qkv_proj.q_proj",  # taken apart by oracle.py
    "attn_k": "self_attn.qkv_proj.k_proj",
    "attn_v": "self_attn.qkv_proj.v_proj",
    "ffn_gate": "mlp.gate_up_proj.gate_proj",
    "ffn_up": "mlp.gate_up_proj.up_proj",
}
GEMMA4_KINDS = {"l": "sliding_attention", "g": "full_attention"}
LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)


@dataclass(frozen=True)
class TinyModel:
    """What is made: a class of transformers and its configuration."""

    model_class: str
    config: dict[str, Any]
    architecture: str = ""  # in GGUF, where it is not the model's name here
    permutes: bool = False  # the converter reorders rows of Q and K to neighbouring rotary pairs
    modules: dict[str, str] = field(default_factory=lambda: MODULES)
    # Turns the class's folder into the family's own, where transformers has no class for it.
    rewrite: Callable[[Path], None] | None = None

    def options(self) -> dict[str, Any]:
        """Arguments of the configuration class."""
        common = dict(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
        return common | self.config


TINY_MODELS = {
    "llama": TinyModel("LlamaForCausalLM", dict(head_dim=24, rms_norm_eps=1e-5), permutes=True),
    "qwen2": TinyModel("Qwen2ForCausalLM", dict(tie_word_embeddings=True)),
    "qwen3": TinyModel("Qwen3ForCausalLM", dict(head_dim=40, intermediate_size=160)),
    "gemma3": TinyModel(
        "Gemma3ForCausalLM",
        dict(head_dim=32, num_hidden_layers=12, num_key_value_heads=1, sliding_window=9, query_pre_attn_scalar=32),
    ),
    "llama-3.2": TinyModel(
        "LlamaForCausalLM",
        dict(head_dim=24, rope_scaling=LLAMA3, rms_norm_eps=1e-5, tie_word_embeddings=True),
        permutes=True,
        architecture="llama",
    ),
    "gemma3-4b": TinyModel(
        "Gemma3ForCausalLM",
        dict(
            head_dim=16,
            num_hidden_layers=12,
            sliding_window=9,
            query_pre_attn_scalar=16,
            rope_scaling=dict(rope_type="linear", factor=8.0),
        ),
        architecture="gemma3",
    ),
    "smollm3": TinyModel("SmolLM3ForCausalLM", dict(num_hidden_layers=8, tie_word_embeddings=True), permutes=True),
    "phi3": TinyModel(
        "Phi3ForCausalLM",
        dict(
            original_max_position_embeddings=CONTEXT // 4,
            rope_scaling=dict(
                type="longrope", short_factor=[1 + n / 10 for n in range(8)], long_factor=[1 + n for n in range(8)]
            ),
        ),
        modules=FUSED_MODULES,
    ),
    "phi4-mini": TinyModel(
        "Phi3ForCausalLM",
        dict(
            original_max_position_embeddings=CONTEXT // 4,
            partial_rotary_factor=0.75,
            tie_word_embeddings=True,
            rope_scaling=dict(type="longrope", short_factor=[1.0] * 6, long_factor=[1.5 + n for n in range(6)]),
        ),
        architecture="phi3",
        modules=FUSED_MODULES,
    ),
    "lfm2": TinyModel(
        "Lfm2ForCausalLM",
        dict(
            num_hidden_layers=5,
            layer_types=["conv", "conv", "full_attention", "conv", "full_attention"],
            block_auto_adjust_ff_dim=False,
            norm_eps=1e-5,
        ),
        modules={
            "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.out_proj",
            "shortconv.in_proj": "conv.in_proj",
            "shortconv.out_proj": "conv.out_proj",
            "ffn_gate": "feed_forward.w1",
            "ffn_up": "feed_forward.w3",
            "ffn_down": "feed_forward.w2",
        },
    ),
    "mistral3": TinyModel(
        "MistralForCausalLM",
        dict(
            head_dim=24,
            sliding_window=None,
            rope_scaling=dict(
                rope_type="yarn",
                factor=16.0,
                original_max_position_embeddings=64,
                beta_fast=32.0,
                beta_slow=1.0,
                mscale=1.0,
                mscale_all_dim=1.0,
            ),
        ),
        permutes=True,
        rewrite=as_ministral,
    ),
    "ernie4_5": TinyModel("Ernie4_5ForCausalLM", dict(head_dim=24, tie_word_embeddings=True)),
    "exaone": TinyModel("LlamaForCausalLM", dict(rope_scaling=LLAMA3, rms_norm_eps=1e-5), rewrite=as_exaone),
    "granite": TinyModel(
        "GraniteForCausalLM",
        dict(
            embedding_multiplier=3.0,
            attention_multiplier=0.2,
            residual_multiplier=0.4,
            logits_scaling=2.5,
            use_cache=True,
        ),
        permutes=True,
    ),
    "minicpm": TinyModel(
        "GraniteForCausalLM",
        dict(
            embedding_multiplier=3.0,
            attention_multiplier=64**-0.5 * 2,
            residual_multiplier=1.4 / 2**0.5,
            logits_scaling=64 / 32,
        ),
        permutes=True,
        rewrite=as_minicpm,
    ),
    "olmo2": TinyModel("Olmo2ForCausalLM", dict()),
    "exaone4": TinyModel(
        "Exaone4ForCausalLM",
        dict(
            sliding_window=None,
            layer_types=["full_attention"] * 2,
            rope_scaling=LLAMA3,
            tie_word_embeddings=True,
        ),
    ),
    "hunyuan-dense": TinyModel("HunYuanDenseV1ForCausalLM", dict(head_dim=24, tie_word_embeddings=True)),
    "gemma2": TinyModel(
        "Gemma2ForCausalLM",
        dict(
            head_dim=24,
            num_hidden_layers=4,
            sliding_window=9,
            query_pre_attn_scalar=24,
            attn_logit_softcapping=5.0,
            final_logit_softcapping=8.0,
        ),
    ),
    "gemma4": TinyModel(
        "Gemma4ForCausalLM",
        dict(
            num_hidden_layers=9,
            layer_types=[GEMMA4_KINDS[kind] for kind in "lgllglglg"],
            num_kv_shared_layers=4,
            head_dim=16,
            global_head_dim=32,
            sliding_window=9,
            rms_norm_eps=1e-6,
            hidden_size_per_layer_input=32,
            vocab_size_per_layer_input=VOCABULARY,
            use_double_wide_mlp=True,
            final_logit_softcapping=8.0,
            moe_intermediate_size=None,
            rope_parameters=dict(
                sliding_attention=dict(rope_type="default", rope_theta=1e4),
                full_attention=dict(rope_type="proportional", rope_theta=1e6, partial_rotary_factor=0.25),
            ),
        ),
    ),
    "qwen35": TinyModel(
        "Qwen3NextForCausalLM",
        dict(
            num_hidden_layers=4,
            layer_types=["linear_attention", "full_attention"] * 2,
            full_attention_interval=2,
            head_dim=32,
            partial_rotary_factor=0.25,
            linear_conv_kernel_dim=4,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            mlp_only_layers=[0, 1, 2, 3],
            tie_word_embeddings=True,
        ),
        rewrite=as_qwen35,
    ),
}
