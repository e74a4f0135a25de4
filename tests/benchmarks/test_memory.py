"""The memory benchmarks on made-up data in the forms of the published files."""

import csv
import json

import numpy as np
import pytest
from idletune.dialogue import Exchange
from idletune.errors import UsageError

from benchmarks import evidence
from benchmarks.memory import locomo, longmemeval, personamem, prefeval
from benchmarks.memory.answers import f1, overlap
from benchmarks.memory.history import History, MemoryQuestion, spread
from benchmarks.memory.recall import difference, hits, shares
from benchmarks.memory.systems import ours


def turn(id, text):
    return {"speaker": "Ann", "dia_id": id, "text": text}


def test_locomo_pairs_the_turns_of_each_session_and_finds_the_evidence(tmp_path):
    sample = {
        "sample_id": "conv-1",
        "conversation": {
            "session_10": [turn("D10:1", "last")],
            "session_2": [turn("D2:1", "one"), turn("D2:2", "two"), turn("D2:3", "three")],
            "session_2_date_time": "8 May",
        },
        "qa": [
            {"question": "a?", "answer": 2022, "evidence": ["D2:2; D10:1"], "category": 1},
            {"question": "b?", "answer": "x", "evidence": ["D9:9"], "category": 4},
            {"question": "c?", "adversarial_answer": "x", "evidence": ["D2:1"], "category": 5},
        ],
    }
    (tmp_path / locomo.FILE).write_text(json.dumps([sample, sample]))
    (history,) = locomo.load(tmp_path, 1)
    assert history.exchanges == [Exchange("one", "two"), Exchange("three", ""), Exchange("last", "")]
    assert history.questions == [MemoryQuestion("a?", "2022", frozenset([0, 2]), "multi-hop")]


def test_longmemeval_makes_rounds_and_leaves_out_what_has_no_evidence(tmp_path):
    def said(role, text, **more):
        return {"role": role, "content": text, **more}

    session = [said("assistant", "hello"), said("user", "my cat is Minka", has_answer=True), said("assistant", "nice")]
    entry = {
        "question_id": "q1",
        "question_type": "single-session-user",
        "question": "what is my cat called?",
        "answer": "Minka",
        "haystack_sessions": [session, [said("user", "bye")]],
    }
    (tmp_path / longmemeval.FILES[1]).write_text(json.dumps([{**entry, "question_id": "q0_abs"}, entry]))
    (history,) = longmemeval.load(tmp_path)
    assert history.exchanges == [Exchange("", "hello"), Exchange("my cat is Minka", "nice"), Exchange("bye", "")]
    assert (history.name, history.questions[0].evidence) == ("q1", {1})


def test_prefeval_states_all_preferences_of_a_topic_before_its_questions(tmp_path):
    folder = tmp_path / "prefeval" / "mcq_options"
    folder.mkdir(parents=True)
    for topic in "ab":
        entries = [
            {
                "preference": f"I like {topic}{n}",
                "question": f"{topic}{n}?",
                "classification_task_options": ["yes", "no"],
            }
            for n in range(2)
        ]
        (folder / f"{topic}.json").write_text(json.dumps(entries))
    found = prefeval.load(tmp_path)
    assert [choice.question for choice in found] == ["a0?", "a1?", "b0?", "b1?"]
    assert [said.question for said in found[3].said] == ["I like b0", "I like b1"] and found[3].right == 0
    assert [asked.evidence for asked in prefeval.history(tmp_path).questions] == [{0}, {1}, {2}, {3}]


def test_personamem_cuts_the_context_where_the_question_was_asked(tmp_path):
    messages = [
        {"role": "system", "content": "a persona"},
        {"role": "user", "content": "I moved to Lyon"},
        {"role": "assistant", "content": "how nice"},
        {"role": "user", "content": "later"},
    ]
    (tmp_path / personamem.CONTEXTS).write_text(json.dumps({"c1": messages}) + "\n")
    with (tmp_path / personamem.QUESTIONS).open("w", newline="") as file:
        row = {
            "shared_context_id": "c1",
            "end_index_in_shared_context": 3,
            "user_question_or_message": "where do I live?",
            "correct_answer": "(b)",
            "all_options": str(["(a) in Paris (France)", "(b) in Lyon"]),
        }
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    (choice,) = personamem.load(tmp_path)
    assert choice.said == [Exchange("I moved to Lyon", "how nice")]
    assert (choice.choices, choice.right) == (["in Paris (France)", "in Lyon"], 1)


@pytest.mark.parametrize("load", [locomo.load, longmemeval.load, prefeval.load, prefeval.history, personamem.load])
def test_data_that_is_not_there_is_named(load, tmp_path):
    with pytest.raises(UsageError, match=r"no.* in .*; .*"):
        load(tmp_path)


def test_f1_is_locomos():
    assert overlap("The cats, and a dog!", "dog cat") == 1
    assert overlap("one two three", "three four") == pytest.approx(2 / 5) and overlap("", "x") == 0
    assert f1("painting, swims", MemoryQuestion("", "swimming, pottery", frozenset(), "multi-hop")) == 0.5
    assert f1("yes", MemoryQuestion("", "Yes; she said so", frozenset(), "open domain")) == 1


def test_recall_counts_questions_whose_evidence_is_among_the_first():
    exchanges = [Exchange(f"about thing{chr(97 + n)}", "") for n in range(12)]
    asked = [MemoryQuestion(f"thing{chr(97 + n)}?", "", frozenset([n]), "") for n in (0, 5)]
    history = History("h", exchanges, asked)
    backwards = hits([history], lambda texts: lambda question: list(range(11, -1, -1)), lambda done: None)
    assert backwards.tolist() == [[False] * 4, [False, False, False, True]]
    assert shares(backwards) == {"1": 0, "3": 0, "5": 0, "10": 0.5}
    better = hits([history], ours, lambda done: None)
    assert set(difference(backwards, backwards).values()) == {0}
    assert difference(np.ones_like(better), backwards) == {"more": 1, "low": 1, "high": 1}


def test_questions_are_spread_over_all_parts():
    assert spread(list(range(10)), 3) == [0, 3, 6] and spread([1, 2], 5) == [1, 2]


def test_what_was_found_is_told():
    part = {
        "exchanges": 402,
        "questions": 231,
        "recall": {"ours": {"1": 0.41, "3": 0.6}, "BM25": {"1": 0.39, "3": 0.55}},
        "ours_more_at_3": {"BM25": {"more": 0.05, "low": 0.01, "high": 0.09}},
    }
    found = {"machine": {}, "locomo": part, "locomo_answers": {"questions": 9, "f1": {"no memory": 0.02, "ours": 0.1}}}
    told = evidence.recall_table(found).splitlines()
    assert told[2] == "| LoCoMo: 231 questions, 402 exchanges | ours | 41% | 60% |  |"
    assert told[3].endswith("| BM25 | 39% | 55% | +5.0% (+1.0% .. +9.0%) |") and len(told) == 4
    assert evidence.memory_sentence(found) == "LoCoMo's F1 of 9 greedy answers: 0.020 with no memory, 0.100 with ours."
