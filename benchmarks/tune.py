"""Searches whose trials are durable runs, beside Optuna alone in one process.

- ``trial-overhead``: seconds on the clock that a trial costs beside its own work: a search of
  trials that do nothing, on a warm pool of two slots, by the number of trials. Each of ours is a
  run: in the database before it starts, a process of its own, its result a committed artifact, and
  the study's journal flushed. The peer is ``study.optimize`` on the same sampler and space, in
  memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks._figures import print_figure
from workbench.tune.options import TuneSpec
from workbench.workspace import Workspace

_BENCH = "tune"
_PLUGIN = Path(__file__).parents[1] / "tests" / "plugin"
_END_SECONDS = 60


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    trials, rounds = (200, 5) if full else (60, 3)
    sys.path.insert(0, str(_PLUGIN))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(_PLUGIN), os.environ.get("PYTHONPATH", "")])
    )
    os.environ["WORKBENCH_SLOTS"] = "2"
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch) / "workspace")
        while workspace.status()["pool"] == "starting":
            time.sleep(0.05)
        daemon = psutil.Process(workspace.status()["pid"])
        try:
            _overhead(workspace, trials, rounds)
        finally:
            workspace.client.post("/shutdown")
            daemon.wait(_END_SECONDS)


def _overhead(workspace: Workspace, trials: int, rounds: int) -> None:
    ours, peer = [], []
    for seed in range(rounds + 1):
        spent = _search(workspace, trials, seed), _plain(trials, seed)
        if seed:  # the first warms what stays warm
            ours.append(spent[0])
            peer.append(spent[1])
    print(f"ours {ours}, Optuna {peer}", file=sys.stderr)
    print_figure(_BENCH, "trial-overhead", median(ours), median(peer),
                 "Optuna in one process, in memory", "s")  # fmt: skip


def _search(workspace: Workspace, trials: int, seed: int) -> float:
    """Return the seconds of a trial in a search, from the start of the search to its end."""
    spec = TuneSpec.parse({
        "stage": "climb", "parameters": {"seconds": 0.0, "steps": 1},
        "space": {"height": None, "slope": {"low": 1, "high": 12}}, "sampler": "tpe",
        "objectives": [{"metric": "reached"}], "trials": trials, "seed": seed, "at_once": 4,
    })  # fmt: skip
    record = workspace.submit(spec).wait().record()
    assert record["state"] == "succeeded", record
    return float(record["ended_at"] - record["started_at"]) / trials


def _plain(trials: int, seed: int) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def climb(trial: Any) -> float:
        height = trial.suggest_float("height", 0, 1)
        return float(height * (1 - 2.0 ** (-trial.suggest_int("slope", 1, 12) / 4)))

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    begun = time.perf_counter()
    study.optimize(climb, n_trials=trials)
    return (time.perf_counter() - begun) / trials
