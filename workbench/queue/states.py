"""The life of a run, as a pure table: (state, what happened) -> next state.

waiting ── started ──> running ── succeeded ──> succeeded
   ^                     │  │  └─ failed ─────> failed ────┐
   │ resume              │  └──── lost, stopped ─> waiting  │ resume: finished parts are kept
   └── paused <─ stopped ─ pausing                          │
   └────────────── cancelled <─ stopped ─ cancelling <──────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from workbench.core.errors import SpecError


class RunState(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunEvent(StrEnum):
    """What can happen to a run: people ask for the first three, attempts report the rest."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    STOP = "stop"  # the attempt noticed that it should stop, and did so at a safe point
    LOSE = "lose"  # the attempt's process is gone


TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
ACTIVE = frozenset({RunState.RUNNING, RunState.PAUSING, RunState.CANCELLING})

_S, _E = RunState, RunEvent
TRANSITIONS: dict[tuple[RunState, RunEvent], RunState] = {
    (_S.WAITING, _E.START): _S.RUNNING,
    (_S.WAITING, _E.SUCCEED): _S.SUCCEEDED,  # found in the cache
    (_S.WAITING, _E.PAUSE): _S.PAUSED,
    (_S.WAITING, _E.CANCEL): _S.CANCELLED,
    (_S.WAITING, _E.FAIL): _S.FAILED,  # lost too often to be started again
    (_S.RUNNING, _E.SUCCEED): _S.SUCCEEDED,
    (_S.RUNNING, _E.FAIL): _S.FAILED,
    (_S.RUNNING, _E.STOP): _S.WAITING,  # preempted, or resumed before it had stopped
    (_S.RUNNING, _E.LOSE): _S.WAITING,
    (_S.RUNNING, _E.PAUSE): _S.PAUSING,
    (_S.RUNNING, _E.CANCEL): _S.CANCELLING,
    (_S.PAUSING, _E.STOP): _S.PAUSED,
    (_S.PAUSING, _E.LOSE): _S.PAUSED,
    (_S.PAUSING, _E.SUCCEED): _S.SUCCEEDED,  # done before it noticed: work is not thrown away
    (_S.PAUSING, _E.FAIL): _S.FAILED,
    (_S.PAUSING, _E.RESUME): _S.RUNNING,
    (_S.PAUSING, _E.CANCEL): _S.CANCELLING,
    (_S.PAUSED, _E.RESUME): _S.WAITING,
    (_S.PAUSED, _E.CANCEL): _S.CANCELLED,
    (_S.CANCELLING, _E.STOP): _S.CANCELLED,
    (_S.CANCELLING, _E.LOSE): _S.CANCELLED,
    (_S.CANCELLING, _E.FAIL): _S.CANCELLED,
    (_S.CANCELLING, _E.SUCCEED): _S.SUCCEEDED,
    (_S.FAILED, _E.RESUME): _S.WAITING,
    (_S.CANCELLED, _E.RESUME): _S.WAITING,
}

# Asking for what is already so, or on its way, is no mistake: a second click on Pause.
_ALREADY = frozenset(
    {
        (_S.PAUSING, _E.PAUSE), (_S.PAUSED, _E.PAUSE), (_S.CANCELLING, _E.CANCEL),
        (_S.CANCELLED, _E.CANCEL), (_S.WAITING, _E.RESUME), (_S.RUNNING, _E.RESUME),
    }
)  # fmt: skip


def is_at_rest(run: Mapping[str, Any]) -> bool:
    """Whether a run, as its record tells it, goes on only if somebody does something about it.

    So are those that are over, and those that had to pause (for a full disk, say).
    """
    state = RunState(run["state"])
    return state in TERMINAL or (state == RunState.PAUSED and run["error"] is not None)


def is_possible(state: RunState, event: RunEvent) -> bool:
    """Whether the event may happen to a run in that state."""
    return (state, event) in TRANSITIONS or (state, event) in _ALREADY


def next_state(state: RunState, event: RunEvent) -> RunState:
    """Return the state after an event.

    Raises:
        SpecError: the event cannot happen in that state (for example, pausing a finished run).
    """
    if (state, event) in _ALREADY:
        return state
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise SpecError(
            f"Cannot {event} a run that is {state}",
            where="run",
            next_step="Submit its Spec again to run it anew." if state in TERMINAL else "",
        ) from None
