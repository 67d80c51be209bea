"""What other thresholds would drop: decided from stored scores, without reading a text again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, SpecError, nearest_name
from workbench.data.clean.checks import Check, checks_of
from workbench.data.clean.decide import (
    GROUP_BACK,
    PROTECTED,
    SAME_WORDS_BACK,
    choose_keepers,
    find_groups,
)
from workbench.data.clean.spec import CleanSpec
from workbench.data.records import partitions
from workbench.data.rules.duplicate import EXACT_DUPLICATE, NEAR_DUPLICATE
from workbench.data.rules.rule import Bound, Mask
from workbench.data.rules.user_rule import UserRule

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Decision:
    """Who would be kept; rows are those of the input of the cleaning."""

    spec: CleanSpec
    kept: Mask  # [n]
    dropped: dict[str, int]  # rule -> records, in the order of the rules
    gained: Rows  # kept here, dropped by the cleaning
    lost: Rows  # dropped here, kept by the cleaning

    @property
    def num_kept(self) -> int:
        """How many records would be kept."""
        return int(self.kept.sum())


class WhatIf:
    """Moves thresholds of a finished cleaning, on its scores.

    The first decision reads the scores; every further one looks only at the scores whose threshold
    has moved. It decides exactly as a new run with those settings would (``decision.spec``).
    """

    def __init__(self, scores: Artifact) -> None:
        """Open the ``scores`` output of a cleaning.

        Raises:
            DataError: the artifact is something else.
        """
        if "spec" not in scores.summary:
            raise DataError(f"{scores.reference} holds no scores of a cleaning",
                            where=scores.reference,
                            next_step="Name the scores that clean made.")  # fmt: skip
        self.spec = CleanSpec.parse(scores.summary["spec"])
        self._files = partitions(scores)
        self._known = set(pq.read_schema(self._files[0]).names)
        self._columns: dict[str, Any] = {}
        self._failing: dict[str, tuple[CleanSpec, Rows]] = {}  # rule -> when, rows that fail

    def decide(self, **settings: Any) -> Decision:
        """Return who would be kept with other thresholds; none given: with those of the run.

        Raises:
            SpecError: the setting is unknown, out of bounds, or changes more than a threshold.
        """
        spec = self._with(settings)
        return self._decide(spec, self._now)

    @cached_property
    def _now(self) -> Mask:
        return self._decide(self.spec, None).kept

    @cached_property
    def num_rows(self) -> int:
        """How many records the cleaning read."""
        return len(self._column(PROTECTED))

    def scores(self, name: str) -> npt.NDArray[Any]:
        """Return one score of all records, for a histogram; [n]."""
        values: npt.NDArray[Any] = np.asarray(self._column(name))
        return values

    def movable(self) -> dict[str, str]:
        """Return the settings that can be moved, and for each the score it is held against."""
        return {
            field: check.score
            for check in checks_of(self.spec)
            if check.score in self._known
            for field in _fields_of(check)
        }

    def _with(self, settings: Mapping[str, Any]) -> CleanSpec:
        movable = self.movable()
        for name in settings:
            if name not in movable:
                known = name in CleanSpec.model_fields
                raise SpecError(
                    f"{name!r} decides more than a threshold"
                    if known
                    else f"There is no setting {name!r}",
                    where=name,
                    next_step="Submit a CleanSpec with it: texts must be read again."
                    if known
                    else nearest_name(name, movable),
                )
        spec = CleanSpec.parse({**self.spec.model_dump(), **settings})
        if list(map(_unbounded, spec.rules)) != list(map(_unbounded, self.spec.rules)):
            raise SpecError(
                "Other rules than those of the run have no scores",
                where="rules",
                next_step="Move only their bounds, or submit a CleanSpec with them.",
            )
        return spec

    def _decide(self, spec: CleanSpec, now: Mask | None) -> Decision:
        reason = np.zeros(self.num_rows, dtype=np.uint8)
        checks = [check for check in checks_of(spec) if check.score in self._known]
        for number, check in reversed(list(enumerate(checks, 1))):
            reason[self._rows_failing(check, spec)] = number  # the first check has the last word
        reason[self._column(PROTECTED)] = 0
        copies, is_exact = self._copies(reason)
        kept = reason == 0
        kept[copies] = False
        counts = np.bincount(reason, minlength=len(checks) + 1)
        named = {check.rule: int(counts[n]) for n, check in enumerate(checks, 1)}
        named |= {EXACT_DUPLICATE: int(is_exact.sum()), NEAR_DUPLICATE: int((~is_exact).sum())}
        reference = kept if now is None else now
        return Decision(
            spec, kept, {rule: count for rule, count in named.items() if count},
            np.flatnonzero(kept & ~reference), np.flatnonzero(reference & ~kept),
        )  # fmt: skip

    def _rows_failing(self, check: Check, spec: CleanSpec) -> Rows:
        """Return the rows that fail a check, looking only where its settings have changed."""
        known = self._failing.get(check.rule)
        fields = _fields_of(check) or ["rules"]
        if known is None or any(getattr(known[0], f) != getattr(spec, f) for f in fields):
            rows = np.flatnonzero(check.fails(self._column(check.score), spec))
            known = self._failing[check.rule] = (spec, rows)
        return known[1]

    def _copies(self, reason: npt.NDArray[np.uint8]) -> tuple[Rows, Mask]:
        """Return the rows dropped as duplicates, and which of them repeat their keeper's words."""
        members, group = self._grouped
        protected = self._column(PROTECTED)[members]
        keeper = choose_keepers(group, reason[members] == 0, protected)
        is_copy = (reason[members] == 0) & ~protected & (keeper != np.arange(len(members)))
        copies = members[is_copy]
        same = np.arange(self.num_rows)[copies] - self._column(SAME_WORDS_BACK)[copies]
        keepers = members[keeper[is_copy]]
        return copies, same == keepers - self._column(SAME_WORDS_BACK)[keepers]

    @cached_property
    def _grouped(self) -> tuple[Rows, Rows]:
        """Return the rows that are not alone in their group, and each one's group among them."""
        back = self._column(GROUP_BACK)
        return find_groups(np.arange(len(back)) - back)

    def _column(self, name: str) -> Any:
        if name not in self._columns:
            parts = [pq.read_table(path, columns=[name])[name] for path in self._files]
            joined = pa.chunked_array([chunk for part in parts for chunk in part.chunks])
            is_words = pa.types.is_string(joined.type)
            self._columns[name] = joined.combine_chunks() if is_words else joined.to_numpy()
        return self._columns[name]


def _unbounded(own: UserRule) -> UserRule:
    return own.model_copy(update={"at_least": None, "at_most": None})


def _fields_of(check: Check) -> list[str]:
    if isinstance(check, Bound):
        return check.movable_fields
    return ["languages"] if check.rule == "language" else ["rules"]
