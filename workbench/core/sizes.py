"""Sizes as people write and read them: ``20GB``, ``3.2 kB``."""

from __future__ import annotations

import re

from workbench.core.errors import SpecError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
          "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}  # fmt: skip
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(text: str) -> int:
    """Return the number of bytes that ``20GB``, ``500 MB`` or ``1.5GiB`` names.

    Raises:
        SpecError: the text is no size.
    """
    found = _SIZE.fullmatch(text)
    if found is None or found[2].lower() not in _UNITS:
        raise SpecError(f"{text!r:.80} is no size", where="size",
                        next_step="Write for example 20GB, 500MB or 1.5GiB.")  # fmt: skip
    num_bytes = int(float(found[1]) * _UNITS[found[2].lower()])
    if num_bytes >= 2**62:
        raise SpecError(f"{text!r:.80} is more than any disk has", where="size",
                        next_step="Write for example 20GB.")  # fmt: skip
    return num_bytes


def format_bytes(num_bytes: int) -> str:
    """Write a size for people: ``0 B``, ``3.2 kB``, ``20 GB`` (units of 1000)."""
    size, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.3g} {unit}"
