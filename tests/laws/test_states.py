"""Laws of a run's life: the table of states, whatever happens in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import Cause, SpecError
from workbench.queue.healing import LONGEST_WAIT_SECONDS, RULES, remedy_for
from workbench.queue.states import (
    ACTIVE,
    TERMINAL,
    TRANSITIONS,
    RunEvent,
    RunState,
    is_possible,
    next_state,
)

STATES = st.sampled_from(RunState)
EVENTS = st.sampled_from(RunEvent)


@given(STATES, EVENTS)
def test_every_event_in_every_state_either_moves_or_is_refused(
    state: RunState, event: RunEvent
) -> None:
    if is_possible(state, event):
        assert next_state(state, event) in RunState
    else:
        with pytest.raises(SpecError, match=f"Cannot {event} a run that is {state}"):
            next_state(state, event)


@given(st.sampled_from(sorted(TERMINAL)), EVENTS)
def test_a_run_that_is_over_is_left_only_by_resume(state: RunState, event: RunEvent) -> None:
    if is_possible(state, event) and next_state(state, event) != state:
        assert event == RunEvent.RESUME
        assert next_state(state, event) == RunState.WAITING


def test_a_run_that_succeeded_is_never_left() -> None:
    assert [event for event in RunEvent if is_possible(RunState.SUCCEEDED, event)] == []


@given(st.lists(EVENTS, max_size=40))
def test_any_sequence_of_possible_events_ends_in_a_known_state(events: list[RunEvent]) -> None:
    state = RunState.WAITING
    for event in events:
        if is_possible(state, event):
            state = next_state(state, event)
    assert state in RunState
    assert any((state, event) in TRANSITIONS for event in RunEvent) or state == RunState.SUCCEEDED


@given(STATES, st.sampled_from([RunEvent.PAUSE, RunEvent.RESUME, RunEvent.CANCEL]))
def test_what_a_person_asks_twice_is_as_if_asked_once(state: RunState, event: RunEvent) -> None:
    if is_possible(state, event):
        once = next_state(state, event)
        assert next_state(once, event) == once


@given(st.sampled_from(sorted(ACTIVE)))
def test_a_lost_attempt_never_leaves_its_run_active(state: RunState) -> None:
    assert next_state(state, RunEvent.LOSE) not in ACTIVE


@given(st.sampled_from(sorted(ACTIVE)))
def test_finished_work_is_never_thrown_away(state: RunState) -> None:
    assert next_state(state, RunEvent.SUCCEED) == RunState.SUCCEEDED


@given(STATES)
def test_only_start_makes_a_waiting_run_active(state: RunState) -> None:
    makers = {
        event
        for event in RunEvent
        if state not in ACTIVE and is_possible(state, event) and next_state(state, event) in ACTIVE
    }
    assert makers == ({RunEvent.START} if state == RunState.WAITING else set())


def test_every_state_can_be_reached_and_from_all_but_success_waiting_again() -> None:
    assert _reachable(RunState.WAITING) == set(RunState)
    for state in set(RunState) - {RunState.SUCCEEDED}:
        assert RunState.WAITING in _reachable(state)


HEALED = sorted(cause for cause, rule in RULES.items() if not rule.rests)


@given(st.integers(1, 200))
def test_a_run_that_rests_starts_again_only_when_somebody_says_so(num_failures: int) -> None:
    for cause in (cause for cause, rule in RULES.items() if rule.rests):
        remedy = remedy_for(cause, num_failures)
        assert remedy is not None
        assert remedy.rests


@given(st.sampled_from(HEALED), st.integers(1, 200))
def test_every_remedy_is_bounded_and_says_how_often_it_is_tried(
    cause: Cause, num_failures: int
) -> None:
    remedy = remedy_for(cause, num_failures)
    assert (remedy is None) == (num_failures >= RULES[cause].most)
    if remedy is not None:
        assert 0 <= remedy.after_seconds <= LONGEST_WAIT_SECONDS
        assert f"({num_failures} of {RULES[cause].most - 1})" in remedy.told
        following = remedy_for(cause, num_failures + 1)
        assert following is None or following.after_seconds >= remedy.after_seconds


def test_an_error_without_a_cause_is_not_tried_again() -> None:
    assert remedy_for(None, 1) is None
    assert remedy_for(Cause.NOT_A_NUMBER, 1) is None, "the training itself has done what it can"


def _reachable(start: RunState) -> set[RunState]:
    found, frontier = {start}, [start]
    while frontier:
        state = frontier.pop()
        following = {after for (before, _), after in TRANSITIONS.items() if before == state}
        frontier += following - found
        found |= following
    return found
