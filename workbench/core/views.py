"""Views: what shows things in a notebook, found by entry point. The workbench knows no widget."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

from workbench.core.errors import ResourceError
from workbench.core.registry import VIEW_GROUP


def load_view(name: str) -> Any:
    """Return a view by entry point: the workbench itself knows no widget.

    Raises:
        ResourceError: no package that offers this view is installed.
    """
    for entry in entry_points(group=VIEW_GROUP, name=name):
        return entry.load()
    raise ResourceError(f"No view {name!r} is installed", where=VIEW_GROUP,
                        next_step="Install nlp-workbench with its widgets.")  # fmt: skip


def has_view(name: str) -> bool:
    """Whether an installed package offers this view."""
    return bool(entry_points(group=VIEW_GROUP, name=name))


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this code."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
