"""How many workers a run asks for: exactly ``4``, or what there is within a range: ``2..8``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from workbench.core.errors import SpecError

DEFAULT_WORKERS = 1
MOST_WORKERS = 1024  # of one run; an open end (``2..``) means it

_HOW_TO = "Give a whole number such as 4, or a range such as 2..8 (at least 2, at most 8)."
# Nine digits: Python refuses to read numbers of thousands of them, in words of its own.
_NUMBER = re.compile(r"\s*([0-9]{1,9})\s*")
_RANGE = re.compile(r"\s*([0-9]{0,9})\s*\.\.\s*([0-9]{0,9})\s*")


@dataclass(frozen=True, slots=True)
class Workers:
    """At least ``least`` and at most ``most`` workers; both 1 to 1024, and in this order."""

    least: int
    most: int

    @property
    def is_range(self) -> bool:
        """Whether fewer than the most will do."""
        return self.least < self.most

    @property
    def wish(self) -> int | str:
        """As a person gives it and JSON carries it: ``4``, ``"2..8"``, ``"2.."``."""
        if not self.is_range:
            return self.most
        return f"{self.least}..{'' if self.most == MOST_WORKERS else self.most}"

    def __str__(self) -> str:
        return str(self.wish)


def parse_workers(wish: object, fewest: int = 1) -> Workers:
    """Read a number, or a range as text; an end that is left open is ``fewest``, or 1024.

    Raises:
        SpecError: it is neither, its ends are in the wrong order, or one is out of bounds.
    """
    told = f"{wish!r:.80}"
    least, most = _ends(wish, told, fewest)
    for end in (least, most):
        if not fewest <= end <= MOST_WORKERS:
            raise SpecError(
                f"{told} is not within {fewest} to {MOST_WORKERS} workers",
                where="workers",
                next_step=f"{_HOW_TO} With an open end, 1.. takes what is there.",
            )
    if least > most:
        raise SpecError(f"{told} workers end below where they begin", where="workers",
                        next_step=f"Perhaps {Workers(most, least)} is meant.")  # fmt: skip
    return Workers(least, most)


def recorded_workers(record: Mapping[str, Any]) -> Workers:
    """Return what a run, as the daemon tells it, has asked for."""
    most = record["workers"]
    # A daemon that was started before an upgrade knows no ranges.
    return Workers(record.get("least_workers", most), most)


def read_wish(wish: object) -> int | str:
    """Return a wish as it is kept; for ``"3"`` and ``"3..3"`` that is 3.

    Raises:
        SpecError: as ``parse_workers``.
    """
    return parse_workers(wish).wish


def _ends(wish: object, told: str, fewest: int) -> tuple[int, int]:
    if isinstance(wish, int) and not isinstance(wish, bool):
        return wish, wish
    if isinstance(wish, str):
        if number := _NUMBER.fullmatch(wish):
            return int(number[1]), int(number[1])
        ends = _RANGE.fullmatch(wish)
        if ends and (ends[1] or ends[2]):
            return int(ends[1] or fewest), int(ends[2] or MOST_WORKERS)
    raise SpecError(f"{told} is no number of workers", where="workers", next_step=_HOW_TO)


def _checked(wish: object, fewest: int = 1) -> int | str:
    try:
        return parse_workers(wish, fewest).wish
    except SpecError as error:
        raise ValueError(f"{error.what}. {error.next_step}") from error


def _checked_hosts(wish: object) -> int | str:
    return _checked(wish, fewest=0)


# What a person may give; a Spec's field of this type is checked.
WorkersWish = Annotated[int | str, BeforeValidator(_checked)]
# The same of hosts, of which there may be none at times: ``"0..10"``.
HostsWish = Annotated[int | str, BeforeValidator(_checked_hosts)]
