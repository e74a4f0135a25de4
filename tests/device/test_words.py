"""Words of every script, in lexicons and ROUGE alike; English as it was when selection was measured."""

import json
import re
import unicodedata

import pytest
from idletune.learning.rouge import rouge1
from idletune.selection.lexicons import Lexicons
from idletune.selection.scores import domain_specific_score, dominant_domain
from idletune.words import Vocabulary, words

SPACED = {
    "hindi": "मुझे यह दवा खाने के बाद लेनी चाहिए",
    "bengali": "আমি বাংলায় গান গাই",
    "tamil": "எனக்கு தமிழ் பிடிக்கும்",
    "malayalam": "മലയാളം എന്റെ ഭാഷ",
    "hebrew with points": "בְּרֵאשִׁית בָּרָא אֱלֹהִים",
    "arabic with harakat": "السَّلَامُ عَلَيْكُمْ",
    "decomposed vietnamese": unicodedata.normalize("NFD", "tiếng Việt rất đẹp"),
    "letters with marks that do not compose": "bɛ̃ʒamɛ̃ ʁa",
}
UNSPACED = {
    "thai": "ผมต้องกินยาก่อนนอนและดื่มน้ำ",
    "lao": "ຂ້ອຍກິນເຂົ້າແລ້ວນໍ້າ",
    "japanese": "朝ご飯の後で薬を飲むとガラス",
    "chinese": "医生说今天要吃药",
    "halfwidth kana": "ｶﾞﾗｽ",
}


@pytest.mark.parametrize("text", SPACED.values(), ids=SPACED)
def test_marks_belong_to_their_word(text):
    assert words(text) == unicodedata.normalize("NFC", text).lower().split()


@pytest.mark.parametrize("text", UNSPACED.values(), ids=UNSPACED)
def test_a_script_without_spaces_is_split_as_unicode_splits_it(text):
    graphemes = pytest.importorskip("regex").findall(r"\X", text)
    assert words(text) == graphemes and len(graphemes) > 1


@pytest.mark.parametrize("text", [*SPACED.values(), "naïve ЁЛКА straße 35 Ⅷ", "e\u0301t\u00e9 snake-case"])
def test_words_are_those_of_the_regex_module(text):
    lowered = unicodedata.normalize("NFC", text).lower()
    assert words(text) == pytest.importorskip("regex").findall(r"\w+", lowered)


def test_invisible_characters_are_no_part_of_a_word():
    assert words("می\u200cخواهم") == words("میخواهم") == ["میخواهم"]
    assert words("soft\u00adware \ufeffbread\u200f 1\ufe0f\u20e3") == ["software", "bread", "1"]
    assert words("ภาษา\u200bไทย", Vocabulary(["ภาษาไทย"]))[0] != "ภาษาไทย"  # a zero width space separates


def test_the_longest_entry_of_the_vocabulary_is_the_word():
    known = Vocabulary(["薬", "薬局", "図書館", "bread"])
    assert words("薬局と図書館でbreadと薬を", known) == ["薬局", "と", "図書館", "で", "bread", "と", "薬", "を"]
    assert words("図書", known) == ["図", "書"]


@pytest.mark.parametrize(
    "entries, text, unrelated",
    [
        ("दवा", "मुझे दवा चाहिए", "दिन वह आया"),
        ("薬局", "近くの薬局はどこですか", "郵便局はどこですか"),
        ("ยา", "ต้องกินยาไหม", "ฝนจะตกไหม"),
        ("دَوَاء", "هَذَا دَوَاء جَدِيد", "هَذَا بَيْت جَدِيد"),
        ("மருந்து", "இது மருந்து", "இது வீடு"),
    ],
)
def test_a_lexicon_finds_its_word_and_not_its_letters(tmp_path, entries, text, unrelated):
    (tmp_path / "medicine.txt").write_text(entries, encoding="utf-8")
    lexicons = Lexicons.from_folder(tmp_path)
    assert lexicons["medicine"] == {entries}
    assert dominant_domain(lexicons.words(text), lexicons) == "medicine"
    assert dominant_domain(lexicons.words(unrelated), lexicons) == "other"
    assert domain_specific_score(lexicons.words(text), lexicons) == 1 / len(lexicons.words(text))


def test_unrelated_hindi_sentences_share_nothing():
    assert rouge1("आज मौसम बहुत सुहावना है", "मुझे किताबें पढ़ना पसंद") == 0.0
    assert rouge1("मुझे दवा चाहिए", "मुझे पानी चाहिए") == pytest.approx(2 / 3)


def test_a_turkish_capital_is_its_small_letter():
    assert words("İSTANBUL'un") == ["istanbul'un"]


@pytest.mark.slow
def test_english_is_what_selection_and_paraphrases_were_measured_with(conversations):
    """Both expressions are those of the version whose results the README gives."""
    plain = re.compile(r"[^\W_]+")
    contracted = re.compile(r"([^\W_]+(?:'(?!s\b)[^\W_]+)*)(?:'s\b)?")
    other = re.compile("[\xad\u0130\u0300-\u1fff\u200c-\u200f\u2060\u2c00-\U0010ffff]")
    files = [file.read_text("utf-8").splitlines() for file in sorted(conversations.glob("*.jsonl"))]
    texts = [json.loads(line)[side] for lines in files for line in lines for side in ("question", "response")]
    texts = [text.replace("\u2019", "'") for text in texts if not other.search(text)]
    assert len(texts) > 20_000
    for text in texts:
        text = unicodedata.normalize("NFC", text)
        assert words(text) == contracted.findall(text.lower())
        assert words(text, contractions=False) == plain.findall(text.lower())
