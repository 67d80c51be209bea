"""A MinHash library on one Parquet file: threshold .8, three-word shingles, about 112 permutations.

Prints the processor seconds from the texts read to the kept rows written, and how many those are.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

THRESHOLD = 0.8
NUM_BANDS, ROWS_PER_BAND = 28, 4
NUM_PERMUTATIONS = NUM_BANDS * ROWS_PER_BAND
_WORD = re.compile(r"\w+")


def shingle(text: str) -> set[str]:
    words = _WORD.findall(text.lower())
    return set(map(" ".join, zip(words, words[1:], words[2:], strict=False)))


def rensa(texts: list[str]) -> list[bool]:
    """Its own end-to-end interface: the deduplicator decides what is kept."""
    from rensa import RMinHash, RMinHashDeduplicator

    deduplicator = RMinHashDeduplicator(THRESHOLD, NUM_PERMUTATIONS, True, NUM_BANDS, 42)
    hashes = RMinHash.from_token_sets([shingle(text) for text in texts], NUM_PERMUTATIONS, 42)
    return deduplicator.add_pairs([(str(n), minhash) for n, minhash in enumerate(hashes)])


def rensa_matrix(texts: list[str]) -> list[bool]:
    """Its bulk interface over shingles as strings; flags of rows that resemble another."""
    from rensa import RMinHash, RMinHashLSH

    matrix = RMinHash.digest_matrix_from_token_sets(map(shingle, texts), NUM_PERMUTATIONS, 42)
    index = RMinHashLSH(THRESHOLD, NUM_PERMUTATIONS, NUM_BANDS)
    return _kept(index.query_duplicate_flags_matrix_one_shot(matrix))


def rensa_hashes(texts: list[str]) -> list[bool]:
    """Its bulk interface over hashes, with shingles made in numpy: the fastest feed."""
    from rensa import RMinHash, RMinHashLSH

    shingles = [_hashed(text) for text in texts]
    offsets = np.cumsum([0, *map(len, shingles)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(shingles), offsets, NUM_PERMUTATIONS, 42
    )
    index = RMinHashLSH(THRESHOLD, NUM_PERMUTATIONS, NUM_BANDS)
    return _kept(index.query_duplicate_flags_matrix_one_shot(matrix))


def gaoya(texts: list[str]) -> list[bool]:
    """Words, shingles and index in Rust; each text is asked for before it goes in."""
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(
        32, THRESHOLD, NUM_BANDS, ROWS_PER_BAND, None, "word", True, (3, 3), "smallvec"
    )
    kept = []
    for number, text in enumerate(texts):
        kept.append(not index.query(text))
        if kept[-1]:
            index.insert_document(number, text)
    return kept


def datasketch(texts: list[str]) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=NUM_PERMUTATIONS, params=(NUM_BANDS, ROWS_PER_BAND))
    encoded = ([s.encode() for s in shingle(text)] for text in texts)
    kept = []
    for number, minhash in enumerate(MinHash.generator(encoded, num_perm=NUM_PERMUTATIONS)):
        near = (index_key for index_key in index.query(minhash))
        kept.append(next(near, None) is None)
        if kept[-1]:
            index.insert(number, minhash)
    return kept


LIBRARIES: dict[str, Callable[[list[str]], list[bool]]] = {
    "rensa": rensa,
    "rensa-matrix": rensa_matrix,
    "rensa-hashes": rensa_hashes,
    "gaoya": gaoya,
    "datasketch": datasketch,
}


def _hashed(text: str) -> np.ndarray:
    words = np.fromiter(map(hash, _WORD.findall(text.lower())), np.int64).view(np.uint64)
    factor = np.uint64(0x9E3779B97F4A7C15)
    return (words[:-2] * factor + words[1:-1]) * factor + words[2:]


def _kept(flags: list[bool]) -> list[bool]:
    return [not flag for flag in flags]


def _batches(table: pa.Table) -> Iterator[str]:
    yield from table["text"].to_pylist()


def main(library: str, source: str, target: str) -> None:
    LIBRARIES[library](["a text of a few words", "another text of a few words"])  # loads it
    before = sum(os.times()[:4])
    table = pq.read_table(source)
    kept = LIBRARIES[library](list(_batches(table)))
    pq.write_table(table.filter(pa.array(kept)), target, compression="zstd")
    seconds = sum(os.times()[:4]) - before
    print(json.dumps({"cpu_seconds": seconds, "kept": sum(kept)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
