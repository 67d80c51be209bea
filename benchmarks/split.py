"""How many test records have a relative in train: the default split beside plain random ones.

English documents of this machine; some stand there again, whole or with up to a tenth of their
words changed, alone or as families of up to twenty. A relative shares at least .8 of its word
3-grams (Jaccard), found by comparing every test record with every train record, with words and
n-grams of scikit-learn: nothing of the workbench judges itself.

- ``leak``, ``leak-datasets``: the share of test records with a relative in train, beside
  ``train_test_split`` of scikit-learn and of ``datasets``, both stratified by label.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._data_sets import pattern_of, write_data_set
from benchmarks._figures import print_figure
from benchmarks._local_texts import local_texts
from benchmarks._peers import run_peer
from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun
from workbench.data.records import read_records
from workbench.data.split.stage import SplitSpec

_BENCH = "split"
_TEST = 0.2
_JACCARD = 0.8
_SHARE_COPIED = 0.15
_MOST_COPIES = 20
_MOST_CHANGED = 0.1
_ROWS_AT_ONCE = 500

Mask = npt.NDArray[np.bool_]


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    texts = with_near_copies(local_texts(60_000_000 if full else 10_000_000))
    labels = ["long" if len(text) > 600 else "short" for text in texts]
    ids = [f"{row:08d}" for row in range(len(texts))]
    print(f"corpus: {len(texts)} records with near copies", file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dataset = write_data_set(folder, [_columns(ids, texts, labels)])
        is_test = _ours(folder / "run", dataset, ids)
        judge = _Judge(texts)
        ours = judge.leak(is_test["test"], is_test["train"])
        plain = _scikit_learn(labels)
        print_figure(_BENCH, "leak", ours, judge.leak(plain, ~plain), "scikit-learn",
                     "share of test records")  # fmt: skip
        answer = run_peer("datasets", "datasets_split.py", pattern_of(dataset), str(_TEST),
                          str(folder / "cache"))  # fmt: skip
        peer = np.isin(ids, answer["test"])
        print_figure(_BENCH, "leak-datasets", ours, judge.leak(peer, ~peer), "datasets",
                     "share of test records")  # fmt: skip


def with_near_copies(texts: Sequence[str]) -> list[str]:
    """Return texts and, among them, families of copies of some, words changed here and there."""
    random = np.random.default_rng(0)
    copies = []
    for row in np.flatnonzero(random.random(len(texts)) < _SHARE_COPIED).tolist():
        for _ in range(min(int(random.geometric(0.5)), _MOST_COPIES)):
            words = texts[row].split(" ")
            is_changed = random.random(len(words)) < random.uniform(0, _MOST_CHANGED)
            for place in np.flatnonzero(is_changed).tolist():
                words[place] = words[int(random.integers(len(words)))]
            copies.append(" ".join(words))
    every = [*texts, *copies]
    return [every[place] for place in random.permutation(len(every))]


def _columns(ids: list[str], texts: list[str], labels: list[str]) -> dict[str, list[Any]]:
    return {
        "id": ids,
        "text": texts,
        "label": labels,
        "source": ["local"] * len(ids),
        "provenance": ["{}"] * len(ids),
    }


def _ours(folder: Path, dataset: Artifact, ids: list[str]) -> dict[str, Mask]:
    """Return which records are in each part of the default split."""
    made = FolderRun(folder, {"records@latest": dataset}).run(SplitSpec(dataset="records"))
    return {
        name: np.isin(ids, read_records(part, ["id"])["id"].to_pylist())
        for name, part in made.items()
        if part.kind == "dataset"
    }


def _scikit_learn(labels: list[str]) -> Mask:
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(labels))
    _, test = train_test_split(rows, test_size=_TEST, stratify=labels, random_state=0)
    return np.isin(rows, test)


class _Judge:
    """Word 3-grams of all texts, for comparing any two exactly."""

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        grams = CountVectorizer(binary=True, ngram_range=(3, 3), token_pattern=r"\w+")
        self._grams = grams.fit_transform(texts).tocsr()
        self._sizes = np.asarray(self._grams.sum(axis=1)).ravel()

    def leak(self, is_test: Mask, is_train: Mask) -> float:
        """Return the share of test records with a relative in train."""
        test, train = np.flatnonzero(is_test), np.flatnonzero(is_train)
        turned = self._grams[train].T.tocsr()
        num_leaks = 0
        for start in range(0, len(test), _ROWS_AT_ONCE):
            rows = test[start : start + _ROWS_AT_ONCE]
            shared = (self._grams[rows] @ turned).tocoo()
            union = self._sizes[rows][shared.row] + self._sizes[train][shared.col] - shared.data
            num_leaks += len(np.unique(shared.row[shared.data >= _JACCARD * union]))
        return num_leaks / len(test)
