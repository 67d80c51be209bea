"""Near-duplicates end to end, from texts in Parquet to kept texts in Parquet, beside others.

All read the same corpus, English documents of this machine with changed copies of some among them,
and use one process. The clocks count processor seconds after every import, model and compiled
function is loaded.

- ``datatrove``: its four MinHash stages as shipped (14 bands of 8, word 5-grams).
- ``best-library``: the fastest of some MinHash libraries from PyPI at about our setting (Jaccard
  .8, word 3-grams, 112 permutations). None of them verifies the pairs it finds.
- ``recall``, ``precision``: beside comparing every pair of a smaller corpus with planted pairs.
- ``gold-pairs``: of ``minhash_articles``, where that set lies beside the checkout.
- ``memory-flat``: peak memory of the whole search on 20 times the data over that on one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks._figures import cpu_seconds, print_figure
from benchmarks._local_texts import local_texts
from benchmarks._peers import run_peer
from workbench.data.duplicates.columns import release
from workbench.data.duplicates.fingerprints import (
    FingerprintPart,
    Likeness,
    fingerprint,
    write_fingerprints,
)
from workbench.data.duplicates.search import search

_BENCH = "dedup"
_ARTICLES = Path(__file__).parents[2] / "shared" / "data" / "minhash_articles"
_LIBRARIES = ("rensa", "rensa-matrix", "rensa-hashes", "gaoya", "datasketch")
_PARTITION_TEXTS = 26_000  # about 16 MB, for the memory


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = with_near_copies(local_texts(40_000_000 if full else 12_000_000), most_changed=0.1)
        _speed(folder, texts, rounds=5 if full else 3)
        _quality(folder / "pairs", texts[: 8000 if full else 4000])
        _gold_pairs(folder / "gold")
        _memory(folder / "memory")


def with_near_copies(texts: list[str], most_changed: float, share: float = 0.15) -> list[str]:
    """Return texts and, among them, copies of a share of them with up to so many words changed."""
    random = np.random.default_rng(0)
    copies = []
    for row in np.flatnonzero(random.random(len(texts)) < share).tolist():
        words = texts[row].split(" ")
        is_changed = random.random(len(words)) < random.uniform(0, most_changed)
        for place in np.flatnonzero(is_changed).tolist():
            words[place] = words[int(random.integers(len(words)))]
        copies.append(" ".join(words))
    every = [*texts, *copies]
    return [every[place] for place in random.permutation(len(every))]


def deduplicate(sources: list[Path], target: Path, scratch: Path, likeness: Likeness) -> Any:
    """Write the first text of each group of near-duplicates; return the groups.

    Texts are read twice, a few at a time: no more than that is in memory.
    """
    parts = {
        f"fingerprints-{number:05d}": FingerprintPart(path=path, likeness=likeness)
        for number, path in enumerate(sources)
    }
    make = _maker(scratch)
    groups = search(make(parts, write_fingerprints, ""), make)
    first = 0
    with pq.ParquetWriter(target, pq.read_schema(sources[0]), compression="zstd") as writer:
        for path in sources:
            for batch in pq.ParquetFile(path).iter_batches(4096):
                rows = slice(first, first + len(batch))
                is_kept = groups["group"][rows] == np.arange(rows.start, rows.stop)
                writer.write_batch(batch.filter(pa.array(is_kept)))
                first = rows.stop
            release(groups)
    return groups


def deduplicate_at_hand(source: Path, target: Path, scratch: Path, likeness: Likeness) -> None:
    """The same where all texts fit in memory: they are read once, as the peers do."""
    table = pq.read_table(source)

    def take(folder: Path, texts: pa.ChunkedArray) -> None:
        fingerprint(folder, texts.chunks, likeness)

    make = _maker(scratch)
    groups = search(make({"texts": table["text"]}, take, ""), make)
    is_kept = groups["group"] == np.arange(len(groups))
    pq.write_table(table.filter(pa.array(is_kept)), target, compression="zstd")


def _maker(scratch: Path) -> Callable[..., list[Path]]:
    def make(parts: Mapping[str, Any], write: Callable[..., None], _: str) -> list[Path]:
        folders = [scratch / key for key in parts]
        for own, value in zip(folders, parts.values(), strict=True):
            own.mkdir(parents=True)
            write(own, value)
        return folders

    return make


def _write(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": texts, "id": list(map(str, range(len(texts))))}), path)
    return path


# -- speed ----------------------------------------------------------------------------------------


def _speed(folder: Path, texts: list[str], rounds: int) -> None:
    source = _write(folder / "source" / "texts.parquet", texts)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts)} texts, {size:.1f} MB", file=sys.stderr)
    number = 0

    def ours() -> float:
        nonlocal number
        number += 1
        target, scratch = folder / f"kept-{number}.parquet", folder / f"ours-{number}"
        return cpu_seconds(lambda: deduplicate_at_hand(source, target, scratch, Likeness()))

    def library(name: str) -> float:
        target = str(folder / f"{name}.parquet")
        found = run_peer("dedup-libraries", "dedup-libraries_minhash.py", name, str(source), target)
        print(f"{name}: {size / found['cpu_seconds']:.1f} MB/s, {found}", file=sys.stderr)
        return float(found["cpu_seconds"])

    def datatrove(round_number: int) -> float:
        scratch = str(folder / f"datatrove-{round_number}")
        found = run_peer("datatrove-dedup", "datatrove-dedup_minhash.py", str(source), scratch)
        print(f"datatrove: {size / found['cpu_seconds']:.2f} MB/s, {found}", file=sys.stderr)
        return float(found["cpu_seconds"])

    ours()  # what is compiled is compiled
    print(f"ours: {pq.read_metadata(folder / 'kept-1.parquet').num_rows} kept", file=sys.stderr)
    best = min(_LIBRARIES, key=library)
    spent: dict[str, list[float]] = {"ours": [], best: [], "datatrove": []}
    for round_number in range(rounds):  # interleaved: whatever else the machine does hits all
        spent["ours"].append(ours())
        spent[best].append(library(best))
        if round_number < max(1, rounds - 2):
            spent["datatrove"].append(datatrove(round_number))
    speed = {name: size / float(np.median(seconds)) for name, seconds in spent.items()}
    for figure, peer in (("datatrove", "datatrove"), ("best-library", best)):
        print_figure(
            _BENCH, figure, speed["ours"], speed[peer], peer, "MB/s, one core", more_is_better=True
        )


# -- what is found --------------------------------------------------------------------------------


def _quality(folder: Path, texts: list[str]) -> None:
    likeness = Likeness()
    planted = with_near_copies(texts, most_changed=0.2, share=0.5)
    groups = deduplicate(
        [_write(folder / "texts.parquet", planted)], folder / "kept.parquet", folder, likeness
    )
    similar = _every_pair(planted, likeness)
    in_band = [np.sum((similar[2] >= low) & (similar[2] < low + 0.1)) for low in (0.5, 0.7, 0.85)]
    print(f"{len(planted)} texts; pairs by similarity from .5, .7, .85: {in_band}", file=sys.stderr)
    left, right = (side[similar[2] >= likeness.jaccard] for side in similar[:2])
    found = groups["group"][left] == groups["group"][right]
    print_figure(_BENCH, "recall", float(found.mean()), 1.0, "every pair compared",
                 f"share of {len(left)} pairs of Jaccard >= .8", more_is_better=True)  # fmt: skip
    rows = np.flatnonzero(groups["relative"] >= 0)
    known = set(zip(left.tolist(), right.tolist(), strict=True))
    told = [tuple(sorted(pair)) for pair in zip(rows.tolist(), groups["relative"][rows].tolist(),
                                                strict=True)]  # fmt: skip
    is_right = [pair in known or planted[pair[0]].split() == planted[pair[1]].split()
                for pair in told]  # fmt: skip
    print_figure(_BENCH, "precision", float(np.mean(is_right)), 1.0, "every pair compared",
                 f"share of {len(told)} verified pairs", more_is_better=True)  # fmt: skip


def _every_pair(texts: list[str], likeness: Likeness) -> tuple[Any, Any, Any]:
    """Return all pairs of texts of Jaccard >= .5, and their similarity, by products of matrices."""
    from scipy import sparse

    from workbench.data.tokens import as_texts, normalise

    numbers: dict[tuple[str, ...], int] = {}
    columns: list[int] = []
    ends = [0]
    size = likeness.shingle_words
    for line in normalise(as_texts(pa.array(texts))).to_pylist():
        words = line.split()
        runs = {tuple(words[n : n + size]) for n in range(max(len(words) - size + 1, 1))}
        columns += [numbers.setdefault(run, len(numbers)) for run in sorted(runs)]
        ends.append(len(columns))
    ones = np.ones(len(columns), np.int32)
    matrix = sparse.csr_matrix((ones, columns, ends), shape=(len(texts), len(numbers)))
    counts = np.diff(ends)
    found: list[tuple[Any, Any, Any]] = []
    for first in range(0, len(texts), 500):
        shared = (matrix[first : first + 500] @ matrix.T).tocoo()
        left, right = shared.row + first, shared.col
        jaccard = shared.data / (counts[left] + counts[right] - shared.data)
        is_pair = (left < right) & (jaccard >= 0.5)
        found.append((left[is_pair], right[is_pair], jaccard[is_pair]))
    left, right, jaccard = (np.concatenate(side) for side in zip(*found, strict=True))
    return left, right, jaccard


def _gold_pairs(folder: Path) -> None:
    sets = sorted(_ARTICLES.glob("*.train"))
    if not sets:
        print(f"{_ARTICLES} is not there: gold-pairs is left out", file=sys.stderr)
        return
    num_right = num_wrong = num_gold = 0
    for path in sets:
        lines = path.read_text().strip().split("\n")
        ids, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
        own = folder / path.stem
        source = _write(own / "texts.parquet", list(texts))
        groups = deduplicate([source], own / "kept.parquet", own, Likeness())
        rows = np.flatnonzero(groups["relative"] >= 0).tolist()
        pairs = {frozenset((ids[row], ids[groups["relative"][row]])) for row in rows}
        truth = path.with_suffix(".truth").read_text().strip().split("\n")
        gold = {frozenset(line.split()) for line in truth}
        num_gold += len(gold)
        num_right += len(pairs & gold)
        num_wrong += len(pairs - gold)
    print_figure(_BENCH, "gold-pairs", num_right / (num_gold + num_wrong), 1.0, "gold",
                 f"found of {num_gold} pairs, {num_wrong} others", more_is_better=True)  # fmt: skip


# -- memory ---------------------------------------------------------------------------------------


def _memory(folder: Path) -> None:
    folder.mkdir()
    paths = [folder / f"texts-{number:03d}.parquet" for number in range(40)]
    for number, path in enumerate(paths):
        _write_random_texts(path, seed=number)
    peaks = [_peak(folder / f"search-{count}", paths[:count]) for count in (2, 40)]
    print(f"peak {peaks[0]:.0f} MB on 2 partitions, {peaks[1]:.0f} MB on 40", file=sys.stderr)
    print_figure(_BENCH, "memory-flat", peaks[1] / peaks[0], 1.0, "as much as for 1x data",
                 "peak memory for 20x data over that for 1x")  # fmt: skip


def _write_random_texts(path: Path, seed: int) -> None:
    """Write texts of words drawn as in a language; every fifth is a changed copy of another."""
    random = np.random.default_rng(seed)
    vocabulary = pa.array([f"word{number}" for number in range(60_000)])
    words = (60_000 ** random.random((_PARTITION_TEXTS, 80))).astype(np.int64) - 1
    copies = np.arange(4, len(words), 5)
    words[copies] = words[copies - 3]
    is_changed = random.random((len(copies), 80)) < 0.03
    words[copies] = np.where(
        is_changed, random.integers(0, 60_000, is_changed.shape), words[copies]
    )
    offsets = pa.array(np.arange(0, words.size + 1, 80), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, vocabulary.take(pa.array(words.ravel())))
    pq.write_table(pa.table({"text": pc.binary_join(lists, " ")}), path)


def _peak(folder: Path, paths: list[Path]) -> float:
    """Return the most memory, in MB, that a process of its own needs for a whole search."""
    code = (
        "import sys; from benchmarks.dedup import search_and_tell; search_and_tell(*sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *map(str, paths)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return float(done.stdout)


def search_and_tell(folder: str, *paths: str) -> None:
    """Run a search and print the peak memory of this process in MB."""
    own = Path(folder)
    deduplicate([Path(path) for path in paths], own.with_suffix(".parquet"), own, Likeness())
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    print(int(line.split()[1]) / 1e3)
