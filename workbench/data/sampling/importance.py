"""Importance of records for a target data set, by hashed word n-grams.

Data selection with importance resampling (Xie, Santurkar, Ma & Liang 2023): words and pairs of
words are hashed to buckets; how much more often a bucket occurs in the target than in the raw data
weighs a record that holds it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.core.context import RunContext
from workbench.data.ngrams import hash_grams
from workbench.data.records import partitions
from workbench.data.tokens import as_texts

LONGEST_GRAM = 2

_SMOOTHING = 1e-8  # of a bucket's probability
_ONE = 2.0**32  # logarithms are summed as whole multiples of 1 / _ONE: exactly, in any order
_BUCKETS_FILE, _OFFSETS_FILE, _COUNTS_FILE = "buckets.npy", "offsets.npy", "counts.npy"


def log_importance(
    dataset: Artifact, target: Artifact, num_buckets: int, run: RunContext
) -> npt.NDArray[np.float64]:
    """Return the logarithm of each record's importance; float64 [n].

    Texts are read once, in durable parts; only bucket numbers are kept of them.
    """
    raw = _count_grams(dataset, "raw", num_buckets, run)
    wanted = _count_grams(target, "target", num_buckets, run)
    ratios = _log_ratios(_total(wanted, num_buckets), _total(raw, num_buckets))
    return np.concatenate([_sum_ratios(folder, ratios) for folder in raw])


def _count_grams(
    dataset: Artifact, what: str, num_buckets: int, run: RunContext
) -> list[Path]:  # fmt: skip
    parts = {
        f"grams-{what}-{number:05d}": {"path": str(path), "num_buckets": num_buckets}
        for number, path in enumerate(partitions(dataset))
    }
    return run.checkpoint_each(parts, write_grams, note=f"n-grams of the {what} texts")


def write_grams(folder: Path, value: dict[str, Any]) -> None:
    """Write the buckets of one partition's n-grams, row after row, and how often each occurs."""
    with pq.ParquetFile(value["path"]) as file:
        texts = as_texts(file.read(["text"], use_threads=False)["text"])
    grams = hash_grams(texts, LONGEST_GRAM)
    buckets = (grams.hashes % np.uint64(value["num_buckets"])).astype(np.uint32)
    np.save(folder / _BUCKETS_FILE, buckets)
    np.save(folder / _OFFSETS_FILE, grams.offsets)
    np.save(folder / _COUNTS_FILE, np.bincount(buckets, minlength=value["num_buckets"]))


def _total(folders: list[Path], num_buckets: int) -> npt.NDArray[np.int64]:
    total = np.zeros(num_buckets, np.int64)
    for folder in folders:
        total += np.load(folder / _COUNTS_FILE)
    return total


def _log_ratios(wanted: npt.NDArray[np.int64], raw: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the logarithm of each bucket's ratio of probabilities, in units of 1 / _ONE."""
    ratio = np.log(wanted / max(wanted.sum(), 1) + _SMOOTHING)
    ratio -= np.log(raw / max(raw.sum(), 1) + _SMOOTHING)
    ratios: npt.NDArray[np.int64] = np.rint(ratio * _ONE).astype(np.int64)
    return ratios


def _sum_ratios(folder: Path, ratios: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    buckets = np.load(folder / _BUCKETS_FILE, mmap_mode="r")
    offsets = np.load(folder / _OFFSETS_FILE)
    sums = np.concatenate([[0], np.cumsum(ratios[buckets])])
    logarithms: npt.NDArray[np.float64] = np.diff(sums[offsets]) / _ONE
    return logarithms
