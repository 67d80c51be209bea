"""What trainings reach on real sets, and in what time, beside a linear model of n-grams.

- ``tweets``: TweetEval sentiment, a MiniLM fine-tuned on all of its training set on two workers;
  macro recall on the test set, and the minutes that the training took.
- ``chinese``: SMP2020-EWECT (Weibo, six emotions), with no weights from elsewhere: a tokenizer and
  a masked language model are trained on the texts of the training set first. Texts that are in the
  test set, too, are taken out. Macro F1, and that of the mean with the n-grams' probabilities.

``QUALITY=tweets`` or ``QUALITY=chinese`` in the environment takes one of them.

The peer is TF-IDF of words and characters with logistic regression, trained on the same rows in the
same run.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._figures import print_figure
from benchmarks._workspace import warm_workspace
from workbench.data.integrate import IntegrateSpec
from workbench.models.predictor import load_predictor
from workbench.runs import Run
from workbench.tasks.baseline import train_baseline
from workbench.tasks.metrics import macro_f1_of, macro_recall_of
from workbench.train.pretrain import PretrainSpec
from workbench.train.train import TrainSpec
from workbench.workspace import Workspace

_BENCH = "quality"
_SETS = Path(__file__).parents[2] / "shared" / "data"
_BASELINE = "TF-IDF and logistic regression"

Rows = tuple[list[str], list[str]]  # texts and labels


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    if not _SETS.exists():
        print("SKIPPED: the real sets are not at hand (shared/data)", file=sys.stderr)
        return
    only = os.environ.get("QUALITY", "")
    with tempfile.TemporaryDirectory() as scratch, warm_workspace(Path(scratch)) as workspace:
        if only in ("", "tweets"):
            _tweets(workspace, Path(scratch))
        if only in ("", "chinese"):
            _chinese(workspace, Path(scratch), epochs=20 if full else 12)


def _tweets(workspace: Workspace, folder: Path) -> None:
    source = _SETS / "tweeteval" / "sentiment"
    with gzip.open(source / "train_reconstructed.tsv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    train = [row["text"] for row in rows], [row["label"] for row in rows]
    test = _lines(source / "test_text.txt"), _lines(source / "test_labels.txt")
    _integrate(workspace, folder, "tweets", train)
    spec = TrainSpec.parse({
        "dataset": "tweets@latest", "model": "minilm", "epochs": 2, "batch_size": 32,
        "learning_rate": 1e-4, "max_tokens": 64, "precision": "bf16", "class_weights": "sqrt",
    })  # fmt: skip
    run = workspace.submit(spec, workers=2).wait()
    predictor = load_predictor(run.outputs()["model"].path, num_threads=2)
    scores = predictor.predict(test[0])
    found = float(macro_recall_of(_counts(scores, predictor.labels, test[1])))
    baseline = train_baseline(*train)
    linear = baseline.predict(test[0])
    peer = float(macro_recall_of(_counts(linear, baseline.labels, test[1])))
    print(json.dumps({"minutes": round(_minutes(run), 1), "rows": len(train[0])}), file=sys.stderr)
    print_figure(_BENCH, "tweets", found, peer, _BASELINE, "macro recall", more_is_better=True)


def _chinese(workspace: Workspace, folder: Path, epochs: int) -> None:
    source = _SETS / "smp2020_ewect"
    test = _records(json.loads((source / "usual_test_labeled.txt").read_text()))
    lines = (source / "usual_train_from_folds.jsonl").read_text().splitlines()
    known = set(test[0])
    train = _records([row for row in map(json.loads, lines) if row["content"] not in known])
    _integrate(workspace, folder, "weibo", train)
    size = {"layers": 4, "width": 256, "heads": 4, "inner": 1024}
    pretrained = workspace.submit(
        PretrainSpec.parse({
            "datasets": ["weibo@latest"], "epochs": epochs, "batch_size": 32, "max_tokens": 96,
            "learning_rate": 1e-3, "vocabulary": 6000, "architecture": size, "name": "weibo-lm",
        }),
        workers=2,
    )  # fmt: skip
    model = pretrained.wait().outputs()["model"].reference
    spec = TrainSpec.parse({
        "dataset": "weibo@latest", "model": model, "epochs": 4, "batch_size": 32,
        "learning_rate": 3e-4, "max_tokens": 96, "class_weights": "sqrt",
    })  # fmt: skip
    run = workspace.submit(spec, workers=2).wait()
    predictor = load_predictor(run.outputs()["model"].path, num_threads=2)
    scores = predictor.predict(test[0])
    baseline = train_baseline(*train)
    assert baseline.labels == predictor.labels
    linear = baseline.predict(test[0])
    peer, alone, both = (
        float(macro_f1_of(_counts(each, baseline.labels, test[1])))
        for each in (linear, scores, scores + linear)
    )
    minutes = {"pretraining": round(_minutes(pretrained), 1), "training": round(_minutes(run), 1)}
    print(json.dumps({"minutes": minutes, "rows": len(train[0])}), file=sys.stderr)
    print_figure(_BENCH, "chinese-alone", alone, peer, _BASELINE, "macro F1", more_is_better=True)
    print_figure(_BENCH, "chinese-combined", both, peer, _BASELINE, "macro F1", more_is_better=True)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _records(rows: Sequence[dict[str, Any]]) -> Rows:
    return [row["content"] for row in rows], [row["label"] for row in rows]


def _integrate(workspace: Workspace, folder: Path, name: str, rows: Rows) -> None:
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label"])
        table.writerows(zip(*rows, strict=True))
    kind = {"kind": "csv", "name": name, "path": str(path), "label_column": "label"}
    workspace.do(IntegrateSpec.parse({"name": name, "sources": [kind], "max_rejected_share": 0.01}))


def _counts(
    scores: np.ndarray[Any, Any], labels: Sequence[str], truth: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    counts = np.zeros((len(labels), len(labels) + 1), np.int64)  # nobody abstains
    numbers = [list(labels).index(label) for label in truth]
    np.add.at(counts, (numbers, scores.argmax(axis=1)), 1)
    return counts


def _minutes(run: Run) -> float:
    record = run.record()
    return float(record["ended_at"] - record["started_at"]) / 60
