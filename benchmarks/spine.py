"""What the spine costs: importing the package, and one durable run of an empty stage.

``import-cpu``: the peer is importing ``distributed``, what a user of a bare Dask pool imports.

``submit-to-succeeded``: from the call that submits to the answer that the work is done, pools warm,
one run at a time, two workers each. Ours is in the database (WAL, synchronous=FULL) before it
starts, and its artifact, journal and catalog row are on the disk before it counts as done. Peers:

- ``dask-submit``: the same by ``Client.submit`` on a bare ``LocalCluster``. It writes nothing down
  and forgets the result when its scheduler ends: a floor that no durable queue can reach.
- ``huey-sqlite`` (where huey is installed): a task queue in SQLite with fsync on, so as durable;
  its polls are set to 5 ms, as its defaults (100 ms and more) would measure only waiting.
  It stores the returned value, no files.
"""

from __future__ import annotations

import importlib.util
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
from typing import Any

_PLUGIN = Path(__file__).parents[1] / "tests" / "plugin"
_NUM_WARM_UPS = 5
_POLL_SECONDS = 0.005

Submit = Callable[[int], Any]  # number of the run -> returns when it is done


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    _import_cost(rounds=31 if full else 11)
    _submit_cost(rounds=300 if full else 60)


def _import_cost(rounds: int) -> None:
    ours, peer = [], []
    for _ in range(rounds):  # interleaved: whatever else the machine does hits both
        ours.append(_cpu_milliseconds("import workbench"))
        peer.append(_cpu_milliseconds("import distributed"))
    _print("import-cpu", median(ours), median(peer), "distributed", "ms")


def _cpu_milliseconds(statement: str) -> float:
    code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


def _submit_cost(rounds: int) -> None:
    peers: dict[str, Callable[[Path], Any]] = {"dask-submit": _dask}
    if importlib.util.find_spec("huey") is not None:
        peers["huey-sqlite"] = _huey
    else:
        print("huey is not installed: that peer is left out", file=sys.stderr)
    for name, open_peer in peers.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            _workbench(Path(folder)) as submit_ours,
            open_peer(Path(folder)) as submit_peer,
        ):
            ours, peer = _interleaved(submit_ours, submit_peer, rounds)
        for share in (0.5, 0.95):
            place = round(share * (rounds - 1))
            figure = f"submit-to-succeeded-p{share * 100:.0f}"
            _print(figure, ours[place], peer[place], name, "ms")


def _interleaved(ours: Submit, peer: Submit, rounds: int) -> tuple[list[float], list[float]]:
    """Return sorted milliseconds of both; whatever else the machine does hits both."""
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + _NUM_WARM_UPS):
        for submit, milliseconds in zip((ours, peer), spent, strict=True):
            start = time.perf_counter()
            submit(number)
            milliseconds.append((time.perf_counter() - start) * 1000)
    return sorted(spent[0][_NUM_WARM_UPS:]), sorted(spent[1][_NUM_WARM_UPS:])


@contextmanager
def _workbench(folder: Path) -> Iterator[Submit]:
    os.environ.update(PYTHONPATH=str(_PLUGIN), WORKBENCH_SLOTS="2")
    sys.path.insert(0, str(_PLUGIN))
    from workbench_example_stages import NothingSpec

    from workbench.core.daemon_process import is_daemon
    from workbench.workspace import Workspace

    workspace = Workspace(folder / "workspace")
    while workspace.status()["pool"] == "starting":
        time.sleep(0.05)
    pid = workspace.status()["pid"]
    try:
        yield lambda number: workspace.do(NothingSpec(tag=str(number)))
    finally:
        workspace.client.post("/shutdown")
        while is_daemon(pid, workspace.root):
            time.sleep(0.05)


@contextmanager
def _dask(_folder: Path) -> Iterator[Submit]:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
    )
    with cluster, Client(cluster) as client:
        yield lambda number: client.submit(_same, number, pure=False).result()


def _same(number: int) -> int:
    return number


_HUEY_MODULE = """
from huey import SqliteHuey
queue = SqliteHuey(filename={file!r}, fsync=True)
@queue.task()
def same(number):
    return number + 1
"""


@contextmanager
def _huey(folder: Path) -> Iterator[Submit]:
    module = folder / "huey_peer.py"
    module.write_text(_HUEY_MODULE.format(file=str(folder / "huey.sqlite")))
    sys.path.insert(0, str(folder))
    import huey_peer  # type: ignore[import-not-found]

    command = [sys.executable, "-m", "huey.bin.huey_consumer", "huey_peer.queue", "-k", "process",
               "-w", "2", "-d", str(_POLL_SECONDS), "-m", str(_POLL_SECONDS), "-q"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    consumer = subprocess.Popen(command, env=environment)

    def submit(number: int) -> None:
        result = huey_peer.same(number)
        while result.get() is None:
            time.sleep(_POLL_SECONDS)

    try:
        yield submit
    finally:
        consumer.terminate()
        consumer.wait()
        sys.path.remove(str(folder))
        del sys.modules["huey_peer"]


def _print(figure: str, ours: float, peer: float, peer_name: str, unit: str) -> None:
    line = {
        "bench": "spine",
        "figure": figure,
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "peer_name": peer_name,
        "ratio": round(peer / ours, 3),
        "unit": unit,
    }
    print(json.dumps(line), flush=True)
