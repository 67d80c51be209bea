"""A workspace for one benchmark, its pool warm, and nothing of it left at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from workbench.workspace import Workspace

_END_SECONDS = 60


@contextmanager
def warm_workspace(folder: Path, slots: int = 2) -> Iterator[Workspace]:
    """Start a workspace in ``folder``; end it, whichever daemon it has by then."""
    os.environ["WORKBENCH_SLOTS"] = str(slots)
    workspace = Workspace(folder / "workspace")
    while workspace.status()["pool"] == "starting":
        time.sleep(0.05)
    try:
        yield workspace
    finally:
        daemon = psutil.Process(workspace.status()["pid"])
        workspace.client.post("/shutdown")
        daemon.wait(_END_SECONDS)
