"""What a search finds for so many epochs: with trials that rest and go on, beside Optuna alone.

TweetEval emotion, MiniLM: a table of trainings is made first, as a search of its own (random
points, nothing stopped early), with the macro recall on the validation set after each epoch. Then
both searches are played on the table with the same points in the same order and the same number of
epochs, many times over with different orders: ours rests and wakes trials by the rungs of ``asha``,
the peer trains each to its end, as ``study.optimize`` does. ``best``: the mean of the best figure
found.
"""

from __future__ import annotations

import csv
import json
import random
import sys
import tempfile
from pathlib import Path
from statistics import mean

from benchmarks._figures import print_figure
from benchmarks._trainings import emotion
from benchmarks._workspace import warm_workspace
from workbench.data.integrate import IntegrateSpec
from workbench.tune.options import TuneSpec
from workbench.tune.rungs import Rungs
from workbench.workspace import Workspace

_BENCH = "search"
_EPOCHS = 4
_ORDERS = 1000

Curve = list[float]


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    source = emotion()
    if source is None:
        print("SKIPPED: TweetEval is not at hand (shared/data/tweeteval)", file=sys.stderr)
        return
    points, rows = (48, 3000) if full else (24, 600)
    with tempfile.TemporaryDirectory() as scratch, warm_workspace(Path(scratch)) as workspace:
        table = _table(workspace, Path(scratch), source, points, rows)
    print(json.dumps(table), file=sys.stderr)
    for budget in (_EPOCHS * points // 4, _EPOCHS * points // 2):
        ours, peer = [], []
        for seed in range(_ORDERS):
            order = random.Random(seed).sample(table, len(table))
            ours.append(_with_rungs(order, budget))
            peer.append(max(max(curve) for curve in order[: budget // _EPOCHS]))
        print_figure(_BENCH, f"best-in-{budget}-epochs", mean(ours), mean(peer),
                     "Optuna alone, the same points in the same order", "macro recall",
                     more_is_better=True)  # fmt: skip


def _table(workspace: Workspace, folder: Path, source: Path, points: int, rows: int) -> list[Curve]:
    for part, name in (("train", "train"), ("val", "validation")):
        _integrate(workspace, folder, source, part, name, rows)
    spec = TuneSpec.parse({
        "stage": "train", "trials": points, "at_once": 2, "pruner": "none", "sampler": "random",
        "parameters": {"dataset": "train@latest", "validation": "validation@latest",
                       "model": "minilm", "epochs": _EPOCHS, "max_tokens": 48},
        "space": {"learning_rate": None, "batch_size": [16, 32, 64], "warmup_share": None},
    })  # fmt: skip
    study = workspace.submit(spec).wait().outputs()["study"]
    trials = json.loads((study.path / "trials.json").read_text())
    found = []
    for trial in trials:
        events = [e["payload"] for e in workspace.run(trial["run_id"]).journal()]
        curve = {e["step"]: e["value"] for e in events if e.get("name") == "macro_recall"}
        found.append([curve[step] for step in sorted(curve)][:_EPOCHS])
    return [curve for curve in found if len(curve) == _EPOCHS]


def _integrate(
    workspace: Workspace, folder: Path, source: Path, part: str, name: str, rows: int
) -> None:
    path = folder / f"{name}.csv"
    texts = (source / f"{part}_text.txt").read_text().splitlines()[:rows]
    labels = (source / f"{part}_labels.txt").read_text().split()[:rows]
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label"])
        table.writerows(zip(texts, labels, strict=True))
    kind = {"kind": "csv", "name": name, "path": str(path), "label_column": "label"}
    workspace.do(IntegrateSpec.parse({"name": name, "sources": [kind]}))


def _with_rungs(order: list[Curve], budget: int) -> float:
    """Play a search whose trials rest at rungs and go on from there; return the best figure."""
    rungs = Rungs(first=1, reduction=3)
    trained = [0] * len(order)
    resting: dict[int, int] = {}  # trial -> rung
    best, next_trial = 0.0, 0
    while budget > 0:
        passing = [n for n, rung in resting.items() if rungs.may_pass(n, rung)]
        if passing:
            trial = max(passing, key=lambda n: (resting[n], -n))
            del resting[trial]
        elif next_trial < len(order):
            trial, next_trial = next_trial, next_trial + 1
        elif resting:
            trial = max(resting, key=lambda n: order[n][trained[n] - 1])
            del resting[trial]
        else:
            break
        while budget > 0 and trained[trial] < _EPOCHS:
            trained[trial] += 1
            budget -= 1
            best = max(best, order[trial][trained[trial] - 1])
            reached = max(order[trial][: trained[trial]])
            rung = rungs.reach(trial, trained[trial], reached)
            if rung is not None and trained[trial] < _EPOCHS and not rungs.may_pass(trial, rung):
                resting[trial] = rung
                break
    return best
