"""What goes wrong on a host, one thing after the other, while a gang trains: until it works again.

A MiniLM with a fresh head trains on two ranks, with a checkpoint every two seconds. No peer does
most of this: torchrun waits for a stopped rank until its process group gives up, after minutes.
Seconds on the clock, medians (and the longest):

- ``recovery``: a rank gets SIGKILL; until both have joined again, hold the last checkpoint's state
  and have made a step. (Against peers: the benchmark ``elastic``.)
- ``stopped-*``: a rank, the process that starts ranks, the attempt, the agent or the daemon gets
  SIGSTOP; until a step is made by ranks that began after it. The daemon is in no run's way: there
  the time is until it answers again, and steps go on meanwhile.
- ``dask-scheduler``: Dask's scheduler gets SIGKILL; until a client of Dask has an answer
  again, and how many steps were lost.
- ``out-of-memory``: a loss wants more memory for a piece of 16 texts than its process may have, and
  not for one of 8; from the failure until a step is made, and how far the losses are then from
  those of a training that had enough.
- ``daemon-cpu``: the daemon's processor time in per cent of a core, with 1,000 runs waiting behind
  the gang, less that with none.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks._figures import print_seconds
from benchmarks._gangs import NUM_RANKS, Hung, await_sight
from benchmarks._own_gang import OwnGangs, own_gangs
from workbench.core.errors import WorkbenchError
from workbench.data.split.stage import SplitSpec
from workbench.models.resolve import resolve_model
from workbench.runs import Run
from workbench.train.train import TrainSpec
from workbench.train.user_loss import loss

_BENCH = "healing"
_LONGEST_CALM_SECONDS = 3.0
_NUM_WAITING = 1_000
_CPU_SECONDS = 20.0

Event = dict[str, Any]


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    kills, stops = (200, 8) if full else (12, 3)
    model = resolve_model("minilm", online=False)
    with tempfile.TemporaryDirectory() as scratch, own_gangs(Path(scratch), model) as ours:
        _kill_ranks(ours, kills)
        _run_out_of_memory(ours, stops)
        run = ours.submit_long(checkpoint_seconds=2.0)
        for role in ("rank", "ranks' zygote", "attempt", "agent"):
            print_seconds(_BENCH, f"stopped-{role}", [_stop(run, ours, role) for _ in range(stops)])
        print_seconds(_BENCH, "stopped-daemon", [_stop_daemon(run, ours) for _ in range(stops)])
        _kill_dask(run, ours, stops)
        _measure_daemon(ours)
        run.cancel()


def _kill_ranks(ours: OwnGangs, times: int) -> None:
    dice = random.Random(0)
    seconds: list[float] = []
    num_hung = 0
    while len(seconds) + num_hung < times:
        try:
            with ours.training() as training:
                while len(seconds) + num_hung < times:
                    time.sleep(dice.uniform(0, _LONGEST_CALM_SECONDS))
                    seconds.append(training.kill(dice.randrange(NUM_RANKS)))
        except Hung as error:
            print(error, file=sys.stderr)
            num_hung += 1
    p99 = sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]
    print_seconds(_BENCH, "recovery", seconds, p99=round(p99, 3), hangs=num_hung)


@loss
def hungry(logits: Any, labels: Any, limit_bytes: int = 0) -> Any:
    """Cross-entropy that takes 256 MB a text; its process may take so many bytes more than now."""
    import resource

    import torch

    if limit_bytes:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        now = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + limit_bytes, resource.RLIM_INFINITY))
        room = torch.empty(len(labels), 1 << 26)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        del room
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def _run_out_of_memory(ours: OwnGangs, times: int) -> None:
    seconds, apart = [], 0.0
    model = _without_dropout(ours.model)  # pieces of another size draw other chances
    for seed in range(times):
        spec = TrainSpec(
            dataset=ours.dataset, model=str(model), batch_size=32, virtual_ranks=2, epochs=4,
            max_tokens=16, seed=1000 + seed, precision="float32", learning_rate=1e-5,
            loss=hungry.set(limit_bytes=3 << 30),
        )  # fmt: skip
        run = ours.workspace.submit(spec, workers=NUM_RANKS).wait()
        events = _events(run, 0)
        failed = next(e for e in events if "smaller pieces" in e["payload"].get("remedy", ""))
        step = next(e for e in events if e["payload"].get("name") == "loss")
        seconds.append(step["time"] - failed["time"])
        enough = spec.model_copy(update={"loss": hungry.set(limit_bytes=0)})
        calm = _curve(_events(ours.workspace.submit(enough, workers=NUM_RANKS).wait(), 0))
        found = _curve(events)
        assert found.keys() == calm.keys(), "each step once"
        apart = max(apart, *(abs(found[step] - calm[step]) for step in calm))
    print_seconds(_BENCH, "out-of-memory", seconds, losses_apart=apart)


def _without_dropout(model: Path) -> Path:
    """Return a copy of a model that leaves nothing to chance."""
    made = Path(tempfile.mkdtemp()) / "model"
    shutil.copytree(model, made)
    config = json.loads((made / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (made / "config.json").write_text(json.dumps(config))
    return made


def _curve(events: list[Event]) -> dict[int, float]:
    points = [e["payload"] for e in events if e["payload"].get("name") == "loss"]
    return {point["step"]: point["value"] for point in points}


def _stop(run: Run, ours: OwnGangs, role: str) -> float:
    """Stop one process of the gang's; return the seconds until other ranks make steps."""
    _await_step(run, _newest(run))
    time.sleep(random.uniform(0.0, 2.0))
    victim, last = _process(ours, role), _newest(run)
    begun = time.time()
    victim.suspend()
    ready = _await(run, last, lambda e: "ready_seconds" in e["payload"], begun)
    return _await_step(run, last, ready) - begun


def _stop_daemon(run: Run, ours: OwnGangs) -> float:
    """Stop the daemon; return the seconds until one answers."""
    _await_step(run, _newest(run))
    term = run.record()["term"]
    begun = time.monotonic()
    _process(ours, "daemon").suspend()
    while True:
        try:
            assert run.record()["term"] == term, "the gang was disturbed"
            return time.monotonic() - begun
        except WorkbenchError as error:
            print(error, file=sys.stderr)


def _kill_dask(run: Run, ours: OwnGangs, times: int) -> None:
    _await_step(run, 0)
    seconds, before = [], run.record()["term"]
    first = _newest(run)
    for _ in range(times):
        with ours.workspace.dask_client() as client:
            assert client.submit(sum, [1, 2], pure=False).result(30) == 3
        begun = time.monotonic()
        _process(ours, "Dask scheduler").kill()
        while True:
            try:
                with ours.workspace.dask_client(timeout=30.0) as client:
                    client.submit(sum, [1, 2], pure=False).result(5)
                break
            except (WorkbenchError, OSError, TimeoutError):
                continue
        seconds.append(time.monotonic() - begun)
        _await_step(run, _newest(run))
    assert run.record()["term"] == before, "the gang was disturbed"
    steps = [e["payload"]["step"] for e in _events(run, first) if e["kind"] == "metric"]
    lost = len(steps) - len(set(steps)) + max(steps) - min(steps) + 1 - len(set(steps))
    print_seconds(_BENCH, "dask-scheduler", seconds, lost=lost)


def _measure_daemon(ours: OwnGangs) -> None:
    """Compare the daemon's processor time with and without a long line behind the gang."""
    daemon = _process(ours, "daemon")
    alone = _cpu_share(daemon)
    waiting = [
        ours.workspace.submit(SplitSpec(dataset=ours.dataset, seed=n, parts=_PARTS), priority=-1)
        for n in range(_NUM_WAITING)
    ]
    crowded = _cpu_share(daemon)
    for run in waiting:
        run.cancel()
    line = {"bench": _BENCH, "figure": "daemon-cpu", "ours": round(crowded - alone, 2),
            "alone": round(alone, 2), "waiting": _NUM_WAITING, "unit": "% of a core"}  # fmt: skip
    print(json.dumps(line), flush=True)


_PARTS = {"train": 0.8, "test": 0.2}


def _cpu_share(process: psutil.Process) -> float:
    before = process.cpu_times()
    time.sleep(_CPU_SECONDS)
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return 100 * spent / _CPU_SECONDS


def _process(ours: OwnGangs, role: str) -> psutil.Process:
    """Return the process of the workspace that plays a role now."""

    def look() -> psutil.Process | None:
        found = [p for p in psutil.process_iter() if _is_of(p, str(ours.workspace.root))]
        below = [child for process in found for child in process.children(recursive=True)]
        return next((p for p in [*found, *below] if _plays(p, role)), None)

    return await_sight(look, role)


def _is_of(process: psutil.Process, root: str) -> bool:
    try:
        return root in process.cmdline()
    except psutil.Error:
        return False


def _plays(process: psutil.Process, role: str) -> bool:
    try:
        name, words = process.name(), process.cmdline()
    except psutil.Error:
        return False
    signs = {
        "rank": name.startswith("wb-rank-"),
        "ranks' zygote": name.startswith("wb-ranks-"),
        "attempt": name == "wb-attempt",
        "agent": "workbench.pool.agent" in words,
        "daemon": "workbench.daemon" in words,
        "Dask scheduler": name == "wb-scheduler",
    }
    return signs[role]


def _newest(run: Run) -> int:
    return int(_events(run, 0)[-1]["seq"])


def _await_step(run: Run, after: int, began: float = 0.0) -> float:
    """Return the time of the next step that ranks make which are there after an event."""
    return _await(run, after, lambda e: e["payload"].get("name") == "loss", began)


def _await(run: Run, after: int, is_it: Callable[[Event], bool], began: float) -> float:
    def look() -> float | None:
        found = (e["time"] for e in _events(run, after) if e["time"] > began and is_it(e))
        return next(found, None)

    return float(await_sight(look, "sign of the gang"))


def _events(run: Run, after: int) -> list[Event]:
    found: list[Event] = []
    while more := run.events(found[-1]["seq"] if found else after):
        found += more
    return found
