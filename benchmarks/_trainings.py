"""Trainings on two ranks of this machine: the workbench's own and, by torchrun, those of peers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._data_sets import write_data_set
from benchmarks._peers import peer_python
from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun
from workbench.models.folder import CONFIG, TOKENIZER, TOKENIZER_CONFIG, read_json
from workbench.pipeline.files import sample_folder
from workbench.train.train import TrainSpec

NUM_RANKS = 2
_SCRIPTS = Path(__file__).parent / "peers"
_TWEETS = Path(__file__).parents[2] / "shared" / "data" / "tweeteval" / "emotion"


class TimedRun(FolderRun):
    """A run on a folder that notes when its training was how far: (time, steps)."""

    def __init__(self, folder: Path, dataset: Artifact, num_workers: int = NUM_RANKS) -> None:
        super().__init__(folder, {"train@latest": dataset}, num_workers=num_workers)
        self.places: list[tuple[float, int]] = []

    def progress(self, done: float, total: float, unit: str = "rows", note: str = "") -> None:
        if unit == "steps":
            self.places.append((time.perf_counter(), int(done)))
        super().progress(done, total, unit, note)

    def seconds_per_step(self, first: int) -> float:
        """Return the mean time of a step, those before ``first`` left out."""
        steady = [place for place in self.places if place[1] >= first]
        (begun, begin), (ended, end) = steady[0], steady[-1]
        return (ended - begun) / (end - begin)


def emotion() -> Path | None:
    """Return the folder of TweetEval's emotion set, if it is at hand."""
    return _TWEETS if _TWEETS.exists() else None


def labelled_texts() -> tuple[list[str], list[str], str]:
    """Return texts, labels and what they are: tweets if they are at hand, else the sample."""
    if _TWEETS.exists():
        texts = (_TWEETS / "train_text.txt").read_text().splitlines()
        labels = (_TWEETS / "train_labels.txt").read_text().split()
        return texts, labels, "TweetEval emotion"
    import csv

    with (sample_folder() / "news.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["sentiment"]]
    return [row["comment"] for row in rows], [row["sentiment"] for row in rows], "the sample"


def make_records(folder: Path, texts: Sequence[str], labels: Sequence[str]) -> Artifact:
    """Seal records of one label scheme."""
    scheme = "|".join(sorted(set(labels)))
    return write_data_set(folder, [{
        "id": [f"row-{row}" for row in range(len(texts))],
        "text": list(texts), "label": list(labels), "label_scheme": [scheme] * len(texts),
        "source": ["benchmark"] * len(texts),
        "provenance": [f"benchmark:{row}" for row in range(len(texts))],
    }])  # fmt: skip


def train_here(
    folder: Path, dataset: Artifact, model: Path, *, num_workers: int = NUM_RANKS, **options: Any
) -> TimedRun:
    """Train on ranks of this machine; return the run."""
    run = TimedRun(folder, dataset, num_workers)
    options = {"checkpoint_seconds": 3600, **options}
    run.run(TrainSpec(dataset="train", model=str(model), **options))
    return run


def by_torchrun(peer: str, script: str, port: int, *arguments: str) -> dict[str, Any]:
    """Run a peer's script on two ranks; return what it wrote into the file that it is told last."""
    result = Path(arguments[-1])
    result.unlink(missing_ok=True)
    program = peer_python(peer).with_name("torchrun")
    command = [program, "--nproc-per-node", str(NUM_RANKS), "--master-port", str(port),
               _SCRIPTS / script, *arguments]  # fmt: skip
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    if done.returncode:
        print(done.stdout[-3000:], file=sys.stderr)
        raise RuntimeError(f"{script} of {peer} failed")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def write_steps(folder: Path, steps: Sequence[np.ndarray[Any, Any]]) -> None:
    """Write down which rows each rank works on in each step: every other one of a batch."""
    told = [[step[rank::NUM_RANKS].tolist() for rank in range(NUM_RANKS)] for step in steps]
    (folder / "steps.json").write_text(json.dumps(told))


def random_encoder(folder: Path, like: Path, *, layers: int, heads: int, width: int) -> Path:
    """Write an encoder of some size, drawn at random, with a tokenizer that exists."""
    import torch
    from transformers import BertConfig, BertModel

    known = read_json(like / CONFIG)
    config = BertConfig(
        vocab_size=known["vocab_size"], hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * width,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    for name in (TOKENIZER, TOKENIZER_CONFIG):
        shutil.copyfile(like / name, folder / name)
    return folder
