"""What the pool costs and brings when texts are cleaned on it: beside the same work without it.

Generated comments, the settings that clean has by default.

- ``dask-cpu``: processor time of daemon and workers together for a clean with one worker, beside
  one process that does the same on a bare folder; warm both, measured in turns.
- ``two-workers``: time on the clock with one worker over that with two (needs two free cores).
- ``memory``: peak resident memory of the hungriest worker on 20 times the data over that on one,
  duplicates included; 1x is one full partition.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks._comments import write_comments
from benchmarks._figures import print_figure, wall_seconds
from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun
from workbench.data.clean.spec import CleanSpec
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import PARTITION_ROWS
from workbench.workspace import Workspace

_BENCH = "engine"
_PARTITIONS = 4
_LOOK_SECONDS = 0.02


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        comments = write_comments(folder / "some", _PARTITIONS * PARTITION_ROWS)
        with _pool(folder / "speed") as pool:
            _speed(pool, comments, folder, rounds=5 if full else 2)
        _memory(folder, times=20)


class Pool:
    """A workspace with two workers, and what its processes take."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._number = 0

    def take_in(self, comments: Artifact) -> str:
        """Make a data set of the workspace out of one on a bare folder."""
        source = {"kind": "parquet", "name": "comments",
                  "path": f"{comments.path}/part-*.parquet", "text_column": "text"}  # fmt: skip
        made = self.workspace.do(IntegrateSpec.parse({"sources": [source]}))
        reference: str = made.dataset.reference if hasattr(made, "dataset") else made.reference
        return reference

    def clean(self, reference: str, workers: int) -> None:
        """Clean a data set; under a new name each time, so that it is done and not found done."""
        self._number += 1
        spec = CleanSpec(dataset=reference, name=f"clean-{self._number}")
        self.workspace.do(spec, workers=workers)

    def cpu_seconds(self, work: Callable[[], object]) -> float:
        """Return the processor time that the pool's processes take for a call."""
        before = self._cpu()
        work()
        return self._cpu() - before

    def peak_memory(self, work: Callable[[], object]) -> int:
        """Return the most resident bytes of a worker during a call."""
        done = threading.Event()
        thread = threading.Thread(target=lambda: (work(), done.set()))
        thread.start()
        peak = 0
        while not done.wait(_LOOK_SECONDS):
            peak = max(peak, *(p.memory_info().rss for p in self._workers()))
        thread.join()
        return peak

    def _cpu(self) -> float:
        return sum(sum(p.cpu_times()[:2]) for p in [self._daemon(), *self._workers()])

    def _daemon(self) -> psutil.Process:
        return psutil.Process(self.workspace.status()["pid"])

    def _workers(self) -> list[psutil.Process]:
        found = self._daemon().children(recursive=True)
        return [p for p in found if "--multiprocessing-fork" in " ".join(p.cmdline())]


@contextmanager
def _pool(root: Path) -> Iterator[Pool]:
    os.environ["WORKBENCH_SLOTS"] = "2"
    workspace = Workspace(root)
    while workspace.status()["pool"] == "starting":
        time.sleep(0.05)
    daemon = psutil.Process(workspace.status()["pid"])
    try:
        yield Pool(workspace)
    finally:
        workspace.client.post("/shutdown")
        daemon.wait(60)


def _speed(pool: Pool, comments: Artifact, folder: Path, rounds: int) -> None:
    reference = pool.take_in(comments)
    dataset = pool.workspace.artifact(reference)
    alone, pooled, wide = [], [], []
    for number in range(rounds + 1):
        begun = time.process_time()
        run = FolderRun(folder / f"bare-{number}", {f"{dataset.name}@latest": dataset})
        run.run(CleanSpec(dataset=f"{dataset.name}@latest"))
        alone.append(time.process_time() - begun)
        clock = wall_seconds(
            lambda: pooled.append(pool.cpu_seconds(lambda: pool.clean(reference, workers=1)))
        )
        wide.append(clock / wall_seconds(lambda: pool.clean(reference, workers=2)))
    print_figure(_BENCH, "dask-cpu", median(pooled[1:]), median(alone[1:]), "bare kernels", "CPU s")
    print_figure(
        _BENCH, "two-workers", median(wide[1:]), 1.0, "one worker", "x", more_is_better=True
    )


def _memory(folder: Path, times: int) -> None:
    peaks: dict[int, Any] = {}
    for size in (1, times):
        comments = write_comments(folder / f"times-{size}", size * PARTITION_ROWS, seed=size)
        with _pool(folder / f"memory-{size}") as pool:
            reference = pool.take_in(comments)
        with _pool(folder / f"memory-{size}") as pool:  # workers that have read nothing yet
            peaks[size] = pool.peak_memory(lambda: pool.clean(reference, workers=1))  # noqa: B023
    print_figure(
        _BENCH, "memory", peaks[times] / 1e6, peaks[1] / 1e6, "a twentieth of the data", "MB"
    )
