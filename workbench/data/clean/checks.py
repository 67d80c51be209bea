"""The reasons to drop a record, in the order in which they are named: checks of stored scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.rules.c4 import C4_BOUNDS
from workbench.data.rules.contamination import CONTAMINATION_BOUND
from workbench.data.rules.fineweb import FINEWEB_BOUNDS
from workbench.data.rules.gopher import GOPHER_QUALITY_BOUNDS, GOPHER_REPETITION_BOUNDS
from workbench.data.rules.length import LENGTH_BOUNDS
from workbench.data.rules.rule import Bound, Mask, as_mask
from workbench.data.rules.spam import SPAM_BOUNDS

if TYPE_CHECKING:
    from workbench.data.clean.spec import CleanSpec

Scores = Mapping[str, Any]  # a column for each score: numbers as NumPy, words as Arrow arrays [n]


class Check(Protocol):
    """One reason to drop a record."""

    @property
    def rule(self) -> str: ...  # noqa: D102
    @property
    def score(self) -> str: ...  # noqa: D102

    def fails(self, column: Any, setting: Any, /) -> Mask:
        """Return which values of the score's column are outside; [n]."""
        ...


@dataclass(frozen=True)
class LanguageCheck:
    """Records whose language is known, and none of those to keep."""

    rule: str = "language"
    score: str = "language"

    def fails(self, column: Any, setting: CleanSpec, /) -> Mask:
        """Return which languages are not wanted; null is unknown, and stays."""
        if not setting.languages:
            return np.zeros(len(column), dtype=bool)
        wanted = pc.is_in(column, pa.array(setting.languages))
        return as_mask(pc.and_(pc.is_valid(column), pc.invert(wanted)))


@dataclass(frozen=True)
class UserCheck:
    """A user's rule that keeps or measures; the spec holds its bounds."""

    rule: str
    score: str

    def fails(self, column: Any, setting: CleanSpec, /) -> Mask:
        """Return which records the rule does not keep."""
        own = next((found for found in setting.rules if found.name == self.rule), None)
        failed = np.zeros(len(column), dtype=bool)
        if own is None:
            return failed
        least = 1.0 if own.kind == "keep" else own.at_least
        if least is not None:
            failed |= column < np.asarray(least).astype(column.dtype)
        if own.at_most is not None:
            failed |= column > np.asarray(own.at_most).astype(column.dtype)
        return failed


# Only a setting to drop such records gives them this score.
_PERSONAL_DATA = Bound("personal_data", "has_personal_data", "", "at most", fixed=0)


SHIPPED_CHECKS: tuple[Check, ...] = (
    _PERSONAL_DATA,
    *LENGTH_BOUNDS,
    *SPAM_BOUNDS,
    LanguageCheck(),
    *GOPHER_REPETITION_BOUNDS,
    *GOPHER_QUALITY_BOUNDS,
    *C4_BOUNDS,
    *FINEWEB_BOUNDS,
)


def checks_of(spec: CleanSpec) -> list[Check]:
    """Return the checks in the order in which they name the reason of a drop.

    Those of a family that is off are left out: it is not measured.
    """
    shipped = [c for c in SHIPPED_CHECKS if not (isinstance(c, Bound) and c.is_off(spec))]
    users = [UserCheck(r.name, r.score) for r in spec.rules if r.kind != "rewrite"]
    last = [CONTAMINATION_BOUND] if spec.has_test_texts else []
    return [*shipped, *users, *last]


def held_against(check: Check, spec: CleanSpec) -> tuple[float | None, str | None]:
    """Return a check's threshold as the ledger tells it: a number, or else words."""
    if isinstance(check, Bound):
        bound = check.threshold(spec)
        return (None, None) if bound is None else (float(bound), check.sense)
    if isinstance(check, LanguageCheck):
        return None, "kept: " + ", ".join(spec.languages)
    own = next(found for found in spec.rules if found.name == check.rule)
    if own.kind == "keep":
        return None, "the rule says so"
    bounds = [own.at_least, own.at_most]
    words = [f"at least {own.at_least:g}" if own.at_least is not None else "",
             f"at most {own.at_most:g}" if own.at_most is not None else ""]  # fmt: skip
    known = [bound for bound in bounds if bound is not None]
    return (known[0] if len(known) == 1 else None), " and ".join(filter(None, words))
