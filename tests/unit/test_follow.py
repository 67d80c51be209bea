"""What a terminal shows of a run's journal: lines that can be read, whatever facts come along."""

from __future__ import annotations

from typing import Any

from workbench.terminal.follow import describe, progress_text


def log(message: str, **facts: Any) -> str:
    return describe({"kind": "log", "payload": {"message": message, **facts}})


def test_few_facts_stand_beside_their_message_and_many_do_not() -> None:
    assert log("Rank 1 started", rank=1, pid=7) == "Rank 1 started rank=1 pid=7"
    told = log("kept 9 of 12", dropped={"empty": 2, "spam": 1}, changed={}, names=["a", "b"])
    assert told == "kept 9 of 12 (dropped: empty 2, spam 1) (names: a, b)"
    profile = {"seconds": {"input": 0.1}, "steps": 4}
    assert log("Time went", profile=profile, advice=[], all=list(range(9))) == "Time went"


def test_progress_that_cannot_be_counted_is_no_error() -> None:
    payload = {"done": None, "total": 0, "unit": "rows", "note": "reading"}
    assert progress_text(payload) == "[....................]   0% 0 of 0 rows · reading"
    payload = {"done": 400, "total": 1000, "unit": "rows"}
    assert progress_text(payload) == "[########............]  40% 400 of 1,000 rows"
