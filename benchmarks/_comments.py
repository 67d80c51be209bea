"""Generated comments in partitions, for measuring what depends on how many records there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from workbench.core.artifact import Artifact, Draft, seal
from workbench.data.records import SCHEMA, RecordWriter

_PORTION = 20_000
_SYLLABLES = ("ka", "lo", "mi", "ru", "tse", "bat", "den", "fos", "gil", "hun", "jar", "pex")
_NUM_WORDS = 20_000
_MEAN_WORDS = 18
_COPIES, _MARKUP, _MAIL, _EMPTY = 0.08, 0.06, 0.02, 0.02  # shares of the records


def write_comments(folder: Path, num_records: int, seed: int = 0) -> Artifact:
    """Write a data set of short comments, some of them copies, marked up, or empty."""
    draft = Draft("dataset", "comments", folder / "draft")
    with RecordWriter(draft, SCHEMA) as writer:
        for first in range(0, num_records, _PORTION):
            writer.write(_records(first, min(_PORTION, num_records - first), seed))
    draft.describe(rows_out=num_records)
    return seal(draft, folder / "artifacts")


def _records(first: int, count: int, seed: int) -> pa.Table:
    random = np.random.default_rng([seed, first])
    texts = _texts(random, count)
    rows = range(first, first + count)
    columns = {
        "id": [f"{row:016x}" for row in rows],
        "text": texts,
        "source": ["comments"] * count,
        "provenance": [f"comments.jsonl#{row}" for row in rows],
    }
    return pa.table(
        [columns.get(field.name) or pa.nulls(count, field.type) for field in SCHEMA], schema=SCHEMA
    )


def _texts(random: np.random.Generator, count: int) -> list[str]:
    words = _vocabulary()
    # Word frequencies as in texts: the r-th most frequent about 1/r of the first (Zipf).
    ranks = np.minimum(random.zipf(1.3, size=count * 3 * _MEAN_WORDS), _NUM_WORDS) - 1
    lengths = random.integers(3, 2 * _MEAN_WORDS, count)
    ends = np.cumsum(lengths)
    texts = [
        " ".join(words[rank] for rank in ranks[end - length : end].tolist())
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]
    dirt = random.random(count)
    earlier = random.integers(0, np.maximum(np.arange(count), 1))
    for row in np.flatnonzero(dirt < _COPIES + _MARKUP + _MAIL + _EMPTY).tolist():
        if dirt[row] < _COPIES:
            texts[row] = texts[int(earlier[row])] + (" again" if row % 2 else "")
        elif dirt[row] < _COPIES + _MARKUP:
            texts[row] = f"<p>{texts[row]}</p> &amp; more"
        elif dirt[row] < _COPIES + _MARKUP + _MAIL:
            texts[row] += " mail me at someone@example.org"
        else:
            texts[row] = " "
    return texts


def _vocabulary() -> list[str]:
    random = np.random.default_rng(1)
    parts = random.integers(len(_SYLLABLES), size=(_NUM_WORDS, 4))
    sizes = random.integers(1, 5, _NUM_WORDS)
    return [
        "".join(_SYLLABLES[part] for part in row[:size])
        for row, size in zip(parts.tolist(), sizes.tolist(), strict=True)
    ]
