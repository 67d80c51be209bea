"""What the queue needs of catalog and disk: which run reads what, and whose scratch is whose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from workbench.queue.states import ACTIVE, TERMINAL, RunState
from workbench.queue.tables import ATTEMPTS, CACHE, CHECKPOINTS, RUNS

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*@[0-9a-f]{12}")


def references_of_unfinished_runs(connection: sa.Connection) -> dict[str, list[str]]:
    """Return ``{name@version: run ids}`` of what runs that are not over read or will read.

    These are the references in their Specs (resolved at submission), and what their finished
    children made: a pipeline that goes on finds that in the cache.
    """
    columns = (RUNS.c.run_id, RUNS.c.parent_run_id, RUNS.c.spec, RUNS.c.outputs)
    query = sa.select(*columns).where(RUNS.c.state.not_in(TERMINAL))
    frontier = {row.run_id: (row.run_id, row) for row in connection.execute(query)}
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    while frontier:
        seen |= set(frontier)
        for owner, row in frontier.values():
            for reference in _REFERENCE.findall(f"{row.spec} {row.outputs}"):
                owners = found.setdefault(reference, [])
                if owner not in owners:
                    owners.append(owner)
        query = sa.select(*columns).where(RUNS.c.parent_run_id.in_(list(frontier)))
        children = list(connection.execute(query))
        owners_of = {run_id: owner for run_id, (owner, _row) in frontier.items()}
        frontier = {
            row.run_id: (owners_of[row.parent_run_id], row)
            for row in children
            if row.run_id not in seen
        }
    return found


def forget_cached(connection: sa.Connection, references: Iterable[str]) -> None:
    """Drop the cache entries whose outputs are among these references."""
    for reference in references:
        query = (
            sa.select(CACHE.c.cache_key, RUNS.c.outputs)
            .join(RUNS, CACHE.c.run_id == RUNS.c.run_id)
            .where(RUNS.c.outputs.contains(reference, autoescape=True))
        )
        for row in connection.execute(query).all():
            if reference in json.loads(row.outputs)["references"].values():
                connection.execute(sa.delete(CACHE).where(CACHE.c.cache_key == row.cache_key))


@dataclass(frozen=True)
class Scratch:
    """What the queue says of the working folder of a run."""

    state: RunState
    ended_at: float | None
    checkpoints: tuple[str, ...]  # folder names that count


def scratch_of(connection: sa.Connection, run_id: str) -> Scratch | None:
    """Return what may be in a run's folder; None if there is no such run."""
    row = connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).first()
    if row is None:
        return None
    query = sa.select(CHECKPOINTS.c.folder).where(CHECKPOINTS.c.run_id == run_id)
    return Scratch(RunState(row.state), row.ended_at, tuple(connection.scalars(query)))


def forget_checkpoints(connection: sa.Connection, run_id: str) -> None:
    """Forget all finished parts of a run that is over: resumed, it begins anew."""
    connection.execute(sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.run_id == run_id))


def oldest_live_attempt(connection: sa.Connection) -> float | None:
    """Return when the oldest attempt that still works began (seconds since 1970); None for none."""
    query = (
        sa.select(sa.func.min(ATTEMPTS.c.started_at))
        .join(RUNS, sa.and_(RUNS.c.run_id == ATTEMPTS.c.run_id, RUNS.c.term == ATTEMPTS.c.term))
        .where(RUNS.c.state.in_(ACTIVE))
    )
    started: Any = connection.scalar(query)
    return None if started is None else float(started)
