"""Texts in pages that a notification shows whole."""

import pytest
from hostile_replies import hostile_replies
from idletune.schedule.pages import LINE_COLUMNS, PAGE_COLUMNS, pages


def columns(page):
    return sum(LINE_COLUMNS if c == "\n" else 2 if ord(c) >= 0x1100 else 1 for c in page)


@pytest.mark.parametrize("text", ["", "a", "a b", "x" * 240, "\n" * 8, "日" * 120])
def test_what_fits_is_one_page(text):
    assert pages(text) == [text]


@pytest.mark.parametrize(
    "text", ["x" * 241, "word " * 1000, "\n" * 100, "日本" * 500, "a\n" * 50, " " * 999, "🙂" * 200]
)
def test_pages_are_the_whole_text_and_none_is_too_long(text):
    found = pages(text)
    assert "".join(found) == text and len(found) > 1
    assert all(0 < columns(page) <= PAGE_COLUMNS for page in found)


def test_hostile_texts_lose_nothing():
    for text in hostile_replies(600):
        assert "".join(pages(text)) == text


def test_words_stay_whole():
    assert all(page.endswith("word ") for page in pages("word " * 100)[:-1])
