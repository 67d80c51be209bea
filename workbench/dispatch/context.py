"""The RunContext of a real attempt: it reports to the daemon and hears what it shall do."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.catalog.artifact_store import ArtifactStore, localised, open_artifact_store
from workbench.catalog.trash import Trash
from workbench.core.artifact import Artifact, Draft, flush_entry
from workbench.core.client import RUN_PATIENCE_SECONDS, Client
from workbench.core.context import HostFunction, PartWriter
from workbench.core.daemon_process import FileEndpoint
from workbench.core.errors import Cause, ResourceError, RunCancelled, RunPaused, WorkbenchError
from workbench.core.json_text import plain
from workbench.dispatch.parts import PartMaker, Tries, write_part
from workbench.pool.addresses import LOOPBACK
from workbench.pool.crew import Crew, WorkerLost
from workbench.pool.holdings import HOME, agent_of

_REPORT_SECONDS = 0.2
_WISH_SECONDS = 20.0  # before the question is asked anew
_MOST_EVENTS = 500  # in one report


class RemoteRun:
    """One attempt at a run, in a pool worker or a coordinator's process.

    Events are sent in batches by a thread of its own; another hears at once when the run shall
    pause or stop. The stage's thread never waits for the daemon except at checkpoints.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self.run_id: str = order["run_id"]
        self.term: int = order["term"]
        self.num_workers: int = max(1, len(order["slots"]))
        self.slots: list[str] = order["slots"] or [f"{HOME}/0"]
        self.address: str = order["here"]
        self.threads_per_worker: int = order["threads_per_worker"]
        self.num_shrinks: int = order["num_shrinks"]
        self.folder = Path(order["folder"])
        self.folder.mkdir(parents=True, exist_ok=True)
        # What goes, goes at once: a backup that is made meanwhile shall not find half of it.
        self.trash = Trash(Path(order["workspace"]) / "trash")
        self._workspace = Path(order["workspace"])
        # Not this process judges how long a daemon may be away, but the agent that started it.
        self.daemon_client = Client(
            FileEndpoint(self._workspace),
            patience_seconds=RUN_PATIENCE_SECONDS,
            database_seconds=RUN_PATIENCE_SECONDS,
        )
        self._inputs = {k: Artifact.from_json(v) for k, v in order["inputs"].items()}
        self._checkpoints: dict[str, str] = dict(order["checkpoints"])
        self._route = f"/runs/{self.run_id}/attempts/{self.term}"
        self._events: list[dict[str, Any]] = []
        self._num_noted = self._num_kept = 0  # lines of the journal: recorded, and sent
        self._newest_progress: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._tries = Tries(self.folder / "tries")
        self._wish = "run"
        self._closing = threading.Event()
        self._reporter = threading.Thread(target=self._report_often, daemon=True)
        self._reporter.start()
        threading.Thread(target=self._hear_wishes, daemon=True).start()

    # -- what a stage says ----------------------------------------------------------------------

    def log(self, message: str, **facts: Any) -> None:
        """Write one line to the run's journal."""
        self.record("log", {"message": message, **facts})

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Record one point of a curve, or a final figure."""
        self.record("metric", {"name": name, "value": float(value), "step": step})

    def progress(self, done: float, total: float, unit: str = "rows", note: str = "") -> None:
        """Say how far the run is; only the newest of a moment is sent."""
        payload = {"done": done, "total": total, "unit": unit, "note": note}
        event = _event("progress", plain(payload, where=f"run {self.run_id}"))
        with self._lock:
            self._newest_progress = event

    def count_rows(self, *, read: int, written: int) -> None:
        """Record rows in and rows out."""
        self.record("rows", {"read": read, "written": written})

    # -- what a stage reads and writes ------------------------------------------------------------

    @cached_property
    def store(self) -> ArtifactStore:
        """Where artifacts are kept; what was opened stays at hand as long as this run's object."""
        return open_artifact_store(self._workspace)

    def save(self, kind: str, name: str) -> Draft:
        """Open a new result of this attempt."""
        path = self.folder / f"staging-{self.term}" / name
        shutil.rmtree(path, ignore_errors=True)
        return Draft(kind, name, path)

    def open(self, reference: str) -> Artifact:
        """Return a committed artifact, one of the Spec's or any other of the catalog."""
        if reference not in self._inputs:
            found = self.daemon_client.get(f"/artifacts/{reference}")
            self._inputs[reference] = Artifact.from_json(found)
        return localised(self.store, self._inputs[reference])

    def checkpoint(self, key: str, write: Callable[[Path], None]) -> Path:
        """Make one part durable; a part that is there already is not made again."""
        if key not in self._checkpoints:
            partial = self._partial_folder / key
            write_part(lambda folder, _: write(folder), str(partial), None)
            self._settle(key, partial)
        return self._checkpoint_folder / self._checkpoints[key]

    def checkpoint_each(
        self, parts: Mapping[str, Any], write: PartWriter, unit: str = "partitions", note: str = ""
    ) -> list[Path]:
        """Make many parts durable; those that are there already are not made again."""
        while missing := {k: v for k, v in parts.items() if k not in self._checkpoints}:
            num_there = len(parts) - len(missing)

            def between(num_done: int, num_there: int = num_there) -> bool:
                self.progress(num_there + num_done, len(parts), unit, note)
                return self.should_pause or self.cancelled

            with self._crew(self.slots[1:]) as crew:
                PartMaker(missing, write, self._partial_folder, self._settle, self._tries).make(
                    crew, between
                )
            self.stop_if_asked()
        return [self.checkpoints()[key] for key in parts]

    @contextmanager
    def on_hosts(
        self, function: HostFunction, values: Mapping[str, Any]
    ) -> Iterator[dict[str, socket.socket]]:
        """Have a function called on other hosts of the run, with a connection to here."""
        leading = {agent_of(slot): slot for slot in reversed(self.slots)}
        slots = {host: leading[host] for host in values}
        with self._crew(list(slots.values())) as crew:
            try:
                lines = {h: crew.lend(slot, function, values[h]) for h, slot in slots.items()}
            except WorkerLost as error:
                raise ResourceError(
                    f"The host {agent_of(str(error))} is out of reach",
                    where=f"run {self.run_id}",
                    next_step="Resume the run: it goes on, on hosts that can be reached.",
                    cause=Cause.RANK_KILLED,
                ) from error
            yield lines

    def _crew(self, slots: list[str]) -> Crew:
        is_alone = {agent_of(slot) for slot in slots} <= {agent_of(self.slots[0])}
        return Crew(slots, self._invite, self._workspace, LOOPBACK if is_alone else self.address)

    def _invite(self, address: str, slots: list[str]) -> None:
        self.daemon_client.post(f"{self._route}/helpers", {"address": address, "slots": slots})

    def _settle(self, key: str, partial: Path) -> None:
        """Give a part that was written its name, then tell the daemon that it is there."""
        name = f"{key}.{self.term}"
        target = self._checkpoint_folder / name
        shutil.rmtree(target, ignore_errors=True)  # of an attempt that died between the two steps
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(target)
        flush_entry(target.parent)
        answer = self.daemon_client.post(f"{self._route}/checkpoints", {"key": key, "folder": name})
        self._checkpoints[key] = answer["folder"]

    def checkpoints(self) -> dict[str, Path]:
        """Return the folders of the durable parts by key, in the order they were made."""
        known = dict(self._checkpoints)  # parts of other workers arrive meanwhile
        return {key: self._checkpoint_folder / name for key, name in known.items()}

    def forget_checkpoint(self, key: str) -> None:
        """Drop a part: first from the record, then from the disk."""
        name = self._checkpoints.pop(key, None)
        if name is not None:
            self.daemon_client.delete(f"{self._route}/checkpoints/{quote(key, safe='')}")
            self.trash.throw(self._checkpoint_folder / name)()

    # -- what a stage is asked --------------------------------------------------------------------

    @property
    def should_pause(self) -> bool:
        """Whether the run is wished to pause."""
        return self._wish == "pause"

    @property
    def cancelled(self) -> bool:
        """Whether the run is wished to stop for good."""
        return self._wish == "cancel"

    def stop_if_asked(self) -> None:
        """Raise RunPaused or RunCancelled if somebody asked."""
        if self.cancelled:
            raise RunCancelled
        if self.should_pause:
            raise RunPaused

    @property
    def client(self) -> Client:
        """The daemon's API."""
        return self.daemon_client

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what is left of the journal and stop reporting."""
        self._closing.set()
        self._reporter.join()
        if self._events or self._newest_progress is not None:
            self._report()

    def tell(self, verb: str, body: dict[str, Any]) -> None:
        """Tell the daemon how the attempt ended."""
        self.daemon_client.post(f"{self._route}/{verb}", body)

    @property
    def _partial_folder(self) -> Path:
        return self.folder / f"partial-{self.term}"

    @property
    def _checkpoint_folder(self) -> Path:
        return self.folder / "checkpoints"

    def record(self, kind: str, payload: dict[str, Any]) -> None:
        """Append an event of any kind to the run's journal."""
        event = _event(kind, plain(payload, where=f"run {self.run_id}"))
        with self._lock:
            self._events.append(event)
            self._num_noted += 1

    @property
    def num_noted(self) -> int:
        """Return how many lines of the journal this attempt has written."""
        return self._num_noted

    @property
    def num_kept(self) -> int:
        """Return how many of these the daemon has."""
        return self._num_kept

    def _report_often(self) -> None:
        while not self._closing.wait(_REPORT_SECONDS):
            try:
                self._report()
            except WorkbenchError:
                self._wish = "cancel"  # for the same reasons
                return

    def _hear_wishes(self) -> None:
        """Wait for somebody to change his mind about this run, again and again."""
        while not self._closing.is_set():
            try:
                query = {"known": self._wish, "wait": _WISH_SECONDS}
                self._wish = self.daemon_client.get(f"{self._route}/wish", **query)["wish"]
                if self._wish != "run":
                    self._tries.forgive()  # from now on the run may be ended by force
            except WorkbenchError:
                # A newer attempt owns the run, or the daemon is gone for good: work no longer.
                self._wish = "cancel"
                return

    def _report(self) -> None:
        with self._lock:
            batch, self._events = self._events, []
            if self._newest_progress is not None:
                batch.append(self._newest_progress)
                self._newest_progress = None
        for start in range(0, len(batch), _MOST_EVENTS):
            part = batch[start : start + _MOST_EVENTS]
            self._wish = self.daemon_client.post(f"{self._route}/report", {"events": part})["wish"]
            self._num_kept += sum(event["kind"] != "progress" for event in part)


def _event(kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "time": time.time(), "payload": payload}
