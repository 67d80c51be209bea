"""How a run enters the queue: as a new one, as one that is there already, or answered at once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from workbench.core.workers import DEFAULT_WORKERS, Workers, parse_workers
from workbench.queue.outcomes import Outcomes
from workbench.queue.rows import SupersededError, find_row, get_row, move_run, note_event
from workbench.queue.states import TERMINAL, RunEvent, RunState, is_possible
from workbench.queue.tables import RUNS


@dataclass(frozen=True)
class Submission:
    """A run as it is asked for."""

    run_id: str
    stage: str
    spec: str  # canonical JSON, references resolved
    cache_key: str | None
    coordinator: bool = False
    parent_run_id: str | None = None
    priority: int = 0
    workers: Workers = field(default_factory=lambda: parse_workers(DEFAULT_WORKERS))
    submitted_by: str = ""
    project: str = "default"
    elastic: bool = False  # its slots may change while it works
    note: str = ""  # for the first line of its journal


def take_in(connection: sa.Connection, submission: Submission, outcomes: Outcomes) -> Any:
    """Return the row of the run that a submission is, or joins."""
    parent_state = _parent_state(connection, submission)
    sibling = _sibling(connection, submission)
    if sibling is None:
        _insert(connection, submission)
        outcomes.answer_from_cache(connection, submission.run_id, submission.cache_key)
    elif RunState(sibling.state) in TERMINAL:
        move_run(connection, sibling, RunEvent.RESUME)
    row = get_row(connection, sibling.run_id if sibling else submission.run_id)
    is_paused = parent_state in (RunState.PAUSING, RunState.PAUSED)
    if is_paused and is_possible(RunState(row.state), RunEvent.PAUSE):
        move_run(connection, row, RunEvent.PAUSE)
    return get_row(connection, row.run_id)


def _parent_state(connection: sa.Connection, submission: Submission) -> RunState | None:
    """Return where the parent stands; None if there is none, or only in another workspace."""
    parent = find_row(connection, submission.parent_run_id or "")
    if parent is None:
        return None
    state = RunState(parent.state)
    if state in TERMINAL or state == RunState.CANCELLING:
        raise SupersededError(
            f"Run {parent.run_id} is {state} and may ask for no more runs",
            where=f"run {parent.run_id}",
        )
    return state


def _insert(connection: sa.Connection, submission: Submission) -> None:
    connection.execute(
        sa.insert(RUNS).values(
            **{
                **{k: v for k, v in submission.__dict__.items() if k != "note"},
                **_bounds(submission.workers),
                **_inherited(connection, submission),
            },
            state=RunState.WAITING,
            preempted=False,
            cached=False,
            term=0,
            losses=0,
            submitted_at=time.time(),
            outputs="{}",
        )
    )
    note_event(connection, submission.run_id, "state", {"state": RunState.WAITING})
    if submission.note:
        note_event(connection, submission.run_id, "log", {"message": submission.note})


def _inherited(connection: sa.Connection, submission: Submission) -> dict[str, Any]:
    """Return what a child has from its parent: the project, and urgency beside its own."""
    parent = find_row(connection, submission.parent_run_id or "")
    if parent is None:
        return {}
    priority = max(-100, min(100, submission.priority + parent.priority))
    return {"priority": priority, "project": parent.project}


def _sibling(connection: sa.Connection, submission: Submission) -> Any:
    if submission.parent_run_id is None or submission.cache_key is None:
        return None
    return connection.execute(
        sa.select(RUNS)
        .where(RUNS.c.parent_run_id == submission.parent_run_id)
        .where(RUNS.c.cache_key == submission.cache_key)
        .where(RUNS.c.state != RunState.SUCCEEDED)
    ).first()


def _bounds(workers: Workers) -> dict[str, int]:
    return {"least_workers": workers.least, "workers": workers.most}
