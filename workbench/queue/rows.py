"""One run in the database: its row, its journal and its attempts, within somebody's transaction.

What may happen to a run is in ``states``; this applies it to the row and notes it in the journal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from workbench.core.errors import SpecError, WorkbenchError
from workbench.queue.healing import Remedy
from workbench.queue.journal import append_events
from workbench.queue.policy.values import Group, WaitingRun
from workbench.queue.states import ACTIVE, TERMINAL, RunEvent, RunState, is_possible, next_state
from workbench.queue.tables import ATTEMPTS, CHECKPOINTS, RUNS

# What decides when a run starts: a line of a thousand is read again and again.
PLACEMENT = (
    RUNS.c.run_id, RUNS.c.position, RUNS.c.priority, RUNS.c.coordinator, RUNS.c.least_workers,
    RUNS.c.workers, RUNS.c.project, RUNS.c.submitted_by, RUNS.c.submitted_at, RUNS.c.term,
    RUNS.c.parent_run_id, RUNS.c.elastic,
)  # fmt: skip


class SupersededError(SpecError):
    """An attempt of an older term tried to change its run: a newer attempt owns it."""


def find_row(connection: sa.Connection, run_id: str) -> Any:
    """Return a run's row; None if there is no such run."""
    return connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).first()


def get_row(connection: sa.Connection, run_id: str) -> Any:
    """Return a run's row.

    Raises:
        SpecError: there is no such run.
    """
    row = find_row(connection, run_id)
    if row is None:
        raise SpecError(f"There is no run {run_id!r}", where="queue",
                        next_step="List them with: workbench runs")  # fmt: skip
    return row


def owned_row(connection: sa.Connection, run_id: str, term: int) -> Any:
    """Return the run if this attempt still owns it.

    Raises:
        SupersededError: a newer attempt has started, or the run is over.
    """
    row = get_row(connection, run_id)
    if row.term != term or RunState(row.state) not in ACTIVE:
        raise SupersededError(
            f"Attempt {term} no longer owns run {run_id} (attempt {row.term}, {row.state})",
            where=f"run {run_id}",
        )
    return row


def tree_of(connection: sa.Connection, run_id: str) -> list[str]:
    """Return a run and all that are below it, parents first."""
    tree, frontier = [run_id], [run_id]
    while frontier:
        query = sa.select(RUNS.c.run_id).where(RUNS.c.parent_run_id.in_(frontier))
        frontier = list(connection.scalars(query))
        tree += frontier
    return tree


def checkpoints_of(connection: sa.Connection, run_id: str) -> dict[str, str]:
    """Return the folders of a run's durable parts by key, in the order they were made."""
    query = (
        sa.select(CHECKPOINTS.c.key, CHECKPOINTS.c.folder)
        .where(CHECKPOINTS.c.run_id == run_id)
        .order_by(CHECKPOINTS.c.position)
    )
    return {row.key: row.folder for row in connection.execute(query)}


def num_ended(connection: sa.Connection, run_id: str, outcome: str) -> int:
    """Count the attempts of a run that ended so."""
    query = sa.select(sa.func.count()).where(
        ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.outcome == outcome
    )
    return int(connection.scalar(query) or 0)


def move_run(
    connection: sa.Connection,
    row: Any,
    event: RunEvent,
    facts: Mapping[str, str] | None = None,
    **values: Any,
) -> None:
    """Apply one event of the state table and note it, and these facts, in the journal."""
    state = next_state(RunState(row.state), event)
    if state == row.state and not values:
        return
    if state in TERMINAL:
        values["ended_at"] = time.time()
    elif row.ended_at is not None:  # resumed after it had failed or was cancelled
        values.update(ended_at=None, error=None, losses=0)
    elif event is RunEvent.RESUME and row.error is not None:  # it had to pause
        values["error"] = None
    update_run(connection, row.run_id, state=state, **values)
    payload = {"state": state, "term": values.get("term", row.term), **(facts or {})}
    note_event(connection, row.run_id, "state", payload)


def update_run(connection: sa.Connection, run_id: str, **values: Any) -> None:
    """Change columns of a run's row."""
    connection.execute(sa.update(RUNS).where(RUNS.c.run_id == run_id).values(**values))


def note_event(
    connection: sa.Connection, run_id: str, kind: str, payload: Mapping[str, Any]
) -> None:
    """Append an event to a run's journal."""
    event = {"kind": kind, "time": time.time(), "payload": payload}
    append_events(connection, run_id, [event])


def end_attempt(connection: sa.Connection, run_id: str, term: int, outcome: str) -> None:
    """Record how an attempt ended."""
    connection.execute(
        sa.update(ATTEMPTS)
        .where(ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.term == term)
        .values(ended_at=time.time(), outcome=outcome[:40])
    )


def heal_run(
    connection: sa.Connection, row: Any, cause: str, num_failures: int,
    remedy: Remedy | None,
) -> None:  # fmt: skip
    """Let a run whose attempt is over wait again, or rest as it was asked to."""
    facts = {"cause": cause}
    not_before = None
    if remedy is not None:
        facts["remedy"] = remedy.told
        not_before = time.time() + remedy.after_seconds if remedy.after_seconds else None
    move_run(connection, row, RunEvent.LOSE, facts, losses=num_failures, not_before=not_before)


def rest_run(connection: sa.Connection, row: Any, error: WorkbenchError, remedy: Remedy) -> None:
    """Pause a run until somebody has done something about an error, and who waits for it."""
    told = json.dumps(error.to_json())
    note_event(connection, row.run_id, "error", error.to_json())
    facts = {"cause": str(error.cause), "remedy": remedy.told}
    move_run(connection, row, RunEvent.PAUSE, facts)
    resting = get_row(connection, row.run_id)
    move_run(connection, resting, RunEvent.STOP, error=told)
    while (row := find_row(connection, row.parent_run_id or "")) is not None:
        if is_possible(RunState(row.state), RunEvent.PAUSE):
            move_run(connection, row, RunEvent.PAUSE, facts, error=told)


def fail_run(connection: sa.Connection, row: Any, error: WorkbenchError) -> None:
    """End a run with the error of its attempt."""
    end_attempt(connection, row.run_id, row.term, "failed")
    note_event(connection, row.run_id, "error", error.to_json())
    move_run(connection, row, RunEvent.FAIL, error=json.dumps(error.to_json()))


def waiting_run(row: Any, now: float) -> WaitingRun:
    """Return what the policy is told of a run."""
    least, most = (0, 0) if row.coordinator else (row.least_workers, row.workers)
    # Of one that has run before it is not known here how long it ran.
    patience = 0.0 if row.term else max(now - row.submitted_at, 0.0)
    group = Group(row.project, row.submitted_by)
    return WaitingRun(
        row.run_id, row.position, row.priority, least, most, group, patience,
        is_child=row.parent_run_id is not None, elastic=row.elastic,
    )  # fmt: skip


def wish_of(row: Any) -> str:
    """Return what an attempt of a run is wished to do: run, pause or cancel."""
    if row.state == RunState.CANCELLING:
        return "cancel"
    return "pause" if row.state == RunState.PAUSING or row.preempted else "run"


def record_of(row: Any) -> dict[str, Any]:
    """Return a run's row as the plain values that clients see."""
    outputs = json.loads(row.outputs)
    return {
        "run_id": row.run_id,
        "position": row.position,
        "parent_run_id": row.parent_run_id,
        "stage": row.stage,
        "spec": json.loads(row.spec),
        "coordinator": row.coordinator,
        "priority": row.priority,
        "least_workers": row.least_workers,
        "workers": row.workers,
        "state": row.state,
        "preempted": row.preempted,
        "cached": row.cached,
        "term": row.term,
        "submitted_by": row.submitted_by,
        "project": row.project,
        "submitted_at": row.submitted_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "progress": json.loads(row.progress) if row.progress else None,
        "rows": json.loads(row.rows) if row.rows else None,
        "outputs": outputs.get("references", {}),
        "output_kinds": outputs.get("kinds", {}),
        "error": json.loads(row.error) if row.error else None,
    }
