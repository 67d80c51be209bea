"""Runs in the database: every change of a run is one transaction here, and nowhere else."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog.database import Database
from workbench.core.artifact import Artifact
from workbench.core.errors import Cause, ResourceError, WorkbenchError
from workbench.core.json_text import json_text
from workbench.queue.entitlements import (
    Entitlement,
    drop_entitlement,
    entitlements,
    set_entitlement,
)
from workbench.queue.healing import LONGEST_WAIT_SECONDS, remedy_for
from workbench.queue.journal import MOST_EVENTS, append_events, read_events
from workbench.queue.outcomes import Outcomes, quota_error
from workbench.queue.policy.values import WaitingRun
from workbench.queue.rows import (
    PLACEMENT,
    checkpoints_of,
    end_attempt,
    fail_run,
    find_row,
    get_row,
    heal_run,
    move_run,
    note_event,
    num_ended,
    owned_row,
    record_of,
    rest_run,
    tree_of,
    update_run,
    waiting_run,
    wish_of,
)
from workbench.queue.states import ACTIVE, TERMINAL, RunEvent, RunState, is_possible
from workbench.queue.submissions import Submission, take_in
from workbench.queue.tables import ATTEMPTS, CHECKPOINTS, RUNS


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt that has not told how it ended."""

    run: WaitingRun
    term: int
    slots: tuple[str, ...]
    seconds: float  # since it began


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
        self._outcomes = Outcomes(artifact_root, is_there)
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
            row = find_row(connection, submission.run_id)
            return record_of(row or take_in(connection, submission, self._outcomes))

    def ask(self, run_id: str, event: RunEvent) -> dict[str, Any]:
        """Pause, resume or cancel a run and, down the tree, its unfinished children."""
        with self._changing() as connection:
            move_run(connection, get_row(connection, run_id), event)
            for member in tree_of(connection, run_id)[1:]:
                row = get_row(connection, member)
                state = RunState(row.state)
                if state not in TERMINAL and is_possible(state, event):
                    move_run(connection, row, event)
            return record_of(find_row(connection, run_id))

    def prioritise(self, run_id: str, priority: int) -> dict[str, Any]:
        """Change the priority of a run and of its unfinished children."""
        with self._changing() as connection:
            get_row(connection, run_id)
            tree = tree_of(connection, run_id)
            connection.execute(
                sa.update(RUNS).where(RUNS.c.run_id.in_(tree)).values(priority=priority)
            )
            return record_of(find_row(connection, run_id))

    def run(self, run_id: str) -> dict[str, Any]:
        """Return one run as plain values.

        Raises:
            SpecError: there is no such run.
        """
        with self.database.read() as connection:
            return record_of(get_row(connection, run_id))

    def runs(self, limit: int = 50, parent_run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the newest runs, newest first."""
        query = sa.select(RUNS).order_by(RUNS.c.position.desc()).limit(limit)
        if parent_run_id is not None:
            query = query.where(RUNS.c.parent_run_id == parent_run_id)
        with self.database.read() as connection:
            return [record_of(row) for row in connection.execute(query)]

    def events(self, run_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Return the run's journal after a sequence number."""
        with self.database.read() as connection:
            get_row(connection, run_id)
            return read_events(connection, run_id, after)

    def news(self, known: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        """Return of each run what is new after a sequence number: ``{record, events, is_all}``.

        Runs with nothing new, and unknown ones, are left out. Where there are more events than are
        told at a time, ``is_all`` is false: the record is newer than the last of them.
        """
        found: dict[str, dict[str, Any]] = {}
        with self.database.read() as connection:
            for run_id, after in known.items():
                events = read_events(connection, run_id, after, MOST_EVENTS + 1)
                row = find_row(connection, run_id) if events else None
                if row is not None:
                    found[run_id] = {
                        "record": record_of(row), "events": events[:MOST_EVENTS],
                        "is_all": len(events) <= MOST_EVENTS,
                    }  # fmt: skip
        return found

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
        query = sa.select(*PLACEMENT).where(RUNS.c.state == RunState.WAITING, is_due)
        with self.database.read() as connection:
            return [waiting_run(row, now) for row in connection.execute(query)]

    def active(self) -> list[dict[str, Any]]:
        """Return the runs that have an attempt now."""
        query = sa.select(RUNS).where(RUNS.c.state.in_(ACTIVE))
        with self.database.read() as connection:
            return [record_of(row) for row in connection.execute(query)]

    def attempts(self) -> list[OpenAttempt]:
        """Return the attempts that an earlier daemon has left at work."""
        now = time.time()
        query = (
            sa.select(*PLACEMENT, ATTEMPTS.c.slots, ATTEMPTS.c.started_at)
            .join(ATTEMPTS, (ATTEMPTS.c.run_id == RUNS.c.run_id) & (ATTEMPTS.c.term == RUNS.c.term))
            .where(RUNS.c.state.in_(ACTIVE))
        )
        with self.database.read() as connection:
            return [
                OpenAttempt(
                    waiting_run(row, now), row.term, tuple(json.loads(row.slots)),
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
            row = get_row(connection, run_id)
            term = row.term + 1
            move_run(
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
                **record_of(find_row(connection, run_id)),
                "checkpoints": checkpoints_of(connection, run_id),
                "num_shrinks": num_ended(connection, run_id, Cause.OUT_OF_MEMORY),
            }

    def preempt(self, run_id: str, cause: str) -> None:
        """Ask a running run to stop at its next safe point and to wait again, and tell it why."""
        with self._changing() as connection:
            row = get_row(connection, run_id)
            if row.state == RunState.RUNNING:
                update_run(connection, run_id, preempted=True)
                note_event(connection, run_id, "log", {"message": f"The run {cause}"})

    def lose(self, run_id: str, term: int, cause: str, *, blameless: bool = False) -> None:
        """Note that an attempt's process is gone; its run waits again, or is given up.

        A loss is ``blameless`` when the whole daemon was restarted, or when the run was ended by
        force because it did not give way in time: it says nothing of the run.
        """
        with self._changing() as connection:
            row = get_row(connection, run_id)
            if row.term != term or RunState(row.state) not in ACTIVE:
                return
            blameless = blameless or row.preempted or row.state != RunState.RUNNING
            end_attempt(connection, run_id, term, cause)
            num_failures = row.losses + (0 if blameless else 1)
            remedy = None if blameless else remedy_for(Cause.WORKER_LOST, num_failures)
            if blameless or remedy is not None:
                heal_run(connection, row, cause, num_failures, remedy)
                return
            error = ResourceError(
                f"The worker died {num_failures} times with no finished part between: {cause}",
                where=f"run {run_id} ({row.stage})",
                next_step="Look for memory use or a native crash in the run's log, "
                "then resume the run: finished parts are kept.",
            )
            move_run(connection, row, RunEvent.LOSE, {"cause": cause}, losses=num_failures)
            lost = get_row(connection, run_id)
            move_run(connection, lost, RunEvent.FAIL, error=json.dumps(error.to_json()))

    # -- asked by attempts, each with its term ------------------------------------------------

    def report(self, run_id: str, term: int, events: Iterable[Mapping[str, Any]]) -> str:
        """Append an attempt's events; return what it is wished to do: run, pause or cancel."""
        with self.database.write() as connection:
            row = owned_row(connection, run_id, term)
            events = list(events)
            append_events(connection, run_id, events)
            newest = {
                event["kind"]: json_text(event["payload"])
                for event in events
                if event["kind"] in ("progress", "rows")
            }
            if newest:
                update_run(connection, run_id, **newest)
            return wish_of(row)

    def wish(self, run_id: str, term: int) -> str:
        """Return what an attempt is wished to do: run, pause or cancel."""
        with self.database.read() as connection:
            return wish_of(owned_row(connection, run_id, term))

    def add_checkpoint(self, run_id: str, term: int, key: str, folder: str) -> str:
        """Record a finished part; return the folder that counts (the first one's)."""
        with self.database.write() as connection:
            owned_row(connection, run_id, term)
            known = checkpoints_of(connection, run_id).get(key)
            if known is not None:
                return known
            connection.execute(
                sa.insert(CHECKPOINTS).values(run_id=run_id, key=key, term=term, folder=folder)
            )
            update_run(connection, run_id, losses=0)
            note_event(connection, run_id, "checkpoint", {"key": key})
            return folder

    def drop_checkpoint(self, run_id: str, term: int, key: str) -> None:
        """Forget a part that a newer one replaces."""
        with self.database.write() as connection:
            owned_row(connection, run_id, term)
            connection.execute(
                sa.delete(CHECKPOINTS).where(
                    CHECKPOINTS.c.run_id == run_id, CHECKPOINTS.c.key == key
                )
            )

    def commit(
        self, run_id: str, term: int, outputs: Mapping[str, Artifact], key_now: str = ""
    ) -> dict[str, Any]:
        """Record all outputs and the run's success in one transaction: all of it or nothing.

        The run answers for later ones of its cache key; where ``key_now`` is another one, what it
        read from outside has changed since it was submitted, and it does not.

        Raises:
            ResourceError: the project's quota is used up (the run has failed, and keeps its
                checkpoints), or files were cleared away between sealing and this (it goes on).
        """
        refused: ResourceError | None = None
        with self._changing() as connection:
            row = get_row(connection, run_id)
            # The answer to the first commit was lost on its way; an answer from the cache had none.
            if row.state == RunState.SUCCEEDED and row.term == term > 0:
                return record_of(row)
            row = owned_row(connection, run_id, term)
            refused = quota_error(connection, row.project, outputs.values())
            if refused is None:
                is_same = key_now in ("", row.cache_key)
                return self._outcomes.succeed(connection, row, outputs, remember=is_same)
            fail_run(connection, row, refused)
        raise refused

    def fail(self, run_id: str, term: int, error: WorkbenchError) -> None:
        """Record why an attempt failed; its run heals where the cause may be gone next time."""
        with self._changing() as connection:
            row = owned_row(connection, run_id, term)
            if error.cause is None:
                fail_run(connection, row, error)
                return
            is_blameless = row.preempted or row.state != RunState.RUNNING
            num_failures = row.losses + (0 if is_blameless else 1)
            remedy = None if is_blameless else remedy_for(error.cause, num_failures)
            if remedy is not None and remedy.rests:
                end_attempt(connection, run_id, term, error.cause)
                rest_run(connection, row, error, remedy)
            elif is_blameless or remedy is not None:
                end_attempt(connection, run_id, term, error.cause)
                heal_run(connection, row, error.what, num_failures, remedy)
            else:
                error.what = f"{error.what}, {num_failures} times with no checkpoint between"
                fail_run(connection, row, error)

    def stop(self, run_id: str, term: int) -> None:
        """Record that an attempt stopped at a safe point, as it was asked to."""
        with self._changing() as connection:
            row = owned_row(connection, run_id, term)
            end_attempt(connection, run_id, term, "stopped")
            move_run(connection, row, RunEvent.STOP)

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        """Open a transaction that may change who is next."""
        with self.database.write() as connection:
            yield connection
        self.revision = next(self._revisions)  # after its end: who sees it sees the change, too


_NUM_TYPICAL = 20  # runs of a stage that tell how long one takes
