"""Errors say what, where and what next, and say it still after pickling and JSON."""

from __future__ import annotations

import errno
import json
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import (
    BugError,
    DataError,
    Interruption,
    ResourceError,
    RunCancelled,
    RunPaused,
    SpecError,
    StageError,
    WorkbenchError,
    error_from_exception,
    error_from_json,
    nearest_name,
)

FAMILIES = [WorkbenchError, SpecError, DataError, ResourceError, StageError, BugError]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ERRORS = st.builds(
    lambda kind, what, where, next_step, detail: kind(
        what, where=where, next_step=next_step, detail=detail
    ),
    st.sampled_from(FAMILIES), TEXTS, TEXTS, TEXTS, TEXTS,
)  # fmt: skip


@given(ERRORS)
def test_an_error_survives_pickling(error: WorkbenchError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert again.to_json() == error.to_json()
    assert str(again) == str(error)


@given(ERRORS)
def test_an_error_survives_json(error: WorkbenchError) -> None:
    again = error_from_json(json.loads(json.dumps(error.to_json())))
    assert type(again) is type(error)
    assert again.to_json() == error.to_json()


def test_an_error_of_an_unknown_family_still_says_what_happened() -> None:
    error = error_from_json({"family": "weather", "what": "It rains"})
    assert (type(error), error.what) == (WorkbenchError, "It rains")


def test_an_error_reads_as_what_where_and_next() -> None:
    error = DataError("No such column", where="a.csv", next_step="Name one.", detail="traceback")
    assert str(error) == "No such column\n  where: a.csv\n  next:  Name one."


@pytest.mark.parametrize("interruption", [RunPaused, RunCancelled])
def test_no_except_exception_swallows_an_interruption(interruption: type[Interruption]) -> None:
    with pytest.raises(interruption):
        try:
            raise interruption
        except Exception:
            pytest.fail("swallowed")


@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EADDRINUSE, errno.EROFS, errno.EACCES,
     errno.EPERM],
)  # fmt: skip
def test_what_the_machine_lacks_is_a_resource_error_that_names_the_place(number: int) -> None:
    error = error_from_exception(OSError(number, os.strerror(number), "/data/x"), where="run r")
    assert (type(error), error.where) == (ResourceError, "/data/x")
    assert os.strerror(number) in error.what


def test_a_full_disk_without_a_file_name_is_placed_where_the_run_is() -> None:
    error = error_from_exception(OSError(errno.ENOSPC, "No space left"), where="/ws/runs/r")
    assert (type(error), error.where) == (ResourceError, "/ws/runs/r")


def test_a_missing_file_is_no_fault_of_the_machine() -> None:
    assert type(error_from_exception(FileNotFoundError("x"), where="run r")) is StageError


def test_running_out_of_memory_is_a_resource_error() -> None:
    assert type(error_from_exception(MemoryError(), where="run r")) is ResourceError


def test_any_other_exception_is_the_stages_and_keeps_its_traceback() -> None:
    try:
        raise ZeroDivisionError("a mistake")
    except ZeroDivisionError as mistake:
        error = error_from_exception(mistake, where="run r")
    assert (type(error), error.what) == (StageError, "ZeroDivisionError: a mistake")
    assert "test_errors.py" in error.detail


@given(ERRORS)
def test_a_workbench_error_passes_unchanged(error: WorkbenchError) -> None:
    assert error_from_exception(error, where="elsewhere") is error


@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=6), st.data())
def test_a_known_name_is_its_own_nearest(names: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names))
    assert nearest_name(name, names) == f"Did you mean {name!r}?"


def test_where_nothing_is_near_all_names_are_listed() -> None:
    assert nearest_name("zzz", ["train", "clean"]) == "Known: clean, train"
    assert nearest_name("zzz", []) == ""
