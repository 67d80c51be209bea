"""Attempts that take no slot: each in a process of its own beside the daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any


class CoordinatorProcess:
    """A running coordinator; ``on_end`` is called once with its exit code, from a thread.

    Such a process waits for child runs most of its life. It dies with the daemon's watching
    thread, and the next daemon starts it again: its finished children are found, not redone.
    """

    def __init__(self, order: dict[str, Any], on_end: Callable[[int], None]) -> None:
        self._order = order
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """End the process at once."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def _watch(self) -> None:
        code = -1
        try:
            code = self._run()
        finally:
            self._on_end(code)

    def _run(self) -> int:
        # Started by the thread that waits for it: the death signal is tied to the parent *thread*.
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench.dispatch.attempt", str(os.getpid())],
            stdin=subprocess.PIPE,
        )
        self._process = process
        if self._killed:
            process.kill()
        process.communicate(json.dumps(self._order).encode())
        return process.returncode
