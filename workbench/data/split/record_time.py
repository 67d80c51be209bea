"""Times as data sets write them: ISO 8601, RFC 2822, seconds or milliseconds since 1970."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import numpy as np
import numpy.typing as npt

UNDATED = np.iinfo(np.int64).min

_NUMBER = re.compile(r"[+-]?[0-9]{1,19}(\.[0-9]*)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A number of seconds stays below this until the year 5138; of milliseconds it is above since 1973.
_LARGEST_SECONDS = 1e11
_MICROSECONDS = 1_000_000


def parse_times(texts: Iterable[str | None]) -> npt.NDArray[np.int64]:
    """Return microseconds since 1970, int64 [n]; ``UNDATED`` where a text is no time.

    A time without a zone is taken as UTC.
    """
    return np.fromiter((_parse(text) for text in texts), np.int64)


def _parse(text: str | None) -> int:
    text = (text or "").strip()
    if _NUMBER.fullmatch(text):
        if len(text) == len("2026"):
            return _from_text(f"{text}-01-01")
        return _from_text(text) if len(text) == len("20260131") else _from_number(float(text))
    return _from_text(text) if text else UNDATED


def _from_number(value: float) -> int:
    """Return microseconds of a number of seconds, milliseconds, microseconds or nanoseconds."""
    for _ in range(3):
        if abs(value) >= _LARGEST_SECONDS:
            value /= 1000
    return round(value * _MICROSECONDS)


def _from_text(text: str) -> int:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = parse(text)
        except (ValueError, OverflowError, TypeError):  # the old mail parser raises any of them
            continue
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        since = found - _EPOCH
        return (since.days * 86_400 + since.seconds) * _MICROSECONDS + since.microseconds
    return UNDATED
