"""Gangs that train: what they learn from, and how their ranks are found."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from live_workspace import LiveWorkspace, wait_until
from tiny_training import sentences, write_encoder

from workbench.data.integrate import IntegrateSpec
from workbench.runs import Run
from workbench.train.train import TrainSpec


def make_spec_of(folder: Path) -> Callable[..., TrainSpec]:
    """Return what makes the Spec of a training: ``(checkpoint_seconds, epochs, ...)``."""
    encoder = write_encoder(folder / "encoder")

    def spec_of(checkpoint_seconds: float, epochs: int, **changes: object) -> TrainSpec:
        return TrainSpec.parse({
            "dataset": "rows", "model": str(encoder), "epochs": epochs, "batch_size": 16,
            "learning_rate": 3e-3, "max_tokens": 24, "precision": "float32",
            "checkpoint_seconds": checkpoint_seconds, **changes,
        })  # fmt: skip

    return spec_of


def integrate_rows(own: LiveWorkspace, folder: Path) -> None:
    """Give a workspace the data set ``rows``."""
    with (folder / "rows.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["text", "label"])
        rows.writerows(sentences(200))
    source = {"kind": "csv", "name": "rows", "path": str(folder / "rows.csv"),
              "text_column": "text", "label_column": "label"}  # fmt: skip
    own.do(IntegrateSpec.parse({"name": "rows", "sources": [source]}))


def ranks_of(run: Run, term: int, num: int = 2) -> list[int]:
    """Return the processes of ``num`` ranks of an attempt, once all have told."""

    found: list[int] = []

    def look() -> bool:
        found.clear()
        told_term = 0
        for event in run.events():
            payload = event["payload"]
            if event["kind"] == "state":
                told_term = payload.get("term", 0)
            elif told_term == term and "rank" in payload and "pid" in payload:
                found.append(payload["pid"])
        return len(found) >= num

    wait_until(look, f"{num} ranks of attempt {term} train", 60)
    return found[-num:]


def remedies(run: Run) -> list[str]:
    return [e["payload"]["remedy"] for e in run.events() if "remedy" in e["payload"]]
