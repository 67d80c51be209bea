"""Many durable parts of one run, made by all of its workers at once."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.core.artifact import flush_folder
from workbench.core.context import PartWriter
from workbench.pool.crew import Crew, WorkerLost

# Tells the run that a part's folder is written; returns when that is recorded.
Settle = Callable[[str, Path], None]


class PartMaker:
    """Makes parts until none is open: one in this thread, one on each of the other workers.

    A part whose worker dies is open again, and made by another. When somebody asks the run to stop,
    or a part fails, those that were begun are finished and kept: a worker's thread cannot be
    stopped, and its slot must not be given away while it works.
    """

    def __init__(
        self, parts: Mapping[str, Any], write: PartWriter, folder: Path, settle: Settle
    ) -> None:
        """Prepare to make ``parts``; each is written to a folder of its own below ``folder``."""
        self._values = parts
        self._write = write
        self._folder = folder
        self._settle = settle
        self._open = deque(parts)
        self._lock = threading.Lock()
        self._halted = False
        self._error: BaseException | None = None
        self.num_done = 0

    def make(self, crew: Crew, between: Callable[[int], bool]) -> None:
        """Make the parts: all of them, unless ``between`` halts.

        Args:
            crew: the other workers.
            between: called in this thread before each of its parts with the number of parts done;
                True halts.

        Raises:
            Exception: what a part raised; the others that were begun are kept.
        """
        threads = [
            threading.Thread(target=self._serve, args=(crew, slot), daemon=True)
            for slot in crew.slots
        ]
        for thread in threads:
            thread.start()
        try:
            self._work(between)
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
                    self._halted = self._halted or between(self.num_done)
            self._work(between)  # what a lost worker left
        finally:
            self._halted = True
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def _work(self, between: Callable[[int], bool]) -> None:
        """Make parts in this thread."""
        while not self._halted:
            self._halted = between(self.num_done)
            key = self._take()
            if key is None:
                return
            folder = self._folder / key
            write_part(self._write, str(folder), self._values[key])
            self._finish(key, folder)

    def _serve(self, crew: Crew, slot: str) -> None:
        """Have another worker make parts, one after the other, until it dies."""
        while (key := self._take()) is not None:
            folder = self._folder / f"{key}.slot-{slot}"
            try:
                crew.call(slot, write_part, self._write, str(folder), self._values[key])
                self._finish(key, folder)
            except WorkerLost:
                with self._lock:
                    self._open.appendleft(key)
                return
            except BaseException as error:
                self._error = self._error or error
                self._halted = True
                return

    def _take(self) -> str | None:
        with self._lock:
            return None if self._halted or not self._open else self._open.popleft()

    def _finish(self, key: str, folder: Path) -> None:
        self._settle(key, folder)
        with self._lock:
            self.num_done += 1


def write_part(write: PartWriter, folder: str, value: Any) -> None:
    """Write one part into a new folder and have the disk keep it."""
    path = Path(folder)
    shutil.rmtree(path, ignore_errors=True)  # of an attempt that died here
    path.mkdir(parents=True)
    write(path, value)
    flush_folder(path)
