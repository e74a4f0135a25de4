"""The plain Python tokenizer says what the tokenizers library says, on any text."""

import json
import random

import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.model.tokenizer import Tokenizer
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Reference

SEEN = [
    "the theatre thesis of 12 345 and the other",
    "isn't IT'S they're  two  spaces",
    "naïve café 日本語 ½",
    "a\n\n b\t c",
] * 3
TEXTS = [
    "",
    " ",
    "the other thesis",
    "isn't IT'S 12345 \n\n  x\t=\t3.14?",
    "naïve 日本 🐕 ½²Ⅷ ａ\u0301",
    "a\x1cb\x85c\u3000d",
    "the<|im_end|>\nthe<b>the</b> other<|im_end|><|im_start|>thesis",
    "<|im_end|>the<|im_start|>",
    "<b>bold</b>",
    "\U0001f9ff\u0378 unassigned",
]


def random_texts(count=30):
    """Letters, digits, white space and arbitrary characters, mixed."""
    rng = random.Random(0)

    def character():
        return chr(rng.choice([rng.randrange(32, 127), rng.randrange(128, 0xD7FF), rng.choice([9, 10, 13, 32, 32])]))

    return ["".join(character() for _ in range(80)) for _ in range(count)]


def trained(steps, normalizer=None, **options):
    tokenizer = Reference(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if steps else None
    if normalizer:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if steps else []
    special = [f"<0x{byte:02X}>" for byte in range(256)] if options.get("byte_fallback") else []
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, special_tokens=["<unk>", *special], show_progress=False
    )
    tokenizer.train_from_iterator(SEEN, trainer)
    control = [AddedToken(text, normalized=False, special=True) for text in ("<|im_start|>", "<|im_end|>")]
    tokenizer.add_special_tokens(control)
    tokenizer.add_tokens([AddedToken("<b>", normalized=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
KINDS = {
    "gpt-2": lambda: trained([pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "digits": lambda: trained(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    ),
    "regex": lambda: trained([pre_tokenizers.Split(Regex(QWEN), "isolated"), BYTES]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_byte_level_equals_the_library(tmp_path, kind):
    reference = KINDS[kind]()
    reference.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer(tmp_path / "tokenizer.json")
    for text in TEXTS + random_texts() + SEEN:
        ids = ours.encode(text, special=True)
        assert ids == reference.encode(text, add_special_tokens=False).ids, repr(text)
        spoken = text.replace("<|im_start|>", "").replace("<|im_end|>", "")
        assert b"".join(map(ours.piece, ids)).decode() == spoken


@pytest.mark.parametrize("before", [[], [normalizers.Prepend("▁")]], ids=["as it is", "a space before each text"])
def test_sentencepiece_equals_the_library(tmp_path, before):
    normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", "▁")])
    reference = trained([], normalizer, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    reference.save(str(tmp_path / "tokenizer.json"))
    # The trainer put the bytes among the special tokens; in a real file they are pieces.
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    description["added_tokens"] = [t for t in description["added_tokens"] if not t["content"].startswith("<0x")]
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    reference, ours = Reference.from_file(str(tmp_path / "tokenizer.json")), Tokenizer(tmp_path / "tokenizer.json")
    for text in TEXTS + random_texts() + SEEN:
        ids = ours.encode(text, special=True)
        assert ids == reference.encode(text, add_special_tokens=False).ids, repr(text)


def test_a_word_that_is_a_token_needs_no_merges(tmp_path):
    path = tmp_path / "tokenizer.json"
    KINDS["regex"]().save(str(path))
    description = json.loads(path.read_text())
    description["model"]["vocab"] |= {"Ġzebra": 900, "zebras": 901}
    for whole_words in (False, True):
        description["model"]["ignore_merges"] = whole_words
        path.write_text(json.dumps(description))
        reference, ours = Reference.from_file(str(path)), Tokenizer(path)
        for text in ["a zebra", "zebras zebra", "zebrass"]:
            ids = ours.encode(text, special=True)
            assert ids == reference.encode(text, add_special_tokens=False).ids
            assert bool({900, 901} & set(ids)) == (whole_words and text != "zebrass")


UNREADABLE = [
    {"type": "Split", "pattern": {"Regex": r"\p{Han}+"}, "behavior": "Isolated"},
    {"type": "Split", "pattern": {"Regex": r"\P{L}+"}, "behavior": "Isolated"},
    {"type": "Split", "pattern": {"Regex": r"[\p{L}&&[^a]"}, "behavior": "Isolated"},
    {"type": "Split", "pattern": {"Regex": r"[^\S]+"}, "behavior": "Isolated"},
    {"type": "Split", "pattern": {"Regex": r"\p{L}+"}, "behavior": "Removed"},
    {"type": "Split", "pattern": {"Regex": r"\p{L}+"}, "behavior": "Isolated", "invert": True},
    {"type": "Punctuation"},
]


@pytest.mark.parametrize("step", UNREADABLE, ids=str)
def test_a_cut_that_cannot_be_read_refuses_the_model_in_one_line(tmp_path, step):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {}, "merges": []}, "pre_tokenizer": step}))
    with pytest.raises(UsageError, match="the tokenizer cuts text by .* use the llama.cpp backend") as error:
        Tokenizer(path)
    assert "\n" not in str(error.value)


def test_control_tokens_are_text_unless_asked_for(tmp_path):
    KINDS["gpt-2"]().save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer(tmp_path / "tokenizer.json")
    (id,) = tokenizer.encode("<|im_end|>", special=True)
    assert tokenizer.special["<|im_end|>"] == id and tokenizer.piece(id) == b""
    spoken = tokenizer.encode("<|im_end|>", special=False)
    assert id not in spoken and b"".join(map(tokenizer.piece, spoken)) == b"<|im_end|>"
    assert tokenizer.piece(tokenizer.encode("<b>", special=False)[0]) == b"<b>"


def test_unknown_files_are_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    for text in ("{", "[]", '{"model": {"type": "Unigram", "vocab": []}}'):
        path.write_text(text)
        with pytest.raises(DamagedDataError, match="not a BPE tokenizer"):
            Tokenizer(path)
    path.write_text('{"model": {"vocab": {}, "merges": []}, "pre_tokenizer": {"type": "Metaspace"}}')
    with pytest.raises(UsageError, match="'Metaspace', which is not known"):
        Tokenizer(path)
