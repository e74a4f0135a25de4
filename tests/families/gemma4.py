"""Gemma 4's text model in plain PyTorch, for the installed transformers has no class for it.

Written after llama.cpp's src/models/gemma4.cpp; parameters carry the names of Google's checkpoints.
"""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention


class Config(SimpleNamespace):
    """config.json as attributes."""

    def is_local(self, layer: int) -> bool:
        return self.layer_types[layer] == "sliding_attention"

    def width_of_heads(self, layer: int) -> int:
        return self.head_dim if self.is_local(layer) else self.global_head_dim

    @property
    def own_keys(self) -> int:
        """Layers that have keys and values of their own; those above reuse the last ones of their kind."""
        return self.num_hidden_layers - self.num_kv_shared_layers


class Norm(nn.Module):
    """RMSNorm; without a weight where `size` is 0."""

    def __init__(self, size: int, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(size)) if size else None, epsilon

    def forward(self, x):
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)
        return x if self.weight is None else x * self.weight


class Attention(nn.Module):
    def __init__(self, config: Config, layer: int):
        super().__init__()
        width, hidden = config.width_of_heads(layer), config.hidden_size
        self.config, self.layer, self.width = config, layer, width
        self.q_proj = nn.Linear(hidden, config.num_attention_heads * width, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * width, hidden, bias=False)
        self.q_norm = Norm(width, config.rms_norm_eps)
        if layer < config.own_keys:
            self.k_proj = nn.Linear(hidden, config.num_key_value_heads * width, bias=False)
            self.v_proj = nn.Linear(hidden, config.num_key_value_heads * width, bias=False)
            self.k_norm, self.v_norm = Norm(width, config.rms_norm_eps), Norm(0, config.rms_norm_eps)

    def forward(self, x, keys_and_values):
        """`keys_and_values` holds those of the kinds of layers below, and gets this layer's."""
        kind = self.config.layer_types[self.layer]
        q = self.turn(self.q_norm(self.heads(self.q_proj(x))))
        if self.layer < self.config.own_keys:
            k = self.turn(self.k_norm(self.heads(self.k_proj(x))))
            keys_and_values[kind] = k, self.v_norm(self.heads(self.v_proj(x)))
        k, v = keys_and_values[kind]
        y = scaled_dot_product_attention(q, k, v, attn_mask=self.mask(len(x)), scale=1.0, enable_gqa=True)
        return self.o_proj(y.transpose(0, 1).flatten(1))

    def heads(self, x):
        return x.view(len(x), -1, self.width).transpose(0, 1)

    def turn(self, x):
        """Rotary positions on halves; global layers turn the first quarter of the pairs alone."""
        config, half = self.config, self.width // 2
        kind = config.rope_parameters[config.layer_types[self.layer]]
        pairs = torch.arange(half, dtype=x.dtype)
        frequencies = kind["rope_theta"] ** (-pairs / half) * (pairs < half * kind.get("partial_rotary_factor", 1.0))
        angles = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * frequencies
        first, second = x.split(half, dim=-1)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def mask(self, tokens: int):
        distance = torch.arange(tokens)[:, None] - torch.arange(tokens)
        window = self.config.sliding_window if self.config.is_local(self.layer) else tokens
        return (distance >= 0) & (distance < window)


class FeedForward(nn.Module):
    def __init__(self, hidden: int, width: int):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: Config, layer: int):
        super().__init__()
        hidden, inner, epsilon = config.hidden_size, config.hidden_size_per_layer_input, config.rms_norm_eps
        wide = 2 if config.use_double_wide_mlp and layer >= config.own_keys else 1
        self.self_attn = Attention(config, layer)
        self.mlp = FeedForward(hidden, config.intermediate_size * wide)
        for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            self.add_module(f"{name}_layernorm", Norm(hidden, epsilon))
        self.per_layer_input_gate = nn.Linear(hidden, inner, bias=False)
        self.per_layer_projection = nn.Linear(inner, hidden, bias=False)
        self.post_per_layer_input_norm = Norm(hidden, epsilon)
        self.layer_scalar = nn.Parameter(torch.ones(1))

    def forward(self, x, per_layer, keys_and_values):
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), keys_and_values))
        x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        gated = gelu(self.per_layer_input_gate(x), approximate="tanh") * per_layer
        x = x + self.post_per_layer_input_norm(self.per_layer_projection(gated))
        return x * self.layer_scalar


class Body(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        inner, layers = config.hidden_size_per_layer_input, config.num_hidden_layers
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_tokens_per_layer = nn.Embedding(config.vocab_size, inner * layers)
        self.per_layer_model_projection = nn.Linear(config.hidden_size, inner * layers, bias=False)
        self.per_layer_projection_norm = Norm(inner, config.rms_norm_eps)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in range(layers))
        self.norm = Norm(config.hidden_size, config.rms_norm_eps)

    def forward(self, tokens):
        config, shape = self.config, (len(tokens), self.config.num_hidden_layers, -1)
        x = self.embed_tokens(tokens) * math.sqrt(config.hidden_size)
        own = self.embed_tokens_per_layer(tokens).view(shape) * math.sqrt(config.hidden_size_per_layer_input)
        projected = (self.per_layer_model_projection(x) / math.sqrt(config.hidden_size)).view(shape)
        per_layer = (self.per_layer_projection_norm(projected) + own) / math.sqrt(2)
        keys_and_values = {}
        for number, layer in enumerate(self.layers):
            x = layer(x, per_layer[:, number], keys_and_values)
        return self.norm(x)


class Gemma4ForCausalLM(nn.Module):
    """As much of transformers' interface as the tests use."""

    config_class = Config

    def __init__(self, config: Config):
        super().__init__()
        self.config, self.model = config, Body(config)

    def forward(self, input_ids):
        """Logits (1, T, vocabulary) of one sequence (1, T), soft-capped."""
        logits, cap = (
            linear(self.model(input_ids[0]), self.model.embed_tokens.weight),
            self.config.final_logit_softcapping,
        )
        return SimpleNamespace(logits=(cap * torch.tanh(logits / cap))[None])

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        named = {"architectures": ["Gemma4ForCausalLM"], "model_type": "gemma4_text"}
        (folder / "config.json").write_text(json.dumps(vars(self.config) | named))
        save_file(self.state_dict(), folder / "model.safetensors", {"format": "pt"})

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype = torch.float32, **_) -> "Gemma4ForCausalLM":
        model = cls(Config(**json.loads((folder / "config.json").read_text())))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model.to(dtype)
