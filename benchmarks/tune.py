"""Searches whose trials are durable runs, beside Optuna alone in one process.

- ``trial-overhead``: seconds on the clock that a trial costs beside its own work: a search of
  trials that do nothing, on a warm pool of two slots, by the number of trials. Each of ours is a
  run: in the database before it starts, a process of its own, its result a committed artifact, and
  the study's journal flushed. The peer is ``study.optimize`` on the same sampler and space, in
  memory.
- ``asha-kills``: seconds of a search of 64 trainings with ``asha`` while 20 processes are killed,
  by chance: ranks, attempts, the search itself, zygotes, the agent, the daemon, Dask's scheduler.
  Beside it the same search left alone. ``stuck`` are trials that came to no end.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks._figures import print_figure
from benchmarks._trainings import random_encoder
from benchmarks._workspace import warm_workspace
from workbench.core.errors import WorkbenchError
from workbench.models.resolve import resolve_model
from workbench.runs import Run
from workbench.tune.options import TuneSpec
from workbench.workspace import Workspace

_BENCH = "tune"
_PLUGIN = Path(__file__).parents[1] / "tests" / "plugin"


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    trials, rounds = (200, 5) if full else (60, 3)
    sys.path.insert(0, str(_PLUGIN))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(_PLUGIN), os.environ.get("PYTHONPATH", "")])
    )
    with tempfile.TemporaryDirectory() as scratch, warm_workspace(Path(scratch)) as workspace:
        _overhead(workspace, trials, rounds)
        _killed(workspace, Path(scratch))


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


_KILLS = 20
_NUM_RECORDS = 800  # so that a search takes about two minutes: still a very short one
_ROLES = (
    "wb-rank-", "wb-ranks-", "wb-attempt", "wb-coordinator", "wb-zygote", "wb-scheduler",
    "workbench.pool.agent", "workbench.daemon",
)  # fmt: skip


def _killed(workspace: Workspace, folder: Path) -> None:
    """Compare a search under kills with one that is left alone."""
    from benchmarks._own_gang import take_in

    dataset = take_in(workspace, folder, _NUM_RECORDS)
    # A small one: trials that rest keep their checkpoints.
    minilm = resolve_model("minilm", online=False)
    model = random_encoder(folder / "encoder", minilm, layers=4, heads=4, width=128)
    spec = TuneSpec.parse({
        "stage": "train", "trials": 64, "at_once": 2, "pruner": "asha", "sampler": "random",
        "parameters": {
            "dataset": dataset, "validation": dataset,
            "model": str(model), "epochs": 27, "max_tokens": 16, "batch_size": 16,
            "checkpoint_seconds": 1.0,
        },
        "space": {"learning_rate": None, "warmup_share": None}, "name": "calm",
    })  # fmt: skip
    calm = _seconds_of(workspace.submit(spec).wait())
    run = workspace.submit(spec.model_copy(update={"name": "killed", "seed": 1}))
    dice = random.Random(0)
    killed: Counter[str] = Counter()
    while killed.total() < _KILLS and _state_of(run) != "succeeded":
        time.sleep(dice.uniform(0.3, 1.7) * calm / _KILLS)
        role = dice.choice(_ROLES)
        if victim := _player(workspace, role):
            with suppress(psutil.NoSuchProcess):
                victim.kill()
            killed[role] += 1
    record = run.wait().record()
    rows = json.loads((run.outputs()["study"].path / "trials.json").read_text())
    stuck = sum(row["state"] not in ("complete", "pruned") for row in rows)
    print(f"killed {dict(killed)}; {Counter(row['state'] for row in rows)}", file=sys.stderr)
    for event in run.events():
        if " failed: " in (told := str(event["payload"].get("message"))):
            print(told, file=sys.stderr)
    assert record["state"] == "succeeded", record
    line = {"bench": _BENCH, "figure": "asha-kills", "ours": round(_seconds_of(run), 1),
            "peer": round(calm, 1), "peer_name": "the same search left alone", "unit": "s",
            "kills": killed.total(), "stuck": stuck, "trials": len(rows)}  # fmt: skip
    print(json.dumps(line), flush=True)


def _state_of(run: Run) -> str:
    """Return a run's state; unknown while a daemon that was killed has no successor yet."""
    try:
        return run.state
    except WorkbenchError:
        return "unknown"


def _seconds_of(run: Run) -> float:
    record = run.record()
    return float(record["ended_at"] - record["submitted_at"])


def _player(workspace: Workspace, role: str) -> psutil.Process | None:
    """Return a process of the workspace that plays a role now, if there is one."""
    own = [p for p in psutil.process_iter() if _has_word(p, str(workspace.root))]
    below = [child for process in own for child in process.children(recursive=True)]
    return next((p for p in [*own, *below] if _plays(p, role)), None)


def _has_word(process: psutil.Process, word: str) -> bool:
    try:
        return word in process.cmdline()
    except psutil.Error:
        return False


def _plays(process: psutil.Process, role: str) -> bool:
    try:
        return process.name().startswith(role) or role in process.cmdline()
    except psutil.Error:
        return False


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
