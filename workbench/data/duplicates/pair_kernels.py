"""From sorted keys to pairs of rows, and the exact similarity of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.data.duplicates.compiled import Integer, compiled

_HALF_BITS = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)


@compiled
def find_runs(keys: Any, values: Any) -> tuple[Any, Any, Any]:
    """Return the rows that share a key, but only the first of those with equal tags.

    ``keys`` are sorted, ``values`` are row << 32 | tag; both uint64 [n].

    Returns:
        Rows run after run, ascending in each, uint64; where runs start, int64 [num_runs + 1]; and
        their keys. Runs of fewer than two rows are left out.
    """
    members = np.empty(len(keys), np.uint64)
    starts = np.zeros(len(keys) // 2 + 1, np.int64)
    run_keys = np.empty(len(keys) // 2, np.uint64)
    used = num_runs = first = 0
    while first < len(keys):
        end = first + 1
        while end < len(keys) and keys[end] == keys[first]:
            end += 1
        if end - first > 1:
            own = members[used : used + end - first]
            for place in range(end - first):
                value = values[first + place]
                own[place] = value << _HALF_BITS | value >> _HALF_BITS
            kept = _first_rows_of_tags(own)
            if kept > 1:
                run_keys[num_runs] = keys[first]
                used += kept
                num_runs += 1
                starts[num_runs] = used
        first = end
    return members[:used], starts[: num_runs + 1], run_keys[:num_runs]


@compiled
def _first_rows_of_tags(values: Any) -> Integer:
    """Turn tag << 32 | row into the sorted first rows of each tag; return their number."""
    values.sort()
    kept = 0
    tag = np.uint64(0)
    for place in range(len(values)):
        if place == 0 or values[place] >> _HALF_BITS != tag:
            tag = values[place] >> _HALF_BITS
            values[kept] = values[place] & _LOW_HALF
            kept += 1
    values[:kept].sort()
    return kept


@compiled
def pair_all(members: Any, starts: Any, runs: Any) -> Any:
    """Return all pairs of rows within each of these runs, as left << 32 | right; uint64 [k]."""
    total = 0
    for number in runs:
        size = starts[number + 1] - starts[number]
        total += size * (size - 1) // 2
    pairs = np.empty(total, np.uint64)
    used = 0
    for number in runs:
        for left in range(starts[number], starts[number + 1]):
            for right in range(left + 1, starts[number + 1]):
                pairs[used] = members[left] << _HALF_BITS | members[right]
                used += 1
    return pairs


@compiled
def copy_sets(values: Any, first: Any, end: Any, out: Any) -> None:
    """Copy ``values[first[i]:end[i]]`` one after the other into ``out``."""
    used = 0
    for place in range(len(first)):
        for source in range(first[place], end[place]):
            out[used] = values[source]
            used += 1


@compiled
def compare_sets(values: Any, offsets: Any, left: Any, right: Any, threshold: float) -> Any:
    """Return the exact Jaccard similarity of pairs of sorted sets; float64 [k].

    A pair below the threshold may be given up early; its similarity is then 0.
    """
    similarities = np.zeros(len(left), np.float64)
    for pair in range(len(left)):
        a, a_end = offsets[left[pair]], offsets[left[pair] + 1]
        b, b_end = offsets[right[pair]], offsets[right[pair] + 1]
        both = a_end - a + b_end - b
        # One less than what the threshold needs, so that rounding never decides.
        needed = np.int64(threshold / (1 + threshold) * both) - 1
        shared = np.int64(0)
        while a < a_end and b < b_end and shared + min(a_end - a, b_end - b) >= needed:
            x, y = values[a], values[b]
            shared += np.int64(x == y)
            a += np.int64(x <= y)
            b += np.int64(y <= x)
        if shared and shared >= needed:
            similarities[pair] = shared / (both - shared)
    return similarities
