"""Folders of families that transformers has no class for, made of those of a class that computes the same."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

EXAONE_NAMES = {  # by llama's
    "model.embed_tokens": "transformer.wte",
    "model.norm": "transformer.ln_f",
    "model.layers": "transformer.h",
    "self_attn.o_proj": "attn.attention.out_proj",
    "self_attn": "attn.attention",
    "input_layernorm": "ln_1",
    "post_attention_layernorm": "ln_2",
    "mlp.gate_proj": "mlp.c_fc_0",
    "mlp.up_proj": "mlp.c_fc_1",
    "mlp.down_proj": "mlp.c_proj",
}


def as_exaone(folder: Path) -> None:
    """EXAONE 3.5 is llama under other names, with rotary halves."""
    rename_tensors(folder, EXAONE_NAMES)
    change_config(folder, architectures=["ExaoneForCausalLM"], activation_function="silu", layer_norm_epsilon=1e-5)


def as_minicpm(folder: Path) -> None:
    """MiniCPM is granite with its scales under other names."""
    config = change_config(folder, architectures=["MiniCPMForCausalLM"])
    layers, hidden = config["num_hidden_layers"], config["hidden_size"]
    change_config(
        folder,
        scale_emb=config["embedding_multiplier"],
        scale_depth=config["residual_multiplier"] * layers**0.5,
        dim_model_base=hidden / config["logits_scaling"],
    )


def as_ministral(folder: Path) -> None:
    """Ministral 3 is mistral with YaRN and a temperature on the queries beyond the original context."""
    config = change_config(folder, architectures=["Ministral3ForCausalLM"], model_type="ministral3")
    rope = config.pop("rope_scaling")
    change_config(
        folder, rope_scaling=None, rope_parameters=rope | {"llama_4_scaling_beta": 0.1, "rope_theta": 10000.0}
    )


def as_qwen35(folder: Path) -> None:
    """Qwen3.5 is Qwen3-Next with dense feed-forward layers, and with the projections of its linear attention apart."""
    config = change_config(folder, architectures=["Qwen3_5ForCausalLM"], model_type="qwen3_5_text")
    experts = [key for key in config if "expert" in key or "moe" in key or key in ("norm_topk_prob", "mlp_only_layers")]
    sections = {"mrope_section": [2, 1, 1], "partial_rotary_factor": config["partial_rotary_factor"]}  # of 4 pairs
    change_config(folder, **dict.fromkeys(experts), rope_parameters=sections | {"rope_theta": config["rope_theta"]})
    path, tensors = folder / "model.safetensors", {}
    for name, tensor in load_file(path).items():
        tensors |= apart(name, tensor, config) if "in_proj" in name else {name: tensor}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"})


def apart(name: str, tensor: torch.Tensor, config: dict) -> dict[str, torch.Tensor]:
    """Qwen3-Next's in_proj_qkvz and in_proj_ba, whose rows are grouped by key head, as Qwen3.5 names them."""
    keys, values = config["linear_num_key_heads"], config["linear_num_value_heads"] // config["linear_num_key_heads"]
    width_k, width_v = config["linear_key_head_dim"], config["linear_value_head_dim"] * values
    stem, kind = name.split("in_proj_")
    groups = tensor.reshape(keys, -1, tensor.shape[1])
    if kind.startswith("ba"):
        b, a = groups.split([values, values], dim=1)
        return {f"{stem}in_proj_{which}.weight": part.flatten(0, 1) for which, part in (("b", b), ("a", a))}
    *qkv, z = groups.split([width_k, width_k, width_v, width_v], dim=1)
    whole = torch.cat([part.flatten(0, 1) for part in qkv])
    return {f"{stem}in_proj_qkv.weight": whole, f"{stem}in_proj_z.weight": z.flatten(0, 1)}


def change_config(folder: Path, **changes) -> dict:
    """Write config.json with `changes`; returns it."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return config


def rename_tensors(folder: Path, names: dict[str, str]) -> None:
    path = folder / "model.safetensors"
    save_file({renamed(name, names): tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def renamed(text: str, names: dict[str, str]) -> str:
    """`text` with all of `names` that occur in it replaced, in order."""
    for old, new in names.items():
        text = text.replace(old, new)
    return text
