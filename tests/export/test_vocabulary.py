"""Every way to cut text into words that is known: the device's tokenizer says what the tokenizers library says."""

import random

import gguf
import pytest
from idletune.model.tokenizer import Tokenizer
from idletune_export.vocabulary import CUTS, WHOLE_WORDS, Vocabulary, write_tokenizer
from tokenizers import Tokenizer as Reference

TEXTS = [
    "Isn't THIS iPhone's cAmElCaSe'D? it'Ll do",
    "1234567 a1b22c333 ½²Ⅷ",
    "naïve é à la façon, ǅ ª ƻ हिन्दी ไทย",
    "日本語とかなカナ 漢字。한국어",
    "a_b-c/d //path/to\n\n\t $x+=y; #tag !bang ~/\r\nend ",
    "   spaces   \n  and\u3000wide\u00a0ones",
    "the<end>the",
]


def random_texts(count=20):
    rng = random.Random(0)
    kinds = [range(32, 127), range(160, 0x600), range(0x900, 0xA00), range(0x3000, 0x3100), range(0x4E00, 0x4F00)]
    return ["".join(chr(rng.choice(rng.choice(kinds))) for _ in range(80)) for _ in range(count)]


def vocabulary(cut: str) -> Vocabulary:
    """Bytes and some merges across them, so that it shows where a text is cut."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("1", "2"), ("12", "3"), ("a", "b"), ("'", "s"), ("s", "?")]
    merges += [(first, second) for first in "TIxĠĊ" for second in "hHsSĠĊ1'"]
    merged = list(dict.fromkeys(first + second for first, second in merges))
    tokens = ["<end>", *alphabet, *merged, *(["iPhone", "Ġzebra"] if cut in WHOLE_WORDS else [])]
    kinds = [gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(tokens) - 1)
    return Vocabulary(tokens, kinds, None, merges, cut, {"eos": 0})


@pytest.mark.parametrize("cut", CUTS)
def test_the_device_cuts_as_the_library_does(tmp_path, cut):
    write_tokenizer(vocabulary(cut), tmp_path)
    path = tmp_path / "tokenizer.json"
    reference, ours = Reference.from_file(str(path)), Tokenizer(path)
    for text in [*TEXTS, *random_texts()]:
        assert ours.encode(text, special=True) == reference.encode(text, add_special_tokens=False).ids, repr(text)
