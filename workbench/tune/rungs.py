"""Successive halving without waiting: who goes on, who rests at a rung and may be fetched later.

A trial that reaches a rung goes on if it is among the best ``1 / reduction`` of those that have
reached it so far. Else it rests there, with its checkpoint, and goes on as soon as the others make
it one of the best: unlike in implementations that end it, nothing of its work is lost.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (ASHA); the brackets
of Hyperband: Li et al. 2018.
"""

from __future__ import annotations

from collections import defaultdict


class Rungs:
    """What trials have reached which rung with which value; higher values are better."""

    def __init__(self, first: int, reduction: int) -> None:
        """Begin with none: rungs are at steps ``first``, ``first * reduction``, and so on."""
        self._first = first
        self._reduction = reduction
        self._reached: dict[int, dict[int, float]] = defaultdict(dict)  # step -> trial -> value

    def last_rung(self, step: int) -> int | None:
        """Return the last rung up to a step; None before the first."""
        rung = self._first
        while rung * self._reduction <= step:
            rung *= self._reduction
        return rung if rung <= step else None

    def reach(self, trial: int, step: int, value: float) -> int | None:
        """Note what a trial has at a step; return the last rung up to it, if that is new to it.

        A curve need not have a point at each rung: what it has next counts for those before.
        """
        last = self.last_rung(step)
        if last is None or trial in self._reached[last]:
            return None
        rung = self._first
        while rung <= last:
            self._reached[rung].setdefault(trial, value)
            rung *= self._reduction
        return last

    def may_pass(self, trial: int, rung: int) -> bool:
        """Whether a trial is among the best of a rung."""
        values = self._reached[rung]
        if trial not in values:
            return True
        num_passing = len(values) // self._reduction
        ranked = sorted(values, key=lambda each: (-values[each], each))
        return trial in ranked[:num_passing]

    def forget(self, trial: int) -> None:
        """Let a trial that has failed count no more."""
        for values in self._reached.values():
            values.pop(trial, None)


def bracket_of(trial: int, num_brackets: int, reduction: int) -> int:
    """Return a trial's bracket of Hyperband: narrow ones, which halve early, get more trials.

    Bracket b begins at the b-th rung; shares fall by the reduction, so that each bracket costs
    about the same.
    """
    weights = [reduction ** (num_brackets - 1 - number) for number in range(num_brackets)]
    place = trial % sum(weights)
    for number, weight in enumerate(weights):
        if place < weight:
            return number
        place -= weight
    raise AssertionError("places are below the sum of all weights")
