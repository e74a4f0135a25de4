"""A tokenizer as GGUF metadata and as a Hugging Face tokenizer.json, both ways.

Two families: byte-level BPE (GGUF "gpt2", told apart by how text is cut into words) and SentencePiece
BPE (GGUF "llama", pieces with scores). What cannot be told from the files is refused by name: a wrong
cut gives a model that answers, only worse.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import gguf
from idletune.errors import DamagedDataError, UsageError
from idletune.small_files import read_json_object
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers.convert_slow_tokenizer import generate_merges

SPACE = "▁"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = (  # words change where upper case follows lower case
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+ENDING|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*ENDING|NUMBER"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
# GGUF's name of a cut -> (each digit alone, regular expressions one after the other; none for GPT-2's).
CUTS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "smollm": (True, ()),
    "gpt-2": (False, ()),
    "qwen2": (False, (QWEN2,)),
    "qwen35": (False, (QWEN35,)),
    "llama-bpe": (False, (QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|"),)),
    "gpt-4o": (
        False,
        (CASED.replace("ENDING", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?").replace("NUMBER", r"\p{N}{1,3}"),),
    ),
    "tekken": (False, (CASED.replace("ENDING", "").replace("NUMBER", r"\p{N}"),)),
    "hunyuan-dense": (False, DEEPSEEK3),
}
SAME_CUTS = {"hunyuan": "qwen2", "deepseek-r1-qwen": "qwen2", "lfm2": "llama-bpe", "llama3": "llama-bpe"}
WHOLE_WORDS = ("llama-bpe", "tekken")  # a word that is a token as a whole is not put together by merges
ROLES = ("bos", "eos", "unk", "pad")
KIND = gguf.TokenType


@dataclass
class Vocabulary:
    """Tokens in the order of their ids with GGUF's kinds and scores, and what stands around them."""

    tokens: list[str]
    kinds: list[int]
    scores: list[float] | None  # SentencePiece only
    merges: list[tuple[str, str]]
    cut: str  # a key of CUTS; "" for SentencePiece
    roles: dict[str, int] = field(default_factory=dict)
    chat_template: str | None = None
    add_bos: bool = False
    space_prefix: bool = False


def from_gguf(reader: gguf.GGUFReader) -> Vocabulary:
    """The vocabulary in a GGUF file's metadata; UsageError for a family that is not known."""

    def value(key, default=None):
        field = reader.get_field(f"tokenizer.{key}")
        return default if field is None else field.contents()

    family, cut = value("ggml.model"), value("ggml.pre", "gpt-2")
    cut = SAME_CUTS.get(cut, cut)
    if family not in ("gpt2", "llama") or (family == "gpt2" and cut not in CUTS):
        raise UsageError(f"tokenizer {family!r} with the cut {cut!r} is unknown; known cuts: {', '.join(CUTS)}")
    names = {"unk": "unknown", "pad": "padding"}
    roles = {role: value(f"ggml.{names.get(role, role)}_token_id") for role in ROLES}
    merges = [tuple(merge.split(" ", 1)) for merge in value("ggml.merges", [])]
    return Vocabulary(
        value("ggml.tokens"),
        value("ggml.token_type"),
        value("ggml.scores"),
        merges,
        cut if family == "gpt2" else "",
        {role: id for role, id in roles.items() if id is not None},
        value("chat_template"),
        value("ggml.add_bos_token", family == "llama" or cut in WHOLE_WORDS),
        value("ggml.add_space_prefix", family == "llama"),
    )


def write_tokenizer(vocabulary: Vocabulary, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    tokenizer = _sentencepiece(vocabulary) if vocabulary.scores else _byte_level(vocabulary)
    tokenizer.add_special_tokens(_added(vocabulary, KIND.CONTROL, KIND.UNKNOWN))
    tokenizer.add_tokens(_added(vocabulary, KIND.USER_DEFINED))
    tokenizer.save(str(folder / "tokenizer.json"))
    texts = {f"{role}_token": vocabulary.tokens[id] for role, id in vocabulary.roles.items()}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **texts}
    config["add_bos_token"] = vocabulary.add_bos
    if vocabulary.chat_template:
        config["chat_template"] = vocabulary.chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def _added(vocabulary: Vocabulary, *kinds) -> list[AddedToken]:
    return [
        AddedToken(_spaced(token, vocabulary), normalized=False, special=kind != KIND.USER_DEFINED)
        for token, kind in zip(vocabulary.tokens, vocabulary.kinds)
        if kind in kinds
    ]


def _spaced(token: str, vocabulary: Vocabulary) -> str:
    """GGUF keeps runs of spaces as they are, SentencePiece and tokenizer.json with their stand-in."""
    return token.replace(" ", SPACE) if vocabulary.scores and not token.strip() and "\n" not in token else token


def _byte_level(vocabulary: Vocabulary) -> Tokenizer:
    ids = {token: id for id, token in enumerate(vocabulary.tokens)}
    tokenizer = Tokenizer(models.BPE(ids, vocabulary.merges, ignore_merges=vocabulary.cut in WHOLE_WORDS))
    digits, patterns = CUTS[vocabulary.cut]
    steps = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    steps += [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not patterns))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return _with_bos(tokenizer, vocabulary)


def _sentencepiece(vocabulary: Vocabulary) -> Tokenizer:
    texts = [_spaced(token, vocabulary) for token in vocabulary.tokens]
    ids = {token: id for id, token in enumerate(texts)}
    # Sorted by id, not by score: runs of spaces have no score, and come first.
    merges = generate_merges(ids, {token: -id for token, id in ids.items()})
    unknown = texts[vocabulary.roles["unk"]] if "unk" in vocabulary.roles else None
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend(SPACE)] if vocabulary.space_prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return _with_bos(tokenizer, vocabulary)


def _with_bos(tokenizer: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
    if vocabulary.add_bos and "bos" in vocabulary.roles:
        id = vocabulary.roles["bos"]
        token = vocabulary.tokens[id]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, id)])
    return tokenizer


def add_to_gguf(writer: gguf.GGUFWriter, folder: Path, vocabulary_size: int) -> None:
    """Write the tokenizer of a Hugging Face folder into a GGUF file's metadata.

    Raises UsageError for a missing tokenizer.json or an unknown cut, DamagedDataError for a malformed one.
    """
    description = read_tokenizer(folder / "tokenizer.json")
    model = description["model"]
    if model.get("type") != "BPE":
        raise UsageError(f"tokenizer.json holds a {model.get('type')} model; BPE is known")
    byte_level = not model.get("byte_fallback", False)
    tokens, kinds = _tokens(description, vocabulary_size)
    writer.add_tokenizer_model("gpt2" if byte_level else "llama")
    writer.add_tokenizer_pre(_cut(description) if byte_level else "default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if not byte_level:
        # A SentencePiece BPE vocabulary is sorted by score, so the id is as good as the score.
        writer.add_token_scores([-float(id) for id in range(len(tokens))])
        writer.add_add_space_prefix("Prepend" in json.dumps(description.get("normalizer")))
    special = gguf.SpecialVocab(folder, load_merges=byte_level, n_vocab=vocabulary_size)
    special.add_to_gguf(writer, quiet=True)


def read_tokenizer(path: Path) -> dict:
    """tokenizer.json; UsageError when it is missing, DamagedDataError when it is none."""
    if not path.is_file():
        raise UsageError(f"no tokenizer at {path}; save the model's fast tokenizer beside it")
    description = read_json_object(path, "a tokenizer file", "fetch it again")
    if not isinstance(description.get("model"), dict) or "vocab" not in description["model"]:
        raise DamagedDataError(f"{path} is not a tokenizer file; fetch it again")
    return description


def _tokens(description: dict, size: int) -> tuple[list[str], list[int]]:
    """Texts and kinds of all ids up to `size`; ids that no token has are named and never used."""
    tokens, kinds = [f"[PAD{id}]" for id in range(size)], [int(KIND.UNUSED)] * size
    bytes_, unknown = {f"<0x{n:02X}>" for n in range(256)}, description["model"].get("unk_token")
    added = {token["id"]: token for token in description.get("added_tokens", [])}
    texts = {id: text for text, id in description["model"]["vocab"].items()}
    texts |= {id: token["content"] for id, token in added.items()}
    if texts and max(texts) >= size:
        raise DamagedDataError(f"tokenizer.json has the id {max(texts)}, the model {size} tokens; fetch both again")
    fallback = description["model"].get("byte_fallback", False)
    for id, text in texts.items():
        kind = KIND.NORMAL
        if id in added:
            kind = KIND.CONTROL if added[id].get("special") else KIND.USER_DEFINED
        elif fallback and text in bytes_:
            kind = KIND.BYTE
        if text == unknown:
            kind = KIND.UNKNOWN
        if fallback and kind == KIND.USER_DEFINED:
            text = text.replace(SPACE, " ")
        tokens[id], kinds[id] = text, int(kind)
    return tokens, kinds


def _cut(description: dict) -> str:
    """The GGUF name of a byte-level tokenizer's pre-tokenizer."""
    steps = description.get("pre_tokenizer") or {}
    steps = steps.get("pretokenizers", [steps])
    digits = any(step.get("type") == "Digits" and step.get("individual_digits") for step in steps)
    patterns = tuple(step["pattern"].get("Regex") for step in steps if step.get("type") == "Split")
    kinds = {step.get("type") for step in steps}
    regex = any(step.get("type") == "ByteLevel" and step.get("use_regex", True) for step in steps)
    if "ByteLevel" in kinds <= {"Digits", "Split", "ByteLevel"} and regex == (not patterns):
        for name, cut in CUTS.items():
            if cut == (digits, patterns):
                return name
    known = ", ".join(CUTS)
    raise UsageError(f"the tokenizer cuts text by {patterns or steps}, which is none of the known cuts: {known}")
