"""WhatsApp's text in the forms that phones of several regions write."""

from datetime import datetime

import pytest
from chat_samples import WHATSAPP, zipped
from idletune.chat_files import Skipped, Source, open_chat_file
from idletune.chat_files.whatsapp import parse_line
from idletune.dialogue import Exchange
from idletune.errors import DamagedDataError, UsageError

NARROW, NO_BREAK, LRM, RLM = "\u202f", "\u00a0", "\u200e", "\u200f"
ARABIC_DAY = f"\u0661\u0663{RLM}/\u0660\u0663{RLM}/\u0662\u0660\u0662\u0662"  # 13/03/2022


def read(text: str, me: str = "Ben Lee"):
    found = list(open_chat_file(Source("chat.txt", data=text.encode())).read(me))
    return [e for e in found if isinstance(e, Exchange)], [s for s in found if isinstance(s, Skipped)]


def stamp(exchange: Exchange) -> str:
    return datetime.fromtimestamp(exchange.at).strftime("%Y-%m-%d %H:%M:%S")


def test_my_replies_are_the_answers():
    found, skipped = read(WHATSAPP)
    assert [(e.question, e.response) for e in found] == [
        ("Is the bakery open?\nOn Sunday I mean", "Until noon\nand the one at the station\nuntil six"),
        ("Morning! Coffee?", "Yes"),
    ]
    assert [s.reason for s in skipped] == [
        "a notice of the app",
        "media, or a deleted message",
        "no answer to it",  # the market: the next message is of another day
        "an answer without a question",
    ]
    assert skipped[1].place == "chat.txt line 7"
    turned, _ = read(WHATSAPP, "anna")
    assert [(e.question, e.response) for e in turned][1:] == [("Good morning", "Morning! Coffee?")]


@pytest.mark.parametrize(
    "first, second, when",
    [
        ("13/03/22, 14:08 - A: q", "13/03/22, 14:09 - Ben Lee: a", "2022-03-13 14:09:00"),
        ("3/13/22, 2:08 PM - A: q", "3/13/22, 2:09 PM - Ben Lee: a", "2022-03-13 14:09:00"),
        (f"3/13/22, 2:08{NARROW}PM - A: q", f"3/13/22, 12:09{NARROW}AM - Ben Lee: a", "2022-03-13 00:09:00"),
        ("[13/03/2022, 14:08:59] A: q", "[13/03/2022, 14:09:58] Ben Lee: a", "2022-03-13 14:09:58"),
        (f"{LRM}[13.03.22, 14:08:59] A: q", f"{LRM}[13.03.22, 14:09:58] Ben Lee: a", "2022-03-13 14:09:58"),
        ("[2022-03-13, 2:08:59 p.m.] A: q", "[2022-03-13, 2:09:58 p.m.] Ben Lee: a", "2022-03-13 14:09:58"),
        ("2022/03/13, 14:08 - A: q", "2022/03/13, 14:09 - Ben Lee: a", "2022-03-13 14:09:00"),
        (f"13/3/22 2:08 p.{NO_BREAK}m. - A: q", f"13/3/22 2:09 p.{NO_BREAK}m. - Ben Lee: a", "2022-03-13 14:09:00"),
        ("[13.3.2022 klo 14.08.18] A: q", "[13.3.2022 klo 14.09.18] Ben Lee: a", "2022-03-13 14:09:18"),
        ("13.03.22, 14:08 \u2013 A: q", "13.03.22, 14:09 \u2013 Ben Lee: a", "2022-03-13 14:09:00"),
        (
            f"{ARABIC_DAY}\u060c \u0662:\u0660\u0668 \u0645 - A: q",
            f"{ARABIC_DAY}\u060c \u0662:\u0660\u0669 \u0645 - Ben Lee: a",
            "2022-03-13 14:09:00",
        ),
    ],
)
def test_dates_and_times_of_many_regions(first, second, when):
    (found,), _ = read(f"{first}\n{second}\n")
    assert (found.question, found.response, stamp(found)) == ("q", "a", when)


@pytest.mark.parametrize(
    "dates, days",
    [
        (("01/02/22", "01/03/22", "01/04/22"), ["2022-02-01", "2022-03-01", "2022-04-01"]),  # day first: 24 hours
        (("11/01/22", "12/01/22", "01/02/22"), ["2022-01-11", "2022-01-12", "2022-02-01"]),  # else it would run back
        (("01/11/22", "01/12/22", "02/01/22"), ["2022-01-11", "2022-01-12", "2022-02-01"]),
        (("01/02/22", "02/02/22", "13/02/22"), ["2022-02-01", "2022-02-02", "2022-02-13"]),
    ],
)
def test_which_number_is_the_day_is_told_by_the_whole_file(dates, days):
    text = "".join(f"{date}, 10:00 - A: q {date}\n{date}, 10:01 - Ben Lee: a\n" for date in dates)
    assert [stamp(e)[:10] for e in read(text)[0]] == days


def test_months_come_first_where_hours_are_twelve():
    text = "1/2/22, 9:00 AM - A: q\n1/2/22, 9:01 AM - Ben Lee: a\n"
    assert stamp(read(text)[0][0]) == "2022-01-02 09:01:00"


def test_lines_of_the_app_are_no_messages():
    text = "".join(
        f"[13/03/22, 14:0{n}:00] A: {line}\n"
        for n, line in enumerate([f"{LRM}image omitted", f"{LRM}<attached: 1.jpg>", "<Medien ausgeschlossen>",
                                  "IMG-20220312-WA0001.jpg (file attached)", "This message was deleted.", "<3 you"])
    )  # fmt: skip
    found, skipped = read(text + "[13/03/22, 14:09:00] Ben Lee: <3")
    assert [(e.question, e.response) for e in found] == [("<3 you", "<3")] and len(skipped) == 5


def test_names_are_told_and_found():
    with pytest.raises(UsageError, match="say who you are in it, with --me and one of: Ben Lee, Anna|Anna, Ben Lee"):
        read(WHATSAPP, "")
    with pytest.raises(UsageError, match="nobody in it is called 'Eve'"):
        read(WHATSAPP, "Eve")
    text = f"[13/03/22, 14:08:00] ~{NARROW}Zoe\u0301: q: and more\n[13/03/22, 14:09:00] Ben Lee: a: b"
    (found,), _ = read(text, "ben lee")
    assert (found.question, found.response) == ("q: and more", "a: b")
    assert len(read(text + f"\n[13/03/22, 14:10:00] ~{NARROW}Zoe\u0301: yes", "Zo\u00e9")[0]) == 1


def test_what_only_looks_like_a_beginning():
    for text in ("13/03/22 was a Sunday", "14:08 - A: q", "[1/2/3] x", "12/03/22, 14:08 A: q", "", LRM):
        assert parse_line(text) is None


def test_a_message_and_a_line_are_bounded():
    long = "13/03/22, 14:08 - A: q\n" + "word " * 30_000 + "\n13/03/22, 14:09 - Ben Lee: a\n"
    assert [s.reason for s in read(long)[1]] == ["longer than 64 KB", "an answer without a question"]


def test_an_archive_of_an_iphone_and_other_bytes():
    data = zipped(_chat_txt=WHATSAPP.encode())
    assert (
        len([e for e in open_chat_file(Source("chat.zip", data=data)).read("Ben Lee") if isinstance(e, Exchange)]) == 2
    )
    with pytest.raises(DamagedDataError, match="line 2 is not UTF-8 text"):
        list(open_chat_file(Source("c", data=b"13/03/22, 14:08 - A: q\n13/03/22, 14:09 - B: \xff\n")).read("B"))


def test_a_day_that_no_calendar_has_costs_its_time_alone():
    (found,), _ = read("31/02/22, 14:08 - A: q\n31/02/22, 14:09 - Ben Lee: a\n")
    assert found.at is None
