"""Taking k of n records, beside ``datasets``: shuffle, select, write as Parquet.

Generated short records (about 22 words, as comments are), each taken from Parquet to Parquet in one
process; processor seconds after all imports.

- ``datasets``: a tenth of the records, what the stage takes by default. The peer's Arrow cache is
  there before its clock starts.
- ``datasets-from-parquet``: the same, and making that cache counts.
- ``datasets-hundredth``, ``datasets-long``: a hundredth of the records; a tenth of ten times longer
  ones. The stage reads Parquet, so that what it spends grows with n and not with k; the peer's
  grows with k.
- ``bytes-random``, ``bytes-one-source``: the share of the data set's bytes that is read, beside
  k / n. Records drawn from everywhere leave no row group out; those of one source do.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks._data_sets import pattern_of, write_data_set
from benchmarks._figures import cpu_seconds, print_figure
from benchmarks._peers import run_peer
from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun
from workbench.data.sampling.stage import SampleSpec

_BENCH = "sample"
_PORTION = 50_000
_VOCABULARY = np.array([f"word{number}" for number in range(20_000)], object)
_NUM_SOURCES = 10


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    num_rows, rounds = (2_000_000, 5) if full else (1_000_000, 3)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        short = write_data_set(folder / "short", _records(num_rows, num_words=22))
        _take(folder / "warm-up", short, size=10)
        _compare("datasets", folder / "tenth", short, num_rows // 10, rounds)
        _compare("datasets-hundredth", folder / "hundredth", short, num_rows // 100, rounds)
        _bytes("bytes-random", folder / "random", short, num_rows, {"size": num_rows // 10})
        _bytes(
            "bytes-one-source", folder / "one-source", short, num_rows,
            {"size": num_rows // 10, "strategy": "weighted", "weights": {"source-3": 1}},
        )  # fmt: skip
        long = write_data_set(folder / "long", _records(num_rows // 10, num_words=220))
        _compare("datasets-long", folder / "long-tenth", long, num_rows // 100, rounds)


def _records(num_rows: int, num_words: int) -> Iterator[dict[str, list[Any]]]:
    """Yield records of words as frequent as a Zipf law has them; ten sources, one by one."""
    random = np.random.default_rng(0)
    for start in range(0, num_rows, _PORTION):
        rows = range(start, min(start + _PORTION, num_rows))
        places = random.zipf(1.3, size=(len(rows), num_words)) % len(_VOCABULARY)
        salts = random.integers(2**63, size=len(rows)).tolist()
        yield {
            "id": [f"{salt:016x}{row:016x}" for salt, row in zip(salts, rows, strict=True)],
            "text": [" ".join(words) for words in _VOCABULARY[places]],
            "source": [f"source-{row * _NUM_SOURCES // num_rows}" for row in rows],
            "language": ["en"] * len(rows),
            "provenance": [f'{{"uri": "file:///comments.jsonl", "row": {row}}}' for row in rows],
        }


def _take(folder: Path, dataset: Artifact, **settings: Any) -> None:
    spec = SampleSpec(dataset="records", **settings)
    made = FolderRun(folder, {"records@latest": dataset}).run(spec)["dataset"]
    assert made.summary["rows"] == spec.size
    shutil.rmtree(folder)


def _compare(figure: str, folder: Path, dataset: Artifact, size: int, rounds: int) -> None:
    ours, takes, loads = [], [], []
    for number in range(rounds):  # interleaved: whatever else the machine does hits both
        own = folder / str(number)
        ours.append(cpu_seconds(partial(_take, own / "ours", dataset, size=size)))
        answer = run_peer(
            "datasets", "datasets_sample.py", pattern_of(dataset), str(size), str(own / "peer")
        )
        assert answer["rows"] == size
        takes.append(answer["take"])
        loads.append(answer["load"] + answer["take"])
        shutil.rmtree(own)
    print_figure(_BENCH, figure, median(ours), median(takes), "datasets", "CPU seconds")
    print_figure(
        _BENCH, f"{figure}-from-parquet", median(ours), median(loads), "datasets", "CPU seconds"
    )


def _bytes(
    figure: str, folder: Path, dataset: Artifact, num_rows: int, settings: dict[str, Any]
) -> None:
    total = sum(path.stat().st_size for path in dataset.path.glob("part-*.parquet"))
    before = _bytes_read()
    _take(folder, dataset, **settings)
    share = (_bytes_read() - before) / total
    print_figure(_BENCH, figure, share, settings["size"] / num_rows, "k / n", "share of bytes")


def _bytes_read() -> int:
    """Return how many bytes this process has read, from the page cache or not (Linux)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])
