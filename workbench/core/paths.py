"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def home_expanded(path: str | os.PathLike[str]) -> Path:
    """Return the path with a leading ``~`` or ``~user`` expanded.

    As in a shell, ``~`` before a name that no user has stays as it is written
    (``Path.expanduser`` raises).
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - see above
