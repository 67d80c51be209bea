"""A number of workers, or a range of them: read back as it is written, refused in words."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workbench.core.errors import SpecError
from workbench.core.workers import (
    MOST_WORKERS,
    Workers,
    WorkersWish,
    parse_workers,
    read_wish,
    recorded_workers,
)
from workbench.pipeline.notebook import NotebookSpec
from workbench.pipeline.run import StepSpec

NUMBERS = st.integers(1, MOST_WORKERS)
WORKERS = st.tuples(NUMBERS, NUMBERS).map(lambda ends: Workers(min(ends), max(ends)))


@given(workers=WORKERS)
def test_what_is_written_is_read_back_as_the_same(workers: Workers) -> None:
    assert parse_workers(workers.wish) == workers
    assert parse_workers(str(workers)) == workers
    assert read_wish(workers.wish) == workers.wish


@given(workers=WORKERS)
def test_yaml_and_papermill_take_a_range_for_the_text_that_it_is(workers: Workers) -> None:
    from papermill.cli import _resolve_type

    assert yaml.safe_load(str(workers)) == workers.wish
    assert _resolve_type(str(workers)) == workers.wish


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [
        (1, 1, 1),
        (1024, 1024, 1024),
        ("3", 3, 3),
        ("3..3", 3, 3),
        ("2..8", 2, 8),
        (" 2 .. 8 ", 2, 8),
        ("..8", 1, 8),
        ("2..", 2, 1024),
        ("1..1024", 1, 1024),
    ],
)
def test_an_end_that_is_left_open_is_as_far_as_it_goes(
    wish: int | str, least: int, most: int
) -> None:
    assert parse_workers(wish) == Workers(least, most)


@pytest.mark.parametrize(
    ("wish", "what", "next_step"),
    [
        ("8..2", "'8..2' workers end below where they begin", "Perhaps 2..8 is meant."),
        ("0..3", "'0..3' is not within 1 to 1024 workers", "a range such as 2..8"),
        ("1..5000", "'1..5000' is not within 1 to 1024 workers", "1.. takes what is there"),
        (0, "0 is not within 1 to 1024 workers", "a whole number such as 4"),
        (-1, "-1 is not within 1 to 1024 workers", "a whole number such as 4"),
        ("two", "'two' is no number of workers", "a whole number such as 4"),
        ("", "'' is no number of workers", "a whole number such as 4"),
        ("..", "'..' is no number of workers", "a range such as 2..8"),
        ("2...8", "'2...8' is no number of workers", "a range such as 2..8"),
        ("2-8", "'2-8' is no number of workers", "a range such as 2..8"),
        ("٢..٨", "'٢..٨' is no number of workers", "a range such as 2..8"),
        ("9" * 5_000, "99 is no number of workers", "a whole number such as 4"),
        (True, "True is no number of workers", "a whole number such as 4"),
        (2.5, "2.5 is no number of workers", "a whole number such as 4"),
        (None, "None is no number of workers", "a whole number such as 4"),
        ([2, 8], "[2, 8] is no number of workers", "a range such as 2..8"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_number_of_workers_is_refused_with_what_to_give(
    wish: object, what: str, next_step: str
) -> None:
    with pytest.raises(SpecError) as refused:
        parse_workers(wish)
    assert what in refused.value.what
    assert refused.value.where == "workers"
    assert next_step in refused.value.next_step


@given(wish=st.text(max_size=12) | st.floats() | st.integers() | st.none() | st.booleans())
def test_a_wish_is_understood_or_refused_and_nothing_else(wish: Any) -> None:
    try:
        workers = parse_workers(wish)
    except SpecError:
        return
    assert 1 <= workers.least <= workers.most <= MOST_WORKERS


def test_a_step_of_a_pipeline_takes_a_range_and_refuses_nonsense() -> None:
    assert StepSpec(notebook="train", workers="..8").workers == "1..8"
    assert NotebookSpec(notebook="train", workers="3").workers == 3
    assert NotebookSpec(notebook="train").workers == 1
    with pytest.raises(ValidationError, match=r"Perhaps 2\.\.8 is meant"):
        StepSpec(notebook="train", workers="8..2")
    with pytest.raises(SpecError, match="True is no number of workers"):
        NotebookSpec.parse({"notebook": "train", "workers": True})


def test_a_run_of_a_daemon_that_knows_no_ranges_asked_for_exactly_its_number() -> None:
    assert recorded_workers({"workers": 3}) == Workers(3, 3)
    assert recorded_workers({"workers": 3, "least_workers": 1}) == Workers(1, 3)


def test_a_wish_is_a_plain_json_value() -> None:
    wishes: list[WorkersWish] = [parse_workers(wish).wish for wish in ("4", "2..8")]
    assert wishes == [4, "2..8"]
