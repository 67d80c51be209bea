"""What the pool costs and brings when texts are cleaned on it: beside the same work without it.

Generated comments, the settings that clean has by default.

- ``dask-cpu``: processor time of daemon and workers together for a clean with one worker, beside
  one process that does the same on a bare folder; warm both, measured in turns.
- ``two-workers``: time on the clock with one worker over that with two (needs two free cores).
- ``memory``: peak resident memory of a process that cleans 20 times the data over that on one,
  duplicates included; 1x is one full partition. It does what a worker does that is alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

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
_PARTITIONS = 2


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

    def _cpu(self) -> float:
        """Add up the daemon, its agent and the zygote, each with the children that have ended."""
        daemon = psutil.Process(self.workspace.status()["pid"])
        processes = [daemon, *daemon.children(recursive=True)]
        return sum(sum(process.cpu_times()[:4]) for process in processes)


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
    peaks = {}
    for size in (1, times):
        comments = write_comments(folder / f"times-{size}", size * PARTITION_ROWS, seed=size)
        handed_over = [json.dumps(comments.to_json()), str(folder / f"run-{size}")]
        done = subprocess.run(
            [sys.executable, "-c", _CLEAN_ALONE, *handed_over],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks[size] = int(done.stdout) / 1e3
    print_figure(_BENCH, "memory", peaks[times], peaks[1], "a twentieth of the data", "MB")


_CLEAN_ALONE = """
import json, sys
from pathlib import Path
from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun
from workbench.data.clean.spec import CleanSpec
comments = Artifact.from_json(json.loads(sys.argv[1]))
FolderRun(Path(sys.argv[2]), {"comments@latest": comments}).run(CleanSpec(dataset="comments"))
# Not ru_maxrss: that counts what the process that started this one held.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""
