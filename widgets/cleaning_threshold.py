"""Thresholds that a person can move: where each stands in the Spec, and the scores beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from widgets.fields import FormField, fields_of
from workbench.core.errors import SpecError
from workbench.data.clean.checks import Check, UserCheck, checks_of
from workbench.data.clean.spec import CleanSpec
from workbench.data.rules.rule import Bound
from workbench.data.rules.user_rule import UserRule

MOST_STOPS = 101
MOST_BARS = 45

Sense = Literal["at least", "at most"]


@dataclass(frozen=True)
class Threshold:
    """One bound of a score: a field of the Spec, or a bound of a user's rule."""

    key: str  # min_words, or rules.num_links.at_most
    rule: str
    score: str
    sense: Sense
    field: str = ""  # of the Spec; empty: a bound of the rule ``rule``
    switch: str = ""  # field that turns a family of rules on
    is_whole: bool = False
    low: float = -math.inf  # what the Spec allows
    high: float = math.inf
    may_be_empty: bool = False
    help: str = ""
    unit: str = ""

    def value(self, spec: CleanSpec) -> float | None:
        """Return where the threshold stands; None where it is off."""
        if not self.field:
            return getattr(_own_rule(spec, self.rule), self.side)  # type: ignore[no-any-return]
        if self.switch and not getattr(spec, self.switch):
            return None
        return getattr(spec, self.field)  # type: ignore[no-any-return]

    @property
    def side(self) -> str:
        """The name of the bound in a user's rule."""
        return "at_least" if self.sense == "at least" else "at_most"

    @property
    def off(self) -> float | None:
        """The value at which the threshold drops nothing; NaN where there is none."""
        if self.may_be_empty:
            return None
        neutral = self.low if self.sense == "at least" else self.high
        is_neutral = neutral == 0 if self.sense == "at least" else math.isfinite(neutral)
        return neutral if is_neutral else math.nan

    @property
    def can_be_off(self) -> bool:
        """Whether it can be turned off without another rule noticing."""
        return bool(self.switch) or self._has_off

    def is_on(self, spec: CleanSpec) -> bool:
        """Whether it may drop anything."""
        value = self.value(spec)
        return value is not None and value != self.off

    def moved(self, spec: CleanSpec, value: float | None) -> CleanSpec:
        """Return the Spec with the threshold elsewhere; None: off.

        Raises:
            SpecError: the Spec allows no such value.
        """
        if not self.field:
            return CleanSpec.parse({**spec.model_dump(), "rules": self._moved_rules(spec, value)})
        return CleanSpec.parse({**spec.model_dump(), **self._changes(value)})

    def _changes(self, value: float | None) -> dict[str, Any]:
        if value is None and not self._has_off:  # a whole family goes with it
            return {self.switch: False} if self.switch else {self.field: None}
        on = {self.switch: True} if self.switch else {}
        return {**on, self.field: self.off if value is None else self._written(value)}

    @property
    def _has_off(self) -> bool:
        return self.off is None or not math.isnan(self.off)

    def _moved_rules(self, spec: CleanSpec, value: float | None) -> list[UserRule]:
        return [
            own.model_copy(update={self.side: value}) if own.name == self.rule else own
            for own in spec.rules
        ]

    def _written(self, value: float) -> float:
        return int(value) if self.is_whole and float(value).is_integer() else value


def _own_rule(spec: CleanSpec, name: str) -> UserRule:
    return next(own for own in spec.rules if own.name == name)


def thresholds_of(spec: CleanSpec) -> dict[str, list[Threshold]]:
    """Return the thresholds that can be moved, by rule: at most two each, most have one or none."""
    known = {field.name: field for field in fields_of(CleanSpec)}
    return {check.rule: list(_of_check(check, spec, known)) for check in checks_of(spec)}


def _of_check(check: Check, spec: CleanSpec, known: Mapping[str, FormField]) -> Iterable[Threshold]:
    if isinstance(check, Bound) and check.field:
        field = known[check.field]
        switch = check.switch if check.switch in check.movable_fields else ""
        yield Threshold(
            key=check.field, rule=check.rule, score=check.score, sense=check.sense,
            field=check.field, switch=switch, is_whole=field.is_whole, low=field.minimum,
            high=field.maximum, may_be_empty=field.may_be_empty, help=field.help, unit=field.unit,
        )  # fmt: skip
    if isinstance(check, UserCheck):
        own = _own_rule(spec, check.rule)
        if own.kind != "score":
            return
        sides: list[Sense] = ["at least"] if own.at_least is not None else []
        sides += ["at most"] if own.at_most is not None or not sides else []
        for sense in sides:
            side = sense.replace(" ", "_")
            yield Threshold(
                key=f"rules.{own.name}.{side}", rule=own.name, score=own.score, sense=sense,
                may_be_empty=True, help="A rule of yours.",
            )  # fmt: skip


def read_value(threshold: Threshold, raw: str) -> float | None:
    """Return what was typed or chosen for a threshold; empty is off.

    Raises:
        SpecError: it is no number, or outside of what the Spec allows.
    """
    text = raw.strip().replace(",", "")
    if text in ("", "off"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SpecError(f"{raw!r} is not a number", where=threshold.key,
                        next_step="Type a number, or nothing to turn the rule off.")  # fmt: skip
    return value


# -- scores beside a threshold --------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Where a threshold can be put, and how many records have a score around each place.

    ``counts[i]`` records fail when an "at least" is put on a later stop than i, and when an
    "at most" is put on an earlier one: exactly, as the run would decide.
    """

    stops: tuple[float, ...]  # rising
    counts: tuple[int, ...]  # as many as stops
    num_unknown: int = 0  # records without this score: they pass

    def bars(self) -> tuple[int, list[int]]:
        """Return how many stops a bar takes together, and the count of each bar."""
        together = -(-len(self.counts) // MOST_BARS)
        starts = range(0, len(self.counts), together)
        return together, [sum(self.counts[at : at + together]) for at in starts]

    def place(self, value: float | None, sense: Sense) -> int:
        """Return the stop at or next to a value; off is where everything passes."""
        if value is None:
            return 0 if sense == "at least" else len(self.stops) - 1
        at = int(np.searchsorted(self.stops, value))
        return min(at, len(self.stops) - 1)


def scale_of(scores: npt.NDArray[Any], threshold: Threshold, *present: float | None) -> Scale:
    """Return the scale of a threshold over all records' scores [n].

    ``present`` are values that must be among the stops.
    """
    known = scores[~np.isnan(scores)] if scores.dtype.kind == "f" else scores
    stops = _stops(known, threshold, [float(value) for value in present if value is not None])
    # Held against in the type of the scores, as the checks do.
    edges = np.unique(np.asarray(stops).astype(known.dtype))
    side: Literal["left", "right"] = "right" if threshold.sense == "at least" else "left"
    places = np.searchsorted(edges, known, side) - (1 if side == "right" else 0)
    counts = np.bincount(np.clip(places, 0, len(edges) - 1), minlength=len(edges))
    shown = tuple(float(str(edge)) for edge in edges)  # the shortest that means the same edge
    return Scale(shown, tuple(counts.tolist()), len(scores) - len(known))


def _stops(known: npt.NDArray[Any], threshold: Threshold, present: list[float]) -> list[float]:
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if known.dtype.kind in "iu" or threshold.is_whole:
        stops = _whole_stops(min(low, 0.0), high)
    elif low >= 0 and high <= 1:
        stops = [step / (MOST_STOPS - 1) for step in range(MOST_STOPS)]
    else:
        stops = _round_stops(low, high)
    allowed = [stop for stop in stops if threshold.low <= stop <= threshold.high]
    return sorted({*allowed, *present}) or [low]


def _whole_stops(low: float, high: float) -> list[float]:
    """Return every whole number where they are few, else ever larger steps."""
    low, high = math.floor(low), math.ceil(high)
    if high - low < MOST_STOPS:
        return [float(stop) for stop in range(int(low), int(high) + 1)]
    spread = np.expm1(np.linspace(0, math.log1p(high - low), MOST_STOPS))
    return [float(stop) for stop in np.unique(np.round(spread + low))]


def _round_stops(low: float, high: float) -> list[float]:
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / 50))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) < MOST_STOPS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{index * step:.6g}") for index in range(first, last + 1)]
