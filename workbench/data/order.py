"""An order of records that depends on their ids and a seed, and on nothing else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

_BLOCK_ROWS = 16_384  # so that a block and its intermediate values stay in the cache
_WORD_BYTES = 8
_GOLDEN = 0x9E3779B97F4A7C15
_ODD = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def hash_strings(strings: pa.ChunkedArray | pa.Array, seed: int) -> Hashes:
    """Return a hash of seed and string for each row; uint64 [n].

    The same on every machine. Eight bytes at a time are mixed in by a multiplication, which keeps
    different words different; the end is the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
    Made for a block of rows at once, as a call for each row would cost ten times as much.
    """
    chunks = strings.chunks if isinstance(strings, pa.ChunkedArray) else [strings]
    parts = [_hash_chunk(chunk, seed) for chunk in chunks]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def hash_order(ids: pa.ChunkedArray | pa.Array, seed: int) -> Rows:
    """Return the rows sorted by the hash of seed and id; int64 [n].

    As random as a shuffle, but the same for any order of rows and any partitions; a record keeps
    its hash when others come or go.
    """
    order: Rows = np.argsort(hash_strings(ids, seed), kind="stable")
    return order


def as_uniform(hashes: Hashes) -> npt.NDArray[np.float64]:
    """Return the hashes as numbers between 0 and 1, neither included; float64 [n]."""
    return ((hashes >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def first_by(keys: npt.NDArray[np.generic], size: int) -> Rows:
    """Return the ``size`` rows of the smallest keys, rows ascending; int64 [min(size, n)]."""
    if size >= len(keys):
        return np.arange(len(keys))
    return np.sort(np.argpartition(keys, size)[:size]) if size else np.empty(0, np.int64)


def _hash_chunk(chunk: pa.Array, seed: int) -> Hashes:
    """Hash the rows of one array, those of one length in bytes together."""
    chunk = chunk.cast(pa.large_string())
    if not len(chunk):
        return np.empty(0, np.uint64)
    _, offsets_buffer, data_buffer = chunk.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    data = np.frombuffer(data_buffer or b"", np.uint8)
    lengths = np.diff(offsets)
    if lengths[0] and (lengths == lengths[0]).all():  # as ids are: no copy
        width = int(lengths[0])
        return _hash_rows(data[offsets[0] : offsets[-1]].reshape(-1, width), width, seed)
    hashes = np.empty(len(chunk), np.uint64)
    for width in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == width)
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = rows[start : start + _BLOCK_ROWS]
            content = data[offsets[block][:, None] + np.arange(width)]
            hashes[block] = _hash_rows(content, width, seed)
    return hashes


def _hash_rows(content: npt.NDArray[np.uint8], width: int, seed: int) -> Hashes:
    hashes = np.empty(len(content), np.uint64)
    num_words = -(-width // _WORD_BYTES)
    first = _finish(np.array([(seed * _GOLDEN + width) % 2**64], np.uint64))
    for start in range(0, len(content), _BLOCK_ROWS):
        words = _as_words(content[start : start + _BLOCK_ROWS], num_words * _WORD_BYTES)
        state = hashes[start : start + len(words)]
        state[:] = first
        for word in range(num_words):
            state ^= words[:, word]
            state *= _ODD
            state ^= state >> _HALF
        _finish(state)
    return hashes


def _as_words(block: npt.NDArray[np.uint8], width: int) -> Hashes:
    """Return rows of bytes, filled up with zeros, as rows of little-endian integers."""
    if block.shape[1] != width:
        padded = np.zeros((len(block), width), np.uint8)
        padded[:, : block.shape[1]] = block
        block = padded
    words: Hashes = np.ascontiguousarray(block).view("<u8").astype(np.uint64, copy=False)
    return words


def _finish(state: Hashes) -> Hashes:
    """Spread all bits over all others, in place."""
    state += np.uint64(_GOLDEN)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(31)
    return state
