"""Runs in the database: every change of a run is one transaction here, and nowhere else."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog.artifacts import find_artifact, insert_artifact, is_known, move_alias
from workbench.catalog.database import Database
from workbench.catalog.quotas import has_quota, over_quota, use_of
from workbench.core.artifact import Artifact
from workbench.core.errors import Cause, ResourceError, SpecError, WorkbenchError
from workbench.core.json_text import json_text
from workbench.core.workers import DEFAULT_WORKERS, Workers, parse_workers
from workbench.queue.entitlements import (
    Entitlement,
    drop_entitlement,
    entitlements,
    set_entitlement,
)
from workbench.queue.healing import LONGEST_WAIT_SECONDS, Remedy, remedy_for
from workbench.queue.journal import append_events, read_events
from workbench.queue.policy.values import Group, WaitingRun
from workbench.queue.states import (
    ACTIVE,
    TERMINAL,
    RunEvent,
    RunState,
    is_possible,
    next_state,
)
from workbench.queue.tables import ATTEMPTS, CACHE, CHECKPOINTS, RUNS


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


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt that has not told how it ended."""

    run: WaitingRun
    term: int
    slots: tuple[str, ...]
    seconds: float  # since it began


class SupersededError(SpecError):
    """An attempt of an older term tried to change its run: a newer attempt owns it."""


class RunStore:
    """The queue's whole state, kept in the workspace's database.

    ``is_there`` says whether the files of an artifact are where they should be.
    """

    def __init__(
        self,
        database: Database,
        artifact_root: Path,
        is_there: Callable[[Artifact], bool] = lambda artifact: artifact.path.is_dir(),
    ) -> None:
        self.database = database
        self.artifact_root = artifact_root
        self._is_there = is_there
        # Grows with whatever may change who is next: who has seen it need not read the line again.
        self.revision = 0
        self._revisions = itertools.count(1)

    # -- asked by people ---------------------------------------------------------------------

    def submit(self, submission: Submission) -> dict[str, Any]:
        """Record a run before anything is done for it; answer from the cache if it can be.

        Submitting the same run id again changes nothing. A submission that equals a run of the
        same parent which has not succeeded yet joins that run (and resumes it, if it had failed),
        so that a restarted coordinator finds its children and their finished parts. The child of a
        run that is paused is paused from the first.

        Raises:
            SupersededError: the run's parent is over or being cancelled: it may ask for no more.
        """
        with self._changing() as connection:
            row = self._row(connection, submission.run_id)
            return _record(row or self._join_or_insert(connection, submission))

    def ask(self, run_id: str, event: RunEvent) -> dict[str, Any]:
        """Pause, resume or cancel a run and, down the tree, its unfinished children."""
        with self._changing() as connection:
            self._move(connection, self._must_row(connection, run_id), event)
            for member in self._tree(connection, run_id)[1:]:
                row = self._must_row(connection, member)
                state = RunState(row.state)
                if state not in TERMINAL and is_possible(state, event):
                    self._move(connection, row, event)
            return _record(self._row(connection, run_id))

    def prioritise(self, run_id: str, priority: int) -> dict[str, Any]:
        """Change the priority of a run and of its unfinished children."""
        with self._changing() as connection:
            self._must_row(connection, run_id)
            tree = self._tree(connection, run_id)
            connection.execute(
                sa.update(RUNS).where(RUNS.c.run_id.in_(tree)).values(priority=priority)
            )
            return _record(self._row(connection, run_id))

    def run(self, run_id: str) -> dict[str, Any]:
        """Return one run as plain values.

        Raises:
            SpecError: there is no such run.
        """
        with self.database.read() as connection:
            return _record(self._must_row(connection, run_id))

    def runs(self, limit: int = 50, parent_run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the newest runs, newest first."""
        query = sa.select(RUNS).order_by(RUNS.c.position.desc()).limit(limit)
        if parent_run_id is not None:
            query = query.where(RUNS.c.parent_run_id == parent_run_id)
        with self.database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def events(self, run_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Return the run's journal after a sequence number."""
        with self.database.read() as connection:
            self._must_row(connection, run_id)
            return read_events(connection, run_id, after)

    def entitlements(self) -> list[Entitlement]:
        """Return what projects and users are entitled to, where something is set."""
        with self.database.read() as connection:
            return entitlements(connection)

    def entitle(self, wanted: Entitlement) -> None:
        """Set what a project or user is entitled to."""
        with self._changing() as connection:
            set_entitlement(connection, wanted.checked())

    def drop_entitlement(self, name: str) -> None:
        """Let a project or user have what everybody has."""
        with self._changing() as connection:
            drop_entitlement(connection, name)

    # -- asked by the dispatcher -------------------------------------------------------------

    def waiting(self) -> list[WaitingRun]:
        """Return every run that could start now."""
        now = time.time()
        not_before = sa.func.coalesce(RUNS.c.not_before, 0.0)
        # A clock that was set back shall not hold a run for longer than any remedy does.
        is_due = sa.or_(not_before <= now, not_before > now + LONGEST_WAIT_SECONDS)
        query = sa.select(*_PLACEMENT).where(RUNS.c.state == RunState.WAITING, is_due)
        with self.database.read() as connection:
            return [_waiting_run(row, now) for row in connection.execute(query)]

    def active(self) -> list[dict[str, Any]]:
        """Return the runs that have an attempt now."""
        query = sa.select(RUNS).where(RUNS.c.state.in_(ACTIVE))
        with self.database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def attempts(self) -> list[OpenAttempt]:
        """Return the attempts that an earlier daemon has left at work."""
        now = time.time()
        query = (
            sa.select(*_PLACEMENT, ATTEMPTS.c.slots, ATTEMPTS.c.started_at)
            .join(ATTEMPTS, (ATTEMPTS.c.run_id == RUNS.c.run_id) & (ATTEMPTS.c.term == RUNS.c.term))
            .where(RUNS.c.state.in_(ACTIVE))
        )
        with self.database.read() as connection:
            return [
                OpenAttempt(
                    _waiting_run(row, now), row.term, tuple(json.loads(row.slots)),
                    max(now - row.started_at, 0.0),
                )
                for row in connection.execute(query)
            ]  # fmt: skip

    def typical_seconds(self, stage: str) -> float | None:
        """Return how long the newest runs of a stage took (median); None where none has ended."""
        took = (RUNS.c.ended_at - RUNS.c.started_at).label("took")
        query = (
            sa.select(took)
            .where(RUNS.c.stage == stage, RUNS.c.state == RunState.SUCCEEDED)
            .where(RUNS.c.cached == sa.false())
            .order_by(RUNS.c.position.desc())
            .limit(_NUM_TYPICAL)
        )
        with self.database.read() as connection:
            seconds = [float(row.took) for row in connection.execute(query)]
        return statistics.median(seconds) if seconds else None

    def num_unfinished(self) -> int:
        """Count the runs that are not over (paused ones are left out: they wait for a person)."""
        states = [*ACTIVE, RunState.WAITING]
        query = sa.select(sa.func.count()).where(RUNS.c.state.in_(states))
        with self.database.read() as connection:
            return int(connection.scalar(query) or 0)

    def start(self, run_id: str, slots: Sequence[str]) -> dict[str, Any]:
        """Begin a new attempt; return the run with its new term.

        Beside what is always told of a run there are its ``checkpoints``, and as ``num_shrinks``
        how many of its attempts ran out of memory.
        """
        with self._changing() as connection:
            row = self._must_row(connection, run_id)
            term = row.term + 1
            self._move(
                connection,
                row,
                RunEvent.START,
                term=term,
                preempted=False,
                started_at=row.started_at or time.time(),
            )
            connection.execute(
                sa.insert(ATTEMPTS).values(
                    run_id=run_id, term=term, slots=json.dumps(list(slots)), started_at=time.time()
                )
            )
            return {
                **_record(self._row(connection, run_id)),
                "checkpoints": self._checkpoints(connection, run_id),
                "num_shrinks": self._num_ended(connection, run_id, Cause.OUT_OF_MEMORY),
            }

    def preempt(self, run_id: str, cause: str) -> None:
        """Ask a running run to stop at its next safe point and to wait again, and tell it why."""
        with self._changing() as connection:
            row = self._must_row(connection, run_id)
            if row.state == RunState.RUNNING:
                self._update(connection, run_id, preempted=True)
                self._note(connection, run_id, "log", {"message": f"The run {cause}"})

    def lose(self, run_id: str, term: int, cause: str, *, blameless: bool = False) -> None:
        """Note that an attempt's process is gone; its run waits again, or is given up.

        A loss is ``blameless`` when the whole daemon was restarted, or when the run was ended by
        force because it did not give way in time: it says nothing of the run.
        """
        with self._changing() as connection:
            row = self._must_row(connection, run_id)
            if row.term != term or RunState(row.state) not in ACTIVE:
                return
            blameless = blameless or row.preempted or row.state != RunState.RUNNING
            self._end_attempt(connection, run_id, term, cause)
            num_failures = row.losses + (0 if blameless else 1)
            remedy = None if blameless else remedy_for(Cause.WORKER_LOST, num_failures)
            if blameless or remedy is not None:
                self._heal(connection, row, cause, num_failures, remedy)
                return
            error = ResourceError(
                f"The worker died {num_failures} times with no finished part between: {cause}",
                where=f"run {run_id} ({row.stage})",
                next_step="Look for memory use or a native crash in the run's log, "
                "then resume the run: finished parts are kept.",
            )
            self._move(connection, row, RunEvent.LOSE, {"cause": cause}, losses=num_failures)
            lost = self._must_row(connection, run_id)
            self._move(connection, lost, RunEvent.FAIL, error=json.dumps(error.to_json()))

    # -- asked by attempts, each with its term ------------------------------------------------

    def report(self, run_id: str, term: int, events: Iterable[Mapping[str, Any]]) -> str:
        """Append an attempt's events; return what it is wished to do: run, pause or cancel."""
        with self.database.write() as connection:
            row = self._owned(connection, run_id, term)
            events = list(events)
            append_events(connection, run_id, events)
            newest = {
                event["kind"]: json_text(event["payload"])
                for event in events
                if event["kind"] in ("progress", "rows")
            }
            if newest:
                self._update(connection, run_id, **newest)
            return _wish(row)

    def wish(self, run_id: str, term: int) -> str:
        """Return what an attempt is wished to do: run, pause or cancel."""
        with self.database.read() as connection:
            return _wish(self._owned(connection, run_id, term))

    def add_checkpoint(self, run_id: str, term: int, key: str, folder: str) -> str:
        """Record a finished part; return the folder that counts (the first one's)."""
        with self.database.write() as connection:
            self._owned(connection, run_id, term)
            known = self._checkpoints(connection, run_id).get(key)
            if known is not None:
                return known
            connection.execute(
                sa.insert(CHECKPOINTS).values(run_id=run_id, key=key, term=term, folder=folder)
            )
            self._update(connection, run_id, losses=0)
            self._note(connection, run_id, "checkpoint", {"key": key})
            return folder

    def drop_checkpoint(self, run_id: str, term: int, key: str) -> None:
        """Forget a part that a newer one replaces."""
        with self.database.write() as connection:
            self._owned(connection, run_id, term)
            connection.execute(
                sa.delete(CHECKPOINTS).where(
                    CHECKPOINTS.c.run_id == run_id, CHECKPOINTS.c.key == key
                )
            )

    def commit(self, run_id: str, term: int, outputs: Mapping[str, Artifact]) -> dict[str, Any]:
        """Record all outputs and the run's success in one transaction: all of it or nothing.

        Raises:
            ResourceError: the project's quota is used up (the run has failed, and keeps its
                checkpoints), or files were cleared away between sealing and this (it goes on).
        """
        refused: ResourceError | None = None
        with self._changing() as connection:
            row = self._must_row(connection, run_id)
            # The answer to the first commit was lost on its way; an answer from the cache had none.
            if row.state == RunState.SUCCEEDED and row.term == term > 0:
                return _record(row)
            row = self._owned(connection, run_id, term)
            refused = self._over_quota(connection, row.project, outputs.values())
            if refused is None:
                return self._succeed(connection, row, outputs)
            self._fail(connection, row, refused)
        raise refused

    def _over_quota(
        self, connection: sa.Connection, project: str, made: Iterable[Artifact]
    ) -> ResourceError | None:
        """Return why these may not be committed; what is in the catalog already counts no more."""
        if not has_quota(connection, project):
            return None
        fresh = {a.reference: a.num_bytes for a in made if not is_known(connection, a)}
        use, more = use_of(connection, project), sum(fresh.values())
        return None if use.has_room_for(more) else over_quota(connection, use, more)

    def _succeed(
        self, connection: sa.Connection, row: Any, outputs: Mapping[str, Artifact]
    ) -> dict[str, Any]:
        run_id, term = row.run_id, row.term
        for artifact in outputs.values():
            if not self._is_there(artifact):
                raise ResourceError(
                    f"The files of {artifact.reference} were cleared away before they counted",
                    where=str(artifact.path),
                    next_step="Nothing is to be done: the run makes them again.",
                )
            insert_artifact(connection, replace(artifact, project=row.project), self.artifact_root)
        self._point_latest_at(connection, outputs.values(), run_id)
        self._end_attempt(connection, run_id, term, "succeeded")
        references = {name: artifact.reference for name, artifact in outputs.items()}
        kinds = {name: artifact.kind for name, artifact in outputs.items()}
        self._move(
            connection,
            row,
            RunEvent.SUCCEED,
            outputs=json.dumps({"references": references, "kinds": kinds}),
            error=None,
        )
        self._remember(connection, row)
        return _record(self._must_row(connection, run_id))

    def fail(self, run_id: str, term: int, error: WorkbenchError) -> None:
        """Record why an attempt failed; its run heals where the cause may be gone next time."""
        with self._changing() as connection:
            row = self._owned(connection, run_id, term)
            if error.cause is None:
                self._fail(connection, row, error)
                return
            is_blameless = row.preempted or row.state != RunState.RUNNING
            num_failures = row.losses + (0 if is_blameless else 1)
            remedy = None if is_blameless else remedy_for(error.cause, num_failures)
            if remedy is not None and remedy.rests:
                self._end_attempt(connection, run_id, term, error.cause)
                self._rest(connection, row, error, remedy)
            elif is_blameless or remedy is not None:
                self._end_attempt(connection, run_id, term, error.cause)
                self._heal(connection, row, error.what, num_failures, remedy)
            else:
                error.what = f"{error.what}, {num_failures} times with no checkpoint between"
                self._fail(connection, row, error)

    def stop(self, run_id: str, term: int) -> None:
        """Record that an attempt stopped at a safe point, as it was asked to."""
        with self._changing() as connection:
            row = self._owned(connection, run_id, term)
            self._end_attempt(connection, run_id, term, "stopped")
            self._move(connection, row, RunEvent.STOP)

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        """Open a transaction that may change who is next."""
        with self.database.write() as connection:
            yield connection
        self.revision = next(self._revisions)  # after its end: who sees it sees the change, too

    # -- inside one transaction -----------------------------------------------------------------

    def _heal(
        self, connection: sa.Connection, row: Any, cause: str, num_failures: int,
        remedy: Remedy | None,
    ) -> None:  # fmt: skip
        """Let a run whose attempt is over wait again, or rest as it was asked to."""
        facts = {"cause": cause}
        not_before = None
        if remedy is not None:
            facts["remedy"] = remedy.told
            not_before = time.time() + remedy.after_seconds if remedy.after_seconds else None
        self._move(
            connection, row, RunEvent.LOSE, facts, losses=num_failures, not_before=not_before
        )

    def _rest(
        self, connection: sa.Connection, row: Any, error: WorkbenchError, remedy: Remedy
    ) -> None:
        """Pause a run until somebody has done something about an error, and who waits for it."""
        told = json.dumps(error.to_json())
        self._note(connection, row.run_id, "error", error.to_json())
        facts = {"cause": str(error.cause), "remedy": remedy.told}
        self._move(connection, row, RunEvent.PAUSE, facts)
        resting = self._must_row(connection, row.run_id)
        self._move(connection, resting, RunEvent.STOP, error=told)
        while (row := self._row(connection, row.parent_run_id or "")) is not None:
            if is_possible(RunState(row.state), RunEvent.PAUSE):
                self._move(connection, row, RunEvent.PAUSE, facts, error=told)

    def _fail(self, connection: sa.Connection, row: Any, error: WorkbenchError) -> None:
        self._end_attempt(connection, row.run_id, row.term, "failed")
        self._note(connection, row.run_id, "error", error.to_json())
        self._move(connection, row, RunEvent.FAIL, error=json.dumps(error.to_json()))

    def _join_or_insert(self, connection: sa.Connection, submission: Submission) -> Any:
        parent_state = self._parent_state(connection, submission)
        sibling = self._sibling(connection, submission)
        if sibling is None:
            self._insert(connection, submission)
            self._answer_from_cache(connection, submission)
        elif RunState(sibling.state) in TERMINAL:
            self._move(connection, sibling, RunEvent.RESUME)
        row = self._must_row(connection, sibling.run_id if sibling else submission.run_id)
        is_paused = parent_state in (RunState.PAUSING, RunState.PAUSED)
        if is_paused and is_possible(RunState(row.state), RunEvent.PAUSE):
            self._move(connection, row, RunEvent.PAUSE)
        return self._must_row(connection, row.run_id)

    def _parent_state(self, connection: sa.Connection, submission: Submission) -> RunState | None:
        """Return where the parent stands; None if there is none, or only in another workspace."""
        parent = self._row(connection, submission.parent_run_id or "")
        if parent is None:
            return None
        state = RunState(parent.state)
        if state in TERMINAL or state == RunState.CANCELLING:
            raise SupersededError(
                f"Run {parent.run_id} is {state} and may ask for no more runs",
                where=f"run {parent.run_id}",
            )
        return state

    def _insert(self, connection: sa.Connection, submission: Submission) -> None:
        connection.execute(
            sa.insert(RUNS).values(
                **{
                    **submission.__dict__,
                    **_bounds(submission.workers),
                    **self._inherited(connection, submission),
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
        self._note(connection, submission.run_id, "state", {"state": RunState.WAITING})

    def _inherited(self, connection: sa.Connection, submission: Submission) -> dict[str, Any]:
        """Return what a child has from its parent: the project, and urgency beside its own."""
        parent = self._row(connection, submission.parent_run_id or "")
        if parent is None:
            return {}
        priority = max(-100, min(100, submission.priority + parent.priority))
        return {"priority": priority, "project": parent.project}

    def _answer_from_cache(self, connection: sa.Connection, submission: Submission) -> None:
        """End the run at once with an earlier run's outputs, if those are still there."""
        if submission.cache_key is None:
            return
        earlier = connection.execute(
            sa.select(RUNS)
            .join(CACHE, CACHE.c.run_id == RUNS.c.run_id)
            .where(CACHE.c.cache_key == submission.cache_key)
        ).first()
        if earlier is None:
            return
        outputs = json.loads(earlier.outputs)
        artifacts = [
            find_artifact(connection, reference, self.artifact_root, outputs["kinds"][name])
            for name, reference in outputs["references"].items()
        ]
        if not all(map(self._is_there, artifacts)):
            return
        self._point_latest_at(connection, artifacts, submission.run_id)
        self._move(
            connection,
            self._must_row(connection, submission.run_id),
            RunEvent.SUCCEED,
            cached=True,
            outputs=earlier.outputs,
            rows=earlier.rows,
            started_at=time.time(),
        )

    def _point_latest_at(
        self, connection: sa.Connection, artifacts: Iterable[Artifact], run_id: str
    ) -> None:
        for made in artifacts:
            move_alias(connection, made.kind, made.name, "latest", made.version, run_id)

    def _remember(self, connection: sa.Connection, row: Any) -> None:
        """Offer a finished run to later submissions of the same key; the newest finished wins.

        The first commit of equal content wins in the catalog; here the newest run is kept so that
        an entry whose files were deleted is replaced by the run that made them again.
        """
        if row.cache_key is not None:
            connection.execute(sa.delete(CACHE).where(CACHE.c.cache_key == row.cache_key))
            connection.execute(sa.insert(CACHE).values(cache_key=row.cache_key, run_id=row.run_id))

    def _move(
        self,
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
        self._update(connection, row.run_id, state=state, **values)
        payload = {"state": state, "term": values.get("term", row.term), **(facts or {})}
        self._note(connection, row.run_id, "state", payload)

    def _update(self, connection: sa.Connection, run_id: str, **values: Any) -> None:
        connection.execute(sa.update(RUNS).where(RUNS.c.run_id == run_id).values(**values))

    def _note(
        self, connection: sa.Connection, run_id: str, kind: str, payload: Mapping[str, Any]
    ) -> None:
        event = {"kind": kind, "time": time.time(), "payload": payload}
        append_events(connection, run_id, [event])

    def _end_attempt(self, connection: sa.Connection, run_id: str, term: int, outcome: str) -> None:
        connection.execute(
            sa.update(ATTEMPTS)
            .where(ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.term == term)
            .values(ended_at=time.time(), outcome=outcome[:40])
        )

    def _num_ended(self, connection: sa.Connection, run_id: str, outcome: str) -> int:
        """Count the attempts of a run that ended so."""
        query = sa.select(sa.func.count()).where(
            ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.outcome == outcome
        )
        return int(connection.scalar(query) or 0)

    def _row(self, connection: sa.Connection, run_id: str) -> Any:
        return connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).first()

    def _must_row(self, connection: sa.Connection, run_id: str) -> Any:
        row = self._row(connection, run_id)
        if row is None:
            raise SpecError(f"There is no run {run_id!r}", where="queue",
                            next_step="List them with: workbench runs")  # fmt: skip
        return row

    def _owned(self, connection: sa.Connection, run_id: str, term: int) -> Any:
        """Return the run if this attempt still owns it.

        Raises:
            SupersededError: a newer attempt has started, or the run is over.
        """
        row = self._must_row(connection, run_id)
        if row.term != term or RunState(row.state) not in ACTIVE:
            raise SupersededError(
                f"Attempt {term} no longer owns run {run_id} (attempt {row.term}, {row.state})",
                where=f"run {run_id}",
            )
        return row

    def _sibling(self, connection: sa.Connection, submission: Submission) -> Any:
        if submission.parent_run_id is None or submission.cache_key is None:
            return None
        return connection.execute(
            sa.select(RUNS)
            .where(RUNS.c.parent_run_id == submission.parent_run_id)
            .where(RUNS.c.cache_key == submission.cache_key)
            .where(RUNS.c.state != RunState.SUCCEEDED)
        ).first()

    def _tree(self, connection: sa.Connection, run_id: str) -> list[str]:
        tree, frontier = [run_id], [run_id]
        while frontier:
            query = sa.select(RUNS.c.run_id).where(RUNS.c.parent_run_id.in_(frontier))
            frontier = list(connection.scalars(query))
            tree += frontier
        return tree

    def _checkpoints(self, connection: sa.Connection, run_id: str) -> dict[str, str]:
        query = (
            sa.select(CHECKPOINTS.c.key, CHECKPOINTS.c.folder)
            .where(CHECKPOINTS.c.run_id == run_id)
            .order_by(CHECKPOINTS.c.position)
        )
        return {row.key: row.folder for row in connection.execute(query)}


_NUM_TYPICAL = 20  # runs of a stage that tell how long one takes

# What decides when a run starts: a line of a thousand is read again and again.
_PLACEMENT = (
    RUNS.c.run_id, RUNS.c.position, RUNS.c.priority, RUNS.c.coordinator, RUNS.c.least_workers,
    RUNS.c.workers, RUNS.c.project, RUNS.c.submitted_by, RUNS.c.submitted_at, RUNS.c.term,
    RUNS.c.parent_run_id,
)  # fmt: skip


def _bounds(workers: Workers) -> dict[str, int]:
    return {"least_workers": workers.least, "workers": workers.most}


def _waiting_run(row: Any, now: float) -> WaitingRun:
    least, most = (0, 0) if row.coordinator else (row.least_workers, row.workers)
    # Of one that has run before it is not known here how long it ran.
    patience = 0.0 if row.term else max(now - row.submitted_at, 0.0)
    group = Group(row.project, row.submitted_by)
    return WaitingRun(
        row.run_id, row.position, row.priority, least, most, group, patience,
        is_child=row.parent_run_id is not None,
    )  # fmt: skip


def _wish(row: Any) -> str:
    if row.state == RunState.CANCELLING:
        return "cancel"
    return "pause" if row.state == RunState.PAUSING or row.preempted else "run"


def _record(row: Any) -> dict[str, Any]:
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
