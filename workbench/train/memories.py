"""The memory of a gang's ranks, as the stage sees it: given out, and taken over from the dead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from workbench.core.context import RunContext
from workbench.pool.holdings import agent_of
from workbench.pool.kept_memory import new_memory, take_memories
from workbench.train.memory import TrainingMemory
from workbench.train.options import Layout
from workbench.train.state import Place, newest_state, read_place


class RankMemories:
    """What each rank trains in, and which memory of an earlier rank they go on from."""

    def __init__(
        self, own: Iterable[TrainingMemory] = (), source: TrainingMemory | None = None
    ) -> None:
        """Hold memory; by default there is none."""
        self._own = list(own)
        self._source = source
        self.place = source.place if source else None  # where the ranks go on

    @classmethod
    def of(cls, layout: Layout, run: RunContext) -> Self:
        """Return the memory of a gang whose ranks each hold the whole model, on one host.

        It goes on from memory that is as far as the newest checkpoint. What a run that has run out
        of memory leaves is freed.
        """
        hosts = {agent_of(slot) for slot in run.slots[: layout.world]}
        if layout.kind != "ddp" or len(hosts) > 1 or run.num_shrinks:
            free_memories(run)
            return cls()
        left = [TrainingMemory(descriptor) for descriptor in take_memories(run.run_id).values()]
        source = _newest(left, run.checkpoints())
        for memory in left:
            if memory is not source:
                memory.close()
        names = [f"{run.term}-{rank}-{os.urandom(4).hex()}" for rank in range(layout.world)]
        given = [new_memory(run.run_id, name) for name in names]
        return cls([TrainingMemory(descriptor) for descriptor in given if descriptor], source)

    def descriptors(self, rank: int) -> list[int]:
        """Return what a rank is given: its memory and the one to go on from; nothing if none."""
        if not self._own:
            return []
        source = [] if self._source is None else [self._source.descriptor]
        return [self._own[rank].descriptor, *source]

    def note_reported(self, losses: Iterable[tuple[int, float]]) -> None:
        """Note which losses stand in the journal."""
        told = list(losses)
        for memory in self._own:
            memory.note_reported(told)

    def let_go_of_source(self) -> None:
        """Free the memory of the earlier rank: all ranks have a copy."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def close(self) -> None:
        """Leave the memory to the agent."""
        self.let_go_of_source()
        for memory in self._own:
            memory.close()
        self._own = []


def free_memories(run: RunContext) -> None:
    """Free what is kept of a run."""
    for descriptor in take_memories(run.run_id).values():
        os.close(descriptor)


def _newest(
    left: Iterable[TrainingMemory], checkpoints: Mapping[str, Path]
) -> TrainingMemory | None:
    """Return the memory that is the farthest, if it is as far as the newest checkpoint."""
    newest = newest_state(checkpoints)
    best, found = (read_place(newest) if newest else Place()), None
    for memory in left:
        place = memory.place
        if place is None or (place.best is not None and place.best not in checkpoints):
            continue
        if (place.step, place.evaluated_epochs) >= (best.step, best.evaluated_epochs):
            best, found = place, memory
    return found
