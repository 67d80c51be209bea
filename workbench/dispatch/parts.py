"""Many durable parts of one run, made by all of its workers at once."""

from __future__ import annotations

import faulthandler
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.core.artifact import flush_folder
from workbench.core.context import PartWriter
from workbench.core.errors import DataError
from workbench.pool.crew import Crew, WorkerLost

# Tells the run that a part's folder is written; returns when that is recorded.
Settle = Callable[[str, Path], None]

# Over one part, before it is set aside: crashes in native code; deaths that left no word, be it for
# want of memory or by somebody's hand.
_MOST_CRASHES, _MOST_DEATHS = 3, 8
_BEGUN, _CRASH = "begun\n", "Fatal Python error"
_FEW = 3
_MOST_TOLD = 4_000


class Tries:
    """How often each part of a run was begun and came to no end: its worker died over it.

    A file for each part that is being made, which goes with its end; a worker that dies leaves it,
    one that crashes leaves in it where. Who was killed from outside is told from who crashed only
    by that, so that silent deaths count less. Who is ended because somebody asked the run to stop
    is not to blame at all: ``forgive`` says so first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: set[str] = set()
        self._lock = threading.Lock()

    def is_poisonous(self, key: str) -> bool:
        """Whether a part is given up: too many workers have died over it."""
        told = self._told(key)
        return told.count(_CRASH) >= _MOST_CRASHES or told.count(_BEGUN) >= _MOST_DEATHS

    @contextmanager
    def of(self, key: str) -> Iterator[str]:
        """Try a part within the block; yield the file that whoever makes it shall keep."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._open.add(key)
        try:
            yield str(self._folder / key)
        finally:
            with self._lock:
                self._open.discard(key)

    def forgive(self) -> None:
        """Hold nothing against what is being made now: it may be ended from outside."""
        with self._lock:
            for key in self._open:
                (self._folder / key).unlink(missing_ok=True)

    def poison(self, keys: list[str]) -> DataError:
        """Return the error that names the parts which were given up; a resume tries them again."""
        named = ", ".join(keys[:_FEW]) + (f" and {len(keys) - _FEW} more" if keys[_FEW:] else "")
        detail = "\n".join(self._told(key)[-_MOST_TOLD:] for key in keys[:_FEW])
        shutil.rmtree(self._folder, ignore_errors=True)
        return DataError(
            f"Workers have died again and again over each of these parts: {named}",
            where=named,
            next_step="All other parts are made and kept. Look at what these hold (very long "
            "texts, broken files) and where the workers died, then resume the run.",
            detail=detail,
        )

    def _told(self, key: str) -> str:
        try:
            return (self._folder / key).read_text(errors="replace")
        except OSError:
            return ""


class PartMaker:
    """Makes parts until none is open: one in this thread, one on each of the other workers.

    A part whose worker dies is open again, and made by another; one over which worker after worker
    dies is set aside, and the others are made first. When somebody asks the run to stop, or a part
    fails, those that were begun are finished and kept: a worker's thread cannot be stopped, and its
    slot must not be given away while it works.
    """

    def __init__(
        self,
        parts: Mapping[str, Any],
        write: PartWriter,
        folder: Path,
        settle: Settle,
        tries: Tries,
    ) -> None:
        """Prepare to make ``parts``; each is written to a folder of its own below ``folder``."""
        self._values = parts
        self._write = write
        self._folder = folder
        self._settle = settle
        self._tries = tries
        self._aside = [key for key in parts if tries.is_poisonous(key)]
        self._open = deque(key for key in parts if key not in self._aside)
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
            DataError: a part has killed the workers that made it; all the others are kept.
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
        if self._aside and self.num_done + len(self._aside) == len(self._values):
            raise self._tries.poison(self._aside)

    def _work(self, between: Callable[[int], bool]) -> None:
        """Make parts in this thread."""
        while not self._halted:
            self._halted = between(self.num_done)
            key = self._take()
            if key is None:
                return
            folder = self._folder / key
            with self._tries.of(key) as log:
                try_part(self._write, str(folder), self._values[key], log)
            self._finish(key, folder)

    def _serve(self, crew: Crew, slot: str) -> None:
        """Have another worker make parts, one after the other, until it dies."""
        while (key := self._take()) is not None:
            folder = self._folder / f"{key}.slot-{slot}"
            try:
                with self._tries.of(key) as log:
                    crew.call(slot, try_part, self._write, str(folder), self._values[key], log)
                self._finish(key, folder)
            except WorkerLost:
                with self._lock:
                    if self._tries.is_poisonous(key):
                        self._aside.append(key)
                    else:
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


def try_part(write: PartWriter, folder: str, value: Any, log: str) -> None:
    """Write one part; a worker that dies over it leaves ``log``, with where it crashed."""
    path = Path(log)
    with path.open("a") as stream:
        stream.write(_BEGUN)
        stream.flush()
        faulthandler.enable(stream, all_threads=False)
        try:
            write_part(write, folder, value)
        finally:
            faulthandler.disable()
            path.unlink(missing_ok=True)
