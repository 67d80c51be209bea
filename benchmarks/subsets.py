"""A model for each subset, combined, beside one model that has seen all.

TweetEval emotion, MiniLM, three random shards: three classifiers are trained, one on each, and a
student learns the mean of their answers on all texts (``ensemble``, ``how="distil"``). The peer is
one classifier trained on all. Macro recall on the test set; ``combined`` is the share of the peer's
that the student reaches, ``predictions`` that of the mean of the members' answers, and ``weights``
that of the mean of their weights.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._figures import print_figure
from benchmarks._trainings import emotion
from benchmarks._workspace import warm_workspace
from workbench.data.integrate import IntegrateSpec
from workbench.data.split.stage import SplitSpec
from workbench.models.predictor import load_predictor
from workbench.tasks.metrics import macro_recall_of
from workbench.train.ensemble import EnsembleSpec
from workbench.train.train import TrainSpec
from workbench.workspace import Workspace

_BENCH = "subsets"
_TRAINING = {"model": "minilm", "epochs": 4, "batch_size": 32, "max_tokens": 48}


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    source = emotion()
    if source is None:
        print("SKIPPED: TweetEval is not at hand (shared/data/tweeteval)", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as scratch, warm_workspace(Path(scratch)) as workspace:
        _compare(workspace, Path(scratch), source, full=full)


def _compare(workspace: Workspace, folder: Path, source: Path, *, full: bool) -> None:
    _integrate(workspace, folder, source)
    split = SplitSpec(dataset="train@latest", parts=dict.fromkeys(("a", "b", "c"), 1 / 3))
    shards = [made.reference for name, made in workspace.submit(split).wait().outputs().items()
              if name in ("a", "b", "c")]  # fmt: skip
    whole = workspace.submit(
        TrainSpec.parse({"dataset": "train@latest", **_TRAINING, "name": "whole"}), workers=2
    )
    best = _recall(workspace, whole.wait().outputs()["model"].reference, source)
    for how in ("distil", "predictions", "weights") if full else ("distil",):
        spec = EnsembleSpec.parse({
            "subsets": shards, "parameters": _TRAINING, "how": how, "name": f"by-{how}",
            "student": {"num_layers": 6, "vocabulary": "teacher", "epochs": 4, "batch_size": 32,
                        "soft_share": 0.8},
        })  # fmt: skip
        made = workspace.submit(spec).wait().outputs()["model"]
        figure = {"distil": "combined"}.get(how, how)
        print_figure(_BENCH, figure, _recall(workspace, made.reference, source), best,
                     "one model on all data", "macro recall", more_is_better=True)  # fmt: skip


def _integrate(workspace: Workspace, folder: Path, source: Path) -> None:
    path = folder / "train.csv"
    texts = (source / "train_text.txt").read_text().splitlines()
    labels = (source / "train_labels.txt").read_text().split()
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["text", "label"])
        rows.writerows(zip(texts, labels, strict=True))
    kind: dict[str, Any] = {"kind": "csv", "name": "train", "path": str(path)}
    kind |= {"label_column": "label"}
    workspace.do(IntegrateSpec.parse({"name": "train", "sources": [kind]}))


def _recall(workspace: Workspace, model: str, test: Path) -> float:
    predictor = load_predictor(workspace.artifact(model, "model").path, num_threads=2)
    texts = (test / "test_text.txt").read_text().splitlines()
    truth = (test / "test_labels.txt").read_text().split()
    labels = predictor.labels
    counts = np.zeros((len(labels), len(labels)), np.int64)
    numbers = [labels.index(label) for label in truth]
    np.add.at(counts, (numbers, predictor.predict(texts).argmax(axis=1)), 1)
    return float(macro_recall_of(counts))
