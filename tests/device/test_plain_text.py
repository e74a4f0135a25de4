import pytest
from idletune.plain_text import one_line, safe_text

KEPT = {
    "Persian with ZWNJ": "می\u200cخواهم",
    "Malayalam with ZWJ": "അവന്\u200d",
    "a family": "👨\u200d👩\u200d👧\u200d👦",
    "a flag of tags": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "a rainbow flag": "🏳\ufe0f\u200d🌈",
    "an emoji newer than any table": "\U0001faff",
    "right to left marks": "שלום\u200f, (\u200eabc)",
    "a soft hyphen": "soft\u00adware",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_what_scripts_and_emoji_are_spelled_with_stays(text):
    assert one_line(text) == safe_text(text) == text


@pytest.mark.parametrize("unsafe", "\x00\x1b\x7f\x9b\u202e\u2067\u2069\u202a\ud83d\ue000\u0378\uffff\U0010fffd")
def test_what_moves_a_terminal_or_turns_text_around_goes(unsafe):
    assert safe_text(f"a{unsafe}b") == "ab"
    assert one_line(f"a {unsafe} b") == "a b" and unsafe not in one_line(f"a{unsafe}b")


def test_one_line_is_one_line():
    assert one_line(" a\nb\u2028c\u2029d\te\r\nf\x0bg\x85h ") == "a b c d e f g h"
    assert safe_text("a\n\tb\r\u2028") == "a\n\tb"
    assert one_line("exe\u202efdp.txt") == "exefdp.txt"  # no word falls apart


def test_a_long_line_is_cut_and_says_so():
    assert one_line("x" * 20, 10) == "x" * 7 + "..."
    assert one_line("x" * 6 + "\u200d" + "y" * 20, 10) == "x" * 6 + "..."
    assert one_line("x" * 10, 10) == "x" * 10
