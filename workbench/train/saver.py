"""Checkpoints of one rank: copied between two steps, written while the next ones are made."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.train.ranks import Reporter
from workbench.train.shards import Shard, write_shards
from workbench.train.state import Place, state_key, write_place


class Saver:
    """Writes what this rank owns of each checkpoint, and tells the stage when it is written.

    A checkpoint is whole when all ranks have told of it. The memory of the copy is used again.
    """

    def __init__(self, folder: Path, rank: int, reporter: Reporter) -> None:
        self._folder = folder
        self._rank = rank
        self._reporter = reporter
        self._copies: list[torch.Tensor] = []
        self._writer: threading.Thread | None = None
        self._failure: Exception | None = None
        self._last_key = ""

    def save(self, place: Place, shards: Sequence[Shard], *, wait: bool) -> None:
        """Save a place; unless to ``wait``, return as soon as the shards may change again.

        Raises:
            OSError: this one, or the one before, could not be written.
        """
        begun = time.monotonic()
        self.finish()
        key = state_key(place)
        if key != self._last_key:
            copies = shards if wait else self._copy(shards)
            told = Place(**vars(place))
            if wait:
                self._write(key, told, copies, begun)
            else:
                stalled = time.monotonic() - begun
                self._writer = threading.Thread(
                    target=self._write_aside, args=(key, told, copies, begun, stalled),
                    name="saver", daemon=True,
                )  # fmt: skip
                self._writer.start()
        self._last_key = key

    def finish(self) -> None:
        """Return when what was begun is written.

        Raises:
            OSError: it could not be.
        """
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._failure is not None:
            raise self._failure

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is still being written."""
        return self._writer is not None and self._writer.is_alive()

    def _copy(self, shards: Sequence[Shard]) -> list[Shard]:
        if not self._copies:
            self._copies = [
                torch.empty(s.values.shape, dtype=s.values.dtype, device="cpu") for s in shards
            ]  # fmt: skip
        for copy, shard in zip(self._copies, shards, strict=True):
            copy.copy_(shard.values)
        return [
            shard._replace(values=copy) for copy, shard in zip(self._copies, shards, strict=True)
        ]

    def _write_aside(
        self, key: str, place: Place, shards: Sequence[Shard], begun: float, stalled: float
    ) -> None:
        try:
            self._write(key, place, shards, begun, stalled)
        except Exception as error:
            self._failure = error

    def _write(
        self, key: str, place: Place, shards: Sequence[Shard], begun: float,
        stalled: float | None = None,
    ) -> None:  # fmt: skip
        folder = self._folder / key
        folder.mkdir(parents=True, exist_ok=True)
        on_cpu = [s._replace(values=s.values.detach().cpu().contiguous()) for s in shards]
        write_shards(folder / f"rank-{self._rank:05d}.safetensors", on_cpu)
        if self._rank == 0:
            write_place(folder, place)
        seconds = time.monotonic() - begun
        self._reporter.tell(
            "saved", key=key, folder=str(folder), step=place.step, seconds=seconds,
            stalled=seconds if stalled is None else stalled,
        )  # fmt: skip
