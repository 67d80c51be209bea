"""The workbench's gangs: trainings submitted to a workspace whose pool is warm."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._data_sets import write_data_set
from benchmarks._gangs import NUM_RANKS, await_sight
from benchmarks._workspace import warm_workspace
from workbench.core.workers import WorkersWish
from workbench.data.integrate import IntegrateSpec
from workbench.queue.states import TERMINAL
from workbench.runs import Run
from workbench.train.train import TrainSpec
from workbench.workspace import Workspace

_NUM_RECORDS = 32
_BATCH_SIZE = 16
_CHECKPOINT_SECONDS = 2.0
_END_SECONDS = 60.0

Event = dict[str, Any]


class OwnGangs:
    """Trains classifiers on a few short texts; each is a run that nobody has made before."""

    name = "workbench"

    def __init__(self, workspace: Workspace, dataset: str, model: Path) -> None:
        self.workspace = workspace
        self.dataset = dataset
        self.model = model
        self._seed = 0

    def launch(self) -> float:
        """Submit a training of one epoch; return when its ranks are ready, in seconds."""
        begun = time.time()
        journal = _Journal(self._submit(epochs=1))
        ready = await_sight(lambda: journal.next(_tells_ready), "gang that is ready")
        journal.run.wait(_END_SECONDS)
        return float(ready["time"]) - begun

    @contextmanager
    def training(self) -> Iterator[OwnTraining]:
        """Submit a training that does not end by itself."""
        run = self._submit(epochs=1000, checkpoint_seconds=_CHECKPOINT_SECONDS)
        training = OwnTraining(run)
        try:
            training.await_checkpoint()
            yield training
        finally:
            run.cancel()
            run.wait(_END_SECONDS)

    def submit_long(
        self, checkpoint_seconds: float = 3600, workers: WorkersWish = NUM_RANKS
    ) -> Run:
        """Submit a training that does not end by itself; it also saves when it has to stop."""
        return self._submit(workers, epochs=1000, checkpoint_seconds=checkpoint_seconds)

    def _submit(self, workers: WorkersWish = NUM_RANKS, **options: Any) -> Run:
        self._seed += 1
        spec = TrainSpec(
            dataset=self.dataset, model=str(self.model), batch_size=_BATCH_SIZE, max_tokens=16,
            seed=self._seed, precision="float32", learning_rate=1e-5, **options,
        )  # fmt: skip
        return self.workspace.submit(spec, workers=workers)


class OwnTraining:
    """A run of the stage ``train``, seen through its journal."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._journal = _Journal(run)
        self._pids: dict[int, int] = {}

    def await_checkpoint(self) -> None:
        """Return when the ranks work and there is something to go on from."""
        self._await_step()
        await_sight(lambda: self._journal.next(lambda e: e["kind"] == "checkpoint"), "checkpoint")

    def kill(self, rank: int) -> float:
        """Kill a rank; return the seconds until the gang that follows has made a step."""
        killed = time.time()
        os.kill(self._pids[rank], signal.SIGKILL)
        return self._await_step() - killed

    def _await_step(self) -> float:
        """Return the time of the first step of the next gang."""
        for _ in range(NUM_RANKS):
            started = await_sight(lambda: self._look(_tells_rank), "rank that starts")["payload"]
            self._pids[started["rank"]] = started["pid"]
        await_sight(lambda: self._look(_tells_ready), "gang that is ready")
        return float(await_sight(lambda: self._look(_tells_loss), "step")["time"])

    def _look(self, is_it: Any) -> Event | None:
        found = self._journal.next(is_it)
        if found is None and self._journal.has_failed:
            # A run that its killed rank has failed goes on when it is told to.
            self._journal.has_failed = False
            self._run.resume()
        return found


class _Journal:
    """Reads a run's events one by one."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.has_failed = False
        self._unread: list[Event] = []
        self._last = 0

    def next(self, is_it: Any) -> Event | None:
        """Return the next event of a kind, None if there is none yet; others are passed over."""
        self._unread = self._unread or self.run.events(self._last, wait=0.2)
        while self._unread:
            event = self._unread.pop(0)
            self._last = event["seq"]
            if event["kind"] == "state":
                state = event["payload"]["state"]
                self.has_failed = state == "failed"
                assert self.has_failed or state not in TERMINAL, f"the run is {state}"
            if is_it(event):
                return event
        return None


def _tells_rank(event: Event) -> bool:
    return event["kind"] == "log" and "pid" in event["payload"]


def _tells_ready(event: Event) -> bool:
    return event["kind"] == "log" and "ready_seconds" in event["payload"]


def _tells_loss(event: Event) -> bool:
    return event["kind"] == "metric" and event["payload"]["name"] == "loss"


@contextmanager
def own_gangs(folder: Path, model: Path) -> Iterator[OwnGangs]:
    """Start a workspace with a slot for each rank, and have it train once."""
    with warm_workspace(folder, NUM_RANKS) as workspace:
        gangs = OwnGangs(workspace, take_in(workspace, folder), model)
        gangs.launch()  # nothing is warm before
        yield gangs


def take_in(workspace: Workspace, folder: Path, num_records: int = _NUM_RECORDS) -> str:
    """Make a data set of the workspace; return its reference."""
    rows = range(num_records)
    labels = ["yes" if row % 2 else "no" for row in rows]
    records = write_data_set(folder / "records", [{
        "id": [f"row-{row}" for row in rows],
        "text": [f"the answer number {row} is {label}, as it was before that" for row, label in
                 zip(rows, labels, strict=True)],
        "label": labels,
        "source": ["records"] * len(rows),
        "provenance": [f"benchmark:{row}" for row in rows],
    }])  # fmt: skip
    source = {"kind": "parquet", "name": "records", "path": f"{records.path}/part-*.parquet",
              "text_column": "text", "label_column": "label"}  # fmt: skip
    made = workspace.do(IntegrateSpec.parse({"sources": [source]}))
    reference: str = made.dataset.reference if hasattr(made, "dataset") else made.reference
    return reference
