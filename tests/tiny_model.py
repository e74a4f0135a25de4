"""A tiny random GGUF with a byte-level tokenizer: everything but sense, in a few hundred KB."""

from pathlib import Path

import gguf
import numpy as np

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


VECTORS = {  # norms and biases of a block
    "llama": ("attn_norm", "ffn_norm"),
    "qwen2": ("attn_norm", "ffn_norm", "attn_q.bias", "attn_k.bias", "attn_v.bias"),
    "qwen3": ("attn_norm", "ffn_norm", "attn_q_norm", "attn_k_norm"),
    "gemma3": ("attn_norm", "attn_q_norm", "attn_k_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
}


def write_tiny_model(
    path: Path,
    *,
    types=None,
    default="Q8_0",
    hidden=64,
    layers=2,
    heads=4,
    kv_heads=2,
    feed_forward=96,
    head_dim=0,
    window=0,
    seed=0,
    tied=True,
    architecture="llama",
    template=TEMPLATE,
    add_bos=False,
    further=None,
    part_tensors=0,
    pieces=(),
    added=(),
    space_prefix=True,
) -> Path:
    """Write the model; `types` maps a tensor's short name (attn_q) to a GGUF type name, `template` may be None;
    `further` names vectors beyond the architecture's own, with their sizes. With `part_tensors` the file is split into
    parts of so many tensors; the first one's path is returned. With `pieces` the tokenizer is SentencePiece's, of
    these pieces beside the bytes, behind a space by `space_prefix`; `added` are user-defined tokens."""
    rng, types, head_dim = np.random.default_rng(seed), types or {}, head_dim or hidden // heads
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)] if pieces else byte_alphabet()
    vocabulary = [*SPECIAL, *alphabet, *(pieces or ["th"]), *added]
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=part_tensors)
    _write_metadata(writer, hidden, layers, heads, kv_heads, head_dim, feed_forward, vocabulary)
    (_write_sentencepiece if pieces else _write_byte_level)(writer, vocabulary, len(added))
    if pieces:
        writer.add_add_space_prefix(space_prefix)
    writer.add_add_bos_token(add_bos)
    # With a first token, as many files have it: one token begins and ends texts, turns end with another.
    writer.add_bos_token_id(0 if add_bos else 1)
    writer.add_eos_token_id(0 if add_bos else 2)
    if template:
        writer.add_chat_template(template)
    if head_dim * heads != hidden:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if window:
        writer.add_sliding_window(window)

    def add(name, rows, columns, spread=0.06):
        short = name.split(".")[-2]
        kind = gguf.GGMLQuantizationType[types.get(short, default)]
        weights = rng.standard_normal((rows, columns)).astype(np.float32) * spread
        data = gguf.quants.quantize(weights, kind)
        writer.add_tensor(name, data, raw_dtype=kind)

    def add_vector(name, size, mean=1.0):
        writer.add_tensor(name, (mean + 0.1 * rng.standard_normal(size)).astype(np.float32))

    add("token_embd.weight", len(vocabulary), hidden, 0.5)
    add_vector("output_norm.weight", hidden)
    if not tied:
        add("output.weight", len(vocabulary), hidden, 0.2)
    linears = {
        "attn_q": (heads * head_dim, hidden),
        "attn_k": (kv_heads * head_dim, hidden),
        "attn_v": (kv_heads * head_dim, hidden),
        "attn_output": (hidden, heads * head_dim),
        "ffn_gate": (feed_forward, hidden),
        "ffn_up": (feed_forward, hidden),
        "ffn_down": (hidden, feed_forward),
    }
    for n in range(layers):
        for name in VECTORS.get(architecture, VECTORS["llama"]):
            if name.endswith(".bias"):
                add_vector(f"blk.{n}.{name}", linears[name.removesuffix(".bias")][0], mean=0.0)
            else:
                add_vector(f"blk.{n}.{name}.weight", head_dim if name in ("attn_q_norm", "attn_k_norm") else hidden)
        for name, (rows, columns) in linears.items():
            add(f"blk.{n}.{name}.weight", rows, columns, 0.15)
    for name, size in (further or {}).items():
        add_vector(name, size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return min(path.parent.glob(f"{path.stem}-00001-of-*.gguf")) if part_tensors else path


def _write_metadata(writer, hidden, layers, heads, kv_heads, head_dim, feed_forward, vocabulary):
    writer.add_context_length(1024)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(head_dim)
    writer.add_vocab_size(len(vocabulary))


def _write_byte_level(writer, vocabulary, added):
    kinds = [gguf.TokenType.NORMAL] * (len(vocabulary) - len(SPECIAL) - added)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types([gguf.TokenType.CONTROL] * len(SPECIAL) + kinds + [gguf.TokenType.USER_DEFINED] * added)
    writer.add_token_merges(["t h"])  # llama.cpp wants one


def _write_sentencepiece(writer, vocabulary, added):
    """Longer pieces have higher scores, so they are merged first."""
    pieces = len(vocabulary) - len(SPECIAL) - 256 - added
    kinds = [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.BYTE] * 256
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary)
    writer.add_token_scores([float(len(piece)) for piece in vocabulary])
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * pieces + [gguf.TokenType.USER_DEFINED] * added)
