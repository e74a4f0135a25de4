"""Architectures that people run on phones and that cannot be trained: why, and what to use instead."""

EXPERTS = "a mixture of experts; use a dense model, such as Qwen 3 or Granite"
RECURRENT = "it mixes state-space layers; use a model of attention, such as Qwen 3 or Granite 4 dense"
REFUSED = {
    "bitnet": "ternary weights with norms inside the sublayers; use Llama 3.2 or Qwen 3",
    "falcon-h1": RECURRENT,
    "gemma": "its first version; use Gemma 2 or Gemma 3",
    "gemma3n": "it mixes several hidden states by layer; use Gemma 3 or Gemma 4",
    "granitehybrid": RECURRENT,
    "granitemoe": EXPERTS,
    "jamba": RECURRENT,
    "lfm2moe": "a mixture of experts; use LFM2",
    "llama4": EXPERTS,
    "mamba": RECURRENT,
    "mamba2": RECURRENT,
    "minicpm3": "attention over latent vectors; use MiniCPM 4, whose architecture is minicpm",
    "olmoe": "a mixture of experts; use OLMo 2",
    "phi2": "its parallel sublayers; use Phi-3.5 or Phi-4-mini",
    "phimoe": "a mixture of experts; use Phi-3.5 or Phi-4-mini",
    "qwen2moe": EXPERTS,
    "qwen3moe": "a mixture of experts; use Qwen 3 up to 4B",
    "rwkv7": RECURRENT,
    "stablelm": "norms with a bias; use Llama 3.2 or Qwen 3",
}


def reason(architecture: str) -> str:
    """What an error says behind "cannot be trained": the reason and an alternative, or nothing."""
    return f" ({REFUSED[architecture]})" if architecture in REFUSED else ""
