"""What a cleaning rule promises: it sees columns, and says what it changed and what must go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Mask = npt.NDArray[np.bool_]
Sense = Literal["at least", "at most"]


class Columns(NamedTuple):
    """The columns that rules work on; both [n], ``text`` large_string, ``language`` string."""

    text: pa.Array
    language: pa.Array


class Pieces(NamedTuple):
    """What a rule took out of texts and why, text by text and in order; all [m]."""

    rows: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]  # first byte, in the text before the rule
    end: npt.NDArray[np.int64]  # the byte after its last
    rule: pa.Array  # string: as the ledger names it
    threshold: npt.NDArray[np.float32]  # what the piece was held against; NaN: no number
    detail: pa.Array  # string: the same in words; may be null

    def of_rows(self, wanted: Mask) -> Pieces:
        """Return the pieces of some texts; [n]."""
        kept = wanted[self.rows]
        mask = pa.array(kept)
        return Pieces(self.rows[kept], self.start[kept], self.end[kept],
                      self.rule.filter(mask), self.threshold[kept],
                      self.detail.filter(mask))  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """A rule's answer about n records; what is None stays as it was.

    ``value`` holds what was measured, as text for people [n]; ``threshold`` what it was held
    against. Changed and dropped records stand in the ledger with both. ``pieces`` says more of how
    texts changed; ``scores`` are numbers [n] that only who changes a text can know.
    """

    text: pa.Array | None = None
    language: pa.Array | None = None
    dropped: Mask | None = None
    value: pa.Array | None = None
    threshold: str = ""
    pieces: Pieces | None = None
    scores: Mapping[str, npt.NDArray[Any]] | None = None


@dataclass(frozen=True)
class Bound:
    """One threshold of a measured score: what fails it is dropped under the name ``rule``.

    A score is stored for every record in the type in which it is compared, so that moving a
    threshold later decides exactly as a new run would.
    """

    rule: str  # as the ledger names it: gopher_few_words
    score: str  # column of the scores: num_words
    field: str  # field of the setting that holds the threshold; None there turns the bound off
    sense: Sense
    switch: str = ""  # boolean field of the setting that turns a whole family on; empty: always
    fixed: float | None = None  # a threshold that is no choice, where there is no field
    switch_rewrites: bool = False  # the family changes texts, too: off is more than a threshold

    def is_off(self, setting: Any) -> bool:
        """Say whether the whole family is off, so that its scores are not measured."""
        return bool(self.switch) and not getattr(setting, self.switch)

    @property
    def movable_fields(self) -> list[str]:
        """The fields whose change can be decided from stored scores."""
        switch = "" if self.switch_rewrites else self.switch
        return [name for name in (self.field, switch) if name]

    def threshold(self, setting: Any) -> float | None:
        """Return what the score is held against; None where the bound is off."""
        if self.is_off(setting):
            return None
        return getattr(setting, self.field) if self.field else self.fixed

    def fails(self, scores: npt.NDArray[Any], setting: Any) -> Mask:
        """Return which of the scores [n] are outside; a score that is NaN never is."""
        threshold = self.threshold(setting)
        if threshold is None:
            return np.zeros(len(scores), dtype=bool)
        bound = np.asarray(threshold).astype(scores.dtype)
        outside: Mask = scores < bound if self.sense == "at least" else scores > bound
        return outside


class Rule(Protocol):
    """A rule: a pure function of the columns, row by row, and of its setting."""

    def __call__(self, columns: Columns, setting: Any, /) -> Judgement: ...  # noqa: D102


def changed_spans(
    before: pa.Array, after: pa.Array
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return which bytes of each text another one replaces: first, and one past the last; [n].

    All bytes outside of the span are the same in both texts, at its two ends.
    """
    spans = [
        _changed_span(old.encode(), new.encode())
        for old, new in zip(before.to_pylist(), after.to_pylist(), strict=True)
    ]
    start, end = np.array(spans, dtype=np.int32).reshape(-1, 2).T
    return start, end


def _changed_span(before: bytes, after: bytes) -> tuple[int, int]:
    start = _num_equal(before, after)
    at_end = _num_equal(before[start:][::-1], after[start:][::-1])
    return start, len(before) - at_end


def _num_equal(left: bytes, right: bytes) -> int:
    """Return how many first bytes are equal (bisection: comparing slices is fast)."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left[low:middle] == right[low:middle] else (low, middle - 1)
    return low


def as_mask(values: pa.Array) -> Mask:
    """Return Arrow booleans as a NumPy mask; null counts as false."""
    mask: Mask = values.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def rounded(values: npt.NDArray[Any]) -> pa.Array:
    """Return measured numbers as short texts for the ledger."""
    return pa.array([f"{value:.4g}" for value in values.tolist()], pa.string())


def rewrite(texts: pa.Array, suspicious: str, change: Any) -> pa.Array:
    """Apply ``change`` to texts that match the RE2 pattern ``suspicious``; the others are free."""
    import pyarrow.compute as pc

    mask = pc.match_substring_regex(texts, suspicious)
    changed = [change(text) for text in texts.filter(mask).to_pylist()]
    return pc.replace_with_mask(texts, mask, pa.array(changed, texts.type))
