"""Every format is recognized by content, whatever a file is called, and read as it is written."""

import json

import pytest
from chat_samples import ALPACA, CHATTER_UI, ME, OPENAI, POCKETPAL, SAMPLES, SILLY_TAVERN, lines, zipped
from idletune.chat_files import FORMATS, Skipped, Source, open_chat_file
from idletune.dialogue import Exchange
from idletune.errors import DamagedDataError, UsageError


def read(data: bytes, me: str = "", format: str = ""):
    """Format, exchanges as pairs, and reasons of what is skipped."""
    file = open_chat_file(Source("talk", data=data), format)
    found = list(file.read(me))
    pairs = [(e.question, e.response) for e in found if isinstance(e, Exchange)]
    return file.format.name, pairs, [s.reason for s in found if isinstance(s, Skipped)]


def test_every_format_has_a_sample():
    assert SAMPLES.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_is_recognized_by_its_content(name):
    data, count = SAMPLES[name]
    for form in (data, b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), zipped(x_txt=data)):
        found, pairs, _ = read(form, ME.get(name, ""))
        assert (found, len(pairs)) == (name, count)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_can_be_named_and_progress_reaches_the_end(name):
    file = open_chat_file(Source("talk", data=SAMPLES[name][0]), name)
    assert list(file.read(ME.get(name, ""))) and file.position == file.size == len(SAMPLES[name][0])


def test_the_kept_branch_of_chatgpt():
    _, pairs, skipped = read(SAMPLES["chatgpt"][0])
    assert pairs[:2] == [
        ("How long does rye bread rise?", "Two hours, warm."),
        ("And in the fridge?", "Overnight \U0001f35e"),
    ]
    assert len(skipped) == 2 and "a tool's call" in skipped[0]


def test_an_archive_of_chatgpt_with_its_other_files():
    data = zipped(user_json=b'{"id": "user-1"}', conversations_json=SAMPLES["chatgpt"][0], chat_html=b"<html>")
    name, pairs, _ = read(data)
    assert name == "chatgpt" and len(pairs) == 4


def test_times_of_all_that_have_them():
    known = {}
    for name, (data, _) in SAMPLES.items():
        found = open_chat_file(Source("talk", data=data)).read(ME.get(name, ""))
        known[name] = [e.at for e in found if isinstance(e, Exchange)][0]
    without = {"idletune", "openai", "sharegpt", "alpaca", "completions", "claude"} - {"claude"}
    assert {name for name, at in known.items() if at is None} == without
    assert known["chatgpt"] == 1_700_000_004.5 and known["pocketpal"] == 1735689603
    assert known["chatterui"] == 1738404120 and known["openwebui"] == 1740000002 and known["sillytavern"] == 1752840120


def test_parts_and_roles_of_openai():
    name, pairs, skipped = read(lines(*OPENAI))
    assert pairs == [("Which flour?", "Rye."), ("How much?", "A pound."), ("Salt?", "A pinch.")] and not skipped
    odd = {"messages": [{"role": "user", "content": "x"}, {"role": "baker", "content": "y"}]}
    with pytest.raises(DamagedDataError, match="talk line 3: not OpenAI.*unknown role 'baker'"):
        read(lines(*OPENAI, odd))
    context = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0}]}
    assert read(lines(context))[1:] == ([], ["no text (an image, a tool's call, a setting)", "no answer to it"])


def test_an_answer_without_a_question_and_a_question_without_an_answer():
    assert read(SAMPLES["sharegpt"][0])[1:] == (
        [("Yeast?", "Fresh.")],
        ["an answer without a question", "no answer to it"],
    )


def test_alpaca_joins_instruction_and_input_as_array_and_as_lines():
    pairs = [("Translate\n\nBrot", "bread"), ("Say hi", "hi")]
    assert read(json.dumps(ALPACA, indent=1).encode())[1] == read(lines(*ALPACA))[1] == pairs


def test_silly_tavern_keeps_the_swipe_that_was_kept():
    assert read(lines(*SILLY_TAVERN))[1:] == (
        [("What do you bake?", "Rolls.")],
        ["an answer without a question", "a message hidden from the chat"],
    )


def test_pocketpal_in_either_order_in_a_list_and_in_a_backup():
    turned = {**POCKETPAL, "messages": POCKETPAL["messages"][::-1]}
    pairs = [("How long do I bake?", "Until it sounds hollow.")]
    for record in (POCKETPAL, turned, [POCKETPAL], {"format": "backup", "chats": [POCKETPAL], "pals": []}):
        assert read(json.dumps(record).encode())[:2] == ("pocketpal", pairs)
    locked = {"format": "backup", "encrypted": True, "encryption": {"salt": "x"}}
    with pytest.raises(DamagedDataError, match="an encrypted backup; export it without a password"):
        read(json.dumps(locked).encode())


def test_chatter_ui_goes_by_order_and_swipe():
    assert read(json.dumps(CHATTER_UI).encode())[1] == [("Which grain?", "Spelt.")]


def test_of_open_webui_the_branch_that_was_kept():
    assert read(SAMPLES["openwebui"][0])[1] == [("Sourdough?", "Yes.")]


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "holds nothing|of no known format"),
        (b"  \n ", "of no known format"),
        (b'{"a": 1}', "of no known format, it begins with records of a"),
        (b"question,response\nhi,hello\n", "of no known format, it begins with the line 'question,response'"),
        (b'[{"mapping": {}', "ends within a value"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "of no known format"),
        ('{"question": "hi"}'.encode("utf-16"), "no known format|UTF-16"),
    ],
)
def test_what_is_of_no_format_is_said_in_one_line(data, said):
    with pytest.raises((UsageError, DamagedDataError), match=said) as refused:
        read(data)
    assert "\n" not in str(refused.value)


def test_of_open_webui_thoughts_are_left_out():
    thought = '<details type="reasoning" done="true" duration="3">\\n<summary>Thought</summary>\\n> hm\\n</details>\\n'
    data = SAMPLES["openwebui"][0].decode().replace("Yes.", thought.replace('"', '\\"') + "Yes.")
    assert read(data.encode())[1] == [("Sourdough?", "Yes.")]


def test_me_is_refused_where_the_file_says_who_is_who():
    with pytest.raises(UsageError, match="leave --me out"):
        read(SAMPLES["chatgpt"][0], "Ben")


def test_half_a_character_right_to_left_and_zero_bytes():
    records = [
        {"messages": [{"role": "user", "content": "x \ud83d"}, {"role": "assistant", "content": "y"}]},
        {
            "messages": [
                {"role": "user", "content": "\u05e9\u05dc\u05d5\u05dd\u202e"},
                {"role": "assistant", "content": "a\0b\r\nc"},
            ]
        },
    ]
    data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    assert read(data)[1:] == ([("\u05e9\u05dc\u05d5\u05dd\u202e", "ab\nc")], ["half a character"])


def test_an_endless_branch_is_no_branch():
    looped = {"mapping": {"a": {"parent": "b"}, "b": {"parent": "a"}}, "current_node": "a"}
    with pytest.raises(DamagedDataError, match="record 1 .*branch of messages that was kept is broken"):
        read(json.dumps([looped]).encode())
