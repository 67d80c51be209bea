"""Verbalisers: what an answer in words means."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.prompts.verbaliser import Choice, JsonAnswer, Score, Spans, YesNo

MOOD = Choice(words={"good": ["good", "great"], "bad": ["bad"], "none": ["no", "no idea"]})


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("good", "good"), ("  Great!\n", "good"), ("**bad**", "bad"), ("It is bad.", "bad"),
        ("no idea", "none"), ("no", "none"), ("good or bad", "good"), ("is it good or bad?", None),
        ("goodness", None), ("", None), ("bäd", None), ("notable", None),
    ],
)  # fmt: skip
def test_an_answer_says_the_label_whose_words_it_begins_with_or_alone_names(
    answer: str, label: str | None
) -> None:
    assert MOOD.read(answer) == label


def test_of_words_that_begin_alike_the_longest_count() -> None:
    answers = Choice(words={"no": ["no"], "unsure": ["no idea"]})
    assert (answers.read("No idea, sorry"), answers.read("No, never")) == ("unsure", "no")


def test_numbers_and_yes_are_read() -> None:
    score = Score(low=0, high=10)
    assert [score.read(text) for text in ("7", "10 of 10", "11", "seven")] == [
        "7", "10", None, None,
    ]  # fmt: skip
    assert [option.label for option in score.options()][:3] == ["0", "1", "2"]
    assert YesNo(yes=["yes", "sure"]).read("Sure, it is") == "yes"


@given(st.text())
def test_whatever_is_written_is_a_label_or_none(text: str) -> None:
    assert MOOD.read(text) in {"good", "bad", "none", None}
    assert JsonAnswer(fields={"a": "text"}).read(text) is None or "a" in text
    spans = Spans(labels=["person"]).read(text, text)
    assert spans is None or spans == []


def test_pieces_are_found_in_the_text_and_made_up_ones_left_out() -> None:
    spans = Spans(labels=["person", "place"])
    text = "Ann saw Ann in Rome"
    written = [
        {"text": "Ann", "label": "person"}, {"text": "Ann", "label": "person"},
        {"text": "Paris", "label": "place"}, {"text": "Rome", "label": "planet"}, "Rome",
        {"text": "Rome", "label": "place"},
    ]  # fmt: skip
    answer = f"Here they are:\n```json\n{json.dumps(written)}\n```"
    for told in (answer, json.dumps(written), f"Well: {json.dumps(written)} that is all"):
        assert spans.read(told, text) == [
            {"start": 0, "end": 3, "text": "Ann", "label": "person"},
            {"start": 8, "end": 11, "text": "Ann", "label": "person"},
            {"start": 15, "end": 19, "text": "Rome", "label": "place"},
        ]
    assert spans.read("nobody", text) is None


def test_an_object_has_the_fields_that_were_asked_for_or_is_none() -> None:
    answer = JsonAnswer(fields={"name": "text", "age": "number", "tags": "list", "ok": "yes_no"})
    right = {"name": "Ann", "age": 3, "tags": [], "ok": True}
    assert answer.read(json.dumps(right | {"more": 1})) == right
    for wrong in ({"age": True}, {"age": "3"}, {"tags": {}}, {"ok": 1}, {"name": None}):
        assert answer.read(json.dumps(right | wrong)) is None
    assert answer.read('{"name": "Ann", "age": NaN, "tags": [], "ok": true}') is None
    assert answer.read("[" * 100_000) is None
