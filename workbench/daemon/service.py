"""What the daemon is made of, put together: store, pool, dispatcher, deployments."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.catalog.artifact_store import (
    Address,
    artifact_root,
    holds,
    open_artifact_store,
    settle_url,
)
from workbench.catalog.artifacts import find_artifact, has_artifacts, list_artifacts
from workbench.catalog.database import Database
from workbench.catalog.database_faults import DatabaseAwayError
from workbench.core.artifact import Artifact
from workbench.core.errors import ResourceError, SpecError, WorkbenchError
from workbench.core.registry import load_stage
from workbench.daemon.bell import Bell
from workbench.daemon.deployments import Deployments
from workbench.daemon.keeping import Keeping
from workbench.daemon.pool import Pool
from workbench.daemon.pool_keeper import PoolKeeper
from workbench.daemon.pool_view import PoolView
from workbench.daemon.settings import Settings
from workbench.daemon.submission import key_now, make_submission, read_inputs
from workbench.dispatch.dispatcher import Dispatcher
from workbench.pool.agents import Agents, Report
from workbench.pool.holdings import Answer
from workbench.pool.providers.local import LocalPool
from workbench.pool.providers.provider import PoolSpec
from workbench.queue.states import RunState
from workbench.queue.store import RunStore

LOG = logging.getLogger(__name__)
_IDLE_LOOK_SECONDS = 15.0
_DATABASE_AGAIN_SECONDS = 1.0


class Service:
    """One workspace's services."""

    def __init__(
        self, root: Path, database: Database, settings: Settings, pool: PoolSpec | None = None
    ) -> None:
        """Put the parts together; without ``pool`` it has the cores of this host.

        Raises:
            ResourceError: the pool's provider cannot be used here.
        """
        pool = pool or LocalPool()
        self.root = root
        self.bell = Bell()
        url_of_artifacts = settle_url(root, settings.artifacts, has_artifacts(database))
        self.artifact_store = open_artifact_store(root)
        self.store = RunStore(
            database, artifact_root(root, url_of_artifacts), is_there=self._is_there
        )
        self.keeping = Keeping(root, self.store, self.artifact_store)
        self.agents = Agents()
        self.pool = Pool(root, self.agents, pool)
        self.deployments = Deployments(self.store, root / "deployments", self.artifact_store)
        self.dispatcher = Dispatcher(
            self.store,
            self.agents,
            lambda: self.pool.most_slots,
            root,
            self._make_order,
            self.bell.ring,
            settings.stop_seconds,
        )
        self.pool_keeper = PoolKeeper(
            self.pool,
            self.agents,
            self.dispatcher,
            settings.grow_seconds,
            settings.slow_seconds,
            settings.shrink_seconds,
        )
        self.pool_view = PoolView(self.store, self.pool, self.agents, self.dispatcher)
        self.pool_state = "starting"
        self.is_stopping = False  # nobody is made to wait any more
        self._idle_seconds = settings.idle_minutes * 60
        self._pool_starter = threading.Thread(target=self._start_pool, name="pool", daemon=True)
        self._closing = threading.Event()
        self._started_at = time.time()
        self._last_use = time.monotonic()
        self._stop: Callable[[], None] = lambda: None

    def start(self, stop: Callable[[], None]) -> None:
        """Start the parts; the pool's workers come up while requests are already answered."""
        self._stop = stop
        self.deployments.start()
        self._pool_starter.start()
        threading.Thread(target=self._stop_when_idle, name="idle", daemon=True).start()

    def close(self) -> None:
        """Stop all parts; unfinished runs go on with the next daemon."""
        self._closing.set()
        self.pool_keeper.close()
        self.pool.close()  # also one that is half up
        if self._pool_starter.is_alive():
            self._pool_starter.join()
        self.dispatcher.close()
        self.deployments.close()

    def ask_to_stop(self) -> None:
        """Have the daemon end in an orderly way."""
        self.is_stopping = True
        self.dispatcher.halt()  # what ends from now on says nothing of its run
        self.pool_keeper.halt()  # nor that there are too few hosts
        self.agents.stop()
        self.bell.ring()
        self._stop()

    def submit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Queue a run; see ``make_submission`` for what is refused."""
        self._last_use = time.monotonic()
        run = self.store.submit(make_submission(self.store, request, self.pool.most_slots))
        if run["cached"]:
            self._deploy_again(run)
        self.changed()
        return run

    def _deploy_again(self, run: dict[str, Any]) -> None:
        """Set the desired state that a cached result stands for, as its run would have done."""
        for output, reference in run["outputs"].items():
            made = self.artifact(reference, run["output_kinds"][output])
            wanted = made.summary.get("deployment")
            if wanted:
                self.deployments.put(wanted["name"], wanted)

    def changed(self) -> None:
        """Look at the queue again and wake who waits for a run."""
        self.dispatcher.ring()
        self.bell.ring()

    def exchange(self, report: Report) -> Answer:
        """Note what an agent has; return what it should do about it."""
        answer = self.agents.exchange(report)
        if report.leaving or any(status is not None for status in report.has.values()):
            self.dispatcher.ring()
        return answer

    def attempt_ended(self, run_id: str, term: int) -> None:
        """Free an attempt's slots and wake who waits for its run."""
        self._last_use = time.monotonic()
        self.dispatcher.ended(run_id, term)
        self.bell.ring()

    def artifact(self, reference: str, kind: str | None) -> Artifact:
        """Return one artifact of the catalog."""
        with self.store.database.read() as connection:
            return find_artifact(connection, reference, self.store.artifact_root, kind)

    def artifacts(self, kind: str | None) -> list[Artifact]:
        """Return the newest artifacts of the catalog."""
        with self.store.database.read() as connection:
            return list_artifacts(connection, self.store.artifact_root, kind)

    def commit(self, run_id: str, term: int, outputs: dict[str, Artifact]) -> dict[str, Any]:
        """Record what an attempt made, and that its run has succeeded.

        Raises:
            ResourceError: the project's quota is used up; the run has failed, its parts are kept.
        """
        try:
            run = self.store.commit(run_id, term, outputs, key_now(self.store, run_id))
        except ResourceError:
            self.keeping.drop_refused(list(outputs.values()))
            self.changed()
            raise
        self.attempt_ended(run_id, term)
        return run

    def _is_there(self, artifact: Artifact) -> bool:
        return holds(self.artifact_store, Address(artifact.kind, artifact.name, artifact.version))

    def status(self) -> dict[str, Any]:
        """Return what a person asks first: is it up, is it busy, with what."""
        return {
            "version": __version__,
            "workspace": str(self.root),
            "pid": os.getpid(),
            "uptime_seconds": round(time.time() - self._started_at, 1),
            "pool": self._pool_state(),
            "slots": self.pool.num_slots,
            "slots_alive": len(self.agents.slots()),
            "slots_busy": self.dispatcher.busy_slots(),
            "unfinished_runs": self.store.num_unfinished(),
            "deployments": len(self.deployments.all()),
        }

    def _pool_state(self) -> str:
        trouble = self.dispatcher.trouble
        is_held_up = trouble and self.pool_state == "running"
        return f"held up: {trouble}" if is_held_up else self.pool_state

    def _clear_away(self) -> None:
        """Delete the working folders of runs that succeeded just before their worker was killed."""
        for folder in (self.root / "runs").glob("*"):
            with suppress(SpecError):  # not a run of this workspace, so not ours to delete
                if self.store.run(folder.name)["state"] == RunState.SUCCEEDED:
                    shutil.rmtree(folder, ignore_errors=True)

    def _start_pool(self) -> None:
        steps = (
            self._clear_away, self.keeping.start, self.pool.start, self.dispatcher.start,
            self.pool_keeper.start,
        )  # fmt: skip
        try:
            if all(self._done_when_possible(step) for step in steps):
                self.pool_state = "running"
                self.changed()
        except Exception as error:
            # Without a pool the daemon still answers: it must say why nothing runs.
            if not self._closing.is_set():
                LOG.exception("the pool did not start")
            self.pool_state = f"failed: {error}"

    def _done_when_possible(self, step: Callable[[], None]) -> bool:
        """Do one step of starting, again while the database server is away; False if it closes."""
        while not self._closing.is_set():
            try:
                step()
            except DatabaseAwayError as error:
                LOG.warning("starting the pool: %s", error.what)
                self._closing.wait(_DATABASE_AGAIN_SECONDS)
            else:
                return True
        return False

    def _make_order(self, run: dict[str, Any], slots: tuple[str, ...]) -> dict[str, Any]:
        """Put together all that an attempt must know.

        Raises:
            ResourceError: the project has no room for what the run would make.
        """
        if slots:
            self.keeping.refuse_when_full(run["project"])
        spec = load_stage(run["stage"]).spec.parse(run["spec"])
        inputs = read_inputs(self.store, spec)
        return {
            "run_id": run["run_id"],
            "term": run["term"],
            "stage": run["stage"],
            "spec": run["spec"],
            "slots": list(slots),
            "workspace": str(self.root),
            "folder": str(self.root / "runs" / run["run_id"]),
            "inputs": {key: artifact.to_json() for key, artifact in inputs.items()},
            "checkpoints": run["checkpoints"],
            "num_shrinks": run["num_shrinks"],
        }

    def _stop_when_idle(self) -> None:
        while not self._closing.wait(min(_IDLE_LOOK_SECONDS, self._idle_seconds)):
            if self._is_busy():
                self._last_use = time.monotonic()
            elif time.monotonic() - self._last_use > self._idle_seconds:
                LOG.info("idle for %g minutes: stopping", self._idle_seconds / 60)
                self._stop()
                return

    def _is_busy(self) -> bool:
        try:
            return bool(
                self.pool_state == "starting"
                or self.store.num_unfinished()
                or self.deployments.all()
            )
        except WorkbenchError:
            return True  # the database is away: nobody knows
