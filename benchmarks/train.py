"""Training on two ranks (MiniLM, gloo, one thread a rank), side by side with its peers.

- ``step-torchrun``: seconds of a step on the same batches, in float32 and bf16; the peer is a bare
  ``torchrun`` script with DistributedDataParallel and the fused AdamW.
- ``throughput-*``: records a second of fine-tuning on tweets with the settings each system offers:
  ours with rows of similar length together, in bf16. Peers: HF Trainer as its documentation shows
  it, the same with bf16 and ``group_by_length``, and Accelerate's loop in bf16.
- ``exact-cost``: what sums in a fixed tree cost, eight slices a batch.
- ``fsdp-memory``: the largest memory of a rank that trains a model of 100 million parameters with
  ``fsdp`` on two, beside that of a single rank that holds all of it.
- ``checkpoint-stall``: how long training stands still for a checkpoint of the model's weights and
  moments, which are written while the next steps are made.

Medians of interleaved rounds: whatever else the machine does hits all.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks._figures import print_figure, print_seconds
from benchmarks._trainings import (
    by_torchrun,
    labelled_texts,
    make_records,
    random_encoder,
    train_here,
    write_steps,
)
from workbench.core.artifact import Artifact
from workbench.models.resolve import resolve_model
from workbench.train.batches import epoch_batches
from workbench.train.token_set import open_token_set

_BENCH = "train"
_PORT = 29_611
_FIRST = 5  # steps that warm caches are left out
_SETTINGS: dict[str, Any] = {"batch_size": 32, "max_tokens": 64, "learning_rate": 1e-5}


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    rounds, num_steps = (7, 100) if full else (3, 40)
    model = resolve_model("minilm", online=False)
    texts, labels, told = labelled_texts()
    num_rows = num_steps * _SETTINGS["batch_size"]
    print(f"{num_rows} rows of {told}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        bench = _Bench(Path(scratch), model, texts[:num_rows], labels[:num_rows], rounds)
        for precision in ("float32", "bf16"):
            bench.steps(precision)
        bench.throughput(num_steps)
        bench.exact()
        bench.checkpoints()
        bench.memory()


class _Bench:
    def __init__(
        self, folder: Path, model: Path, texts: list[str], labels: list[str], rounds: int
    ) -> None:
        self._folder = folder
        self._model = model
        self._num_labels = len(set(labels))
        self._dataset: Artifact = make_records(folder / "records", texts, labels)
        self._rounds = rounds
        self._number = 0
        self._tokens = self._train("tokens", precision="bf16").folder / "train-set"

    def _train(self, name: str, **options: Any) -> Any:
        self._number += 1
        settings = {**_SETTINGS, "epochs": 1, **options}
        return train_here(
            self._folder / f"{name}-{self._number}", self._dataset, self._model, **settings
        )

    def steps(self, precision: str) -> None:
        """Compare a step on the same batches."""
        rows = open_token_set(self._tokens)
        write_steps(self._tokens, epoch_batches(rows.lengths, _SETTINGS["batch_size"], 0, 0))
        ours, peer = [], []
        for number in range(self._rounds):
            run = self._train("step", precision=precision, class_weights="none")
            ours.append(run.seconds_per_step(_FIRST))
            seconds = by_torchrun(
                "torchrun", "torchrun_steps.py", _PORT + number, str(self._model),
                str(self._tokens), str(self._num_labels), precision,
                str(self._folder / "result.json"),
            )["seconds"]  # fmt: skip
            peer.append(float(np.mean(seconds[_FIRST:])))
        _tell({"workbench": ours, "torchrun": peer})
        print_figure(_BENCH, f"step-torchrun-{precision}", median(ours), median(peer),
                     "torchrun, DistributedDataParallel", "s")  # fmt: skip

    def throughput(self, num_steps: int) -> None:
        """Compare records a second."""
        kinds = ("trainer", "trainer-tuned", "accelerate")
        names = {"trainer": "HF Trainer", "trainer-tuned": "HF Trainer, bf16, group_by_length",
                 "accelerate": "Accelerate, bf16"}  # fmt: skip
        rate: dict[str, list[float]] = {kind: [] for kind in ("workbench", *kinds)}
        batch = _SETTINGS["batch_size"]
        for number in range(self._rounds):
            rate["workbench"].append(
                batch / self._train("rate", precision="bf16").seconds_per_step(_FIRST)
            )
            for kind in kinds:
                times = by_torchrun(
                    "hf-trainer", "hf-trainer_tweets.py", _PORT + 100 + number, str(self._model),
                    str(self._tokens), str(self._num_labels), kind, str(batch // 2),
                    str(num_steps), str(self._folder / "result.json"),
                )["times"][_FIRST:]  # fmt: skip
                rate[kind].append(batch * (len(times) - 1) / (times[-1] - times[0]))
        _tell(rate)
        for kind in kinds:
            figure = "throughput-" + {"trainer": "hf-trainer", "trainer-tuned": "hf-trainer-tuned",
                                      "accelerate": "accelerate"}[kind]  # fmt: skip
            print_figure(_BENCH, figure, median(rate["workbench"]), median(rate[kind]),
                         names[kind], "records/s", more_is_better=True)  # fmt: skip

    def exact(self) -> None:
        """Compare exact sums with quick ones."""
        spent: dict[str, list[float]] = {"exact": [], "quick": []}
        for _ in range(self._rounds):
            for name in spent:
                run = self._train(
                    name, precision="bf16", exact=name == "exact", virtual_ranks=8, batch_size=128
                )
                spent[name].append(run.seconds_per_step(2))
        _tell(spent)
        print_figure(_BENCH, "exact-cost", median(spent["exact"]), median(spent["quick"]),
                     "our own quick sums", "s")  # fmt: skip

    def checkpoints(self) -> None:
        """Tell how long training stands still for a checkpoint."""
        run = self._train("saves", precision="bf16", checkpoint_seconds=1.0)
        saves = [facts for kind, facts in run.events if "stall_seconds" in facts]
        stalls = [facts["stall_seconds"] for facts in saves]
        written = median(facts["save_seconds"] for facts in saves)
        print_seconds(_BENCH, "checkpoint-stall", stalls, written=round(written, 3))

    def memory(self) -> None:
        """Compare the largest memory of a rank."""
        large = random_encoder(self._folder / "large", self._model, layers=12, heads=11, width=704)
        few = make_records(self._folder / "few", *_FEW)
        peaks = {}
        for name, workers, strategy in (("single", 1, "ddp"), ("fsdp", 2, "fsdp")):
            run = train_here(
                self._folder / f"memory-{name}", few, large, num_workers=workers,
                strategy=strategy, epochs=1, batch_size=8, max_tokens=16, learning_rate=1e-5,
                precision="float32",
            )  # fmt: skip
            told = [facts["profile"] for _, facts in run.events if "profile" in facts]
            peaks[name] = told[-1]["peak_bytes"] / 1e6
        print_figure(_BENCH, "fsdp-memory", peaks["fsdp"], peaks["single"],
                     "one rank that holds all", "MB")  # fmt: skip


_FEW = (["a short text", "another one"] * 16, ["yes", "no"] * 16)


def _tell(spent: dict[str, list[float]]) -> None:
    told = {name: [round(each, 4) for each in values] for name, values in spent.items()}
    print(json.dumps(told), file=sys.stderr)
