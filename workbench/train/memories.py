"""The memory of a gang's ranks, as the stage sees it: given out, and taken over from the dead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from workbench.core.context import RunContext
from workbench.pool.holdings import agent_of
from workbench.pool.kept_memory import give_back, memories_of, new_memory
from workbench.train.memory import TrainingMemory
from workbench.train.options import Layout
from workbench.train.state import Place, newest_state, read_place


class RankMemories:
    """What each rank trains in, and which memory of an earlier rank they go on from."""

    def __init__(
        self,
        own: Iterable[TrainingMemory] = (),
        source: TrainingMemory | None = None,
        as_they_are: Iterable[TrainingMemory] = (),
    ) -> None:
        """Hold memory; by default there is none.

        ``as_they_are`` are those of ``own`` that hold the place to go on from; the others get it
        from ``source``.
        """
        self._own = list(own)
        self._source = source
        self._as_they_are = list(as_they_are)
        self.place = source.place if source else None  # where the ranks go on

    @classmethod
    def of(cls, layout: Layout, run: RunContext) -> Self:
        """Return the memory of a gang whose ranks each hold the whole model, on one host.

        It goes on from memory that is as far as the newest checkpoint. Where all earlier ranks are
        dead, the next ones train in what these have left; one that was only stopped may write once
        more, so that its memory and that of its gang is copied. What a run that has run out of
        memory leaves is given back.
        """
        hosts = {agent_of(slot) for slot in run.slots[: layout.world]}
        if layout.kind != "ddp" or len(hosts) > 1 or run.num_shrinks:
            free_memories(run)
            return cls()
        try:
            return cls._kept(layout, run)
        except OSError:  # the agent is at something else: the ranks keep what they have
            return cls()

    @classmethod
    def _kept(cls, layout: Layout, run: RunContext) -> Self:
        kept = memories_of(run.run_id)
        left = {name: TrainingMemory(descriptor) for name, descriptor in kept.items()}
        source = _newest(left.values(), run.checkpoints())
        is_dirty = not all(memory.owner_is_gone for memory in left.values())
        # Those first that have all that is needed.
        ranked = sorted(left.items(), key=lambda each: not _is_at(each[1], source))
        own = {} if is_dirty else dict(ranked[: layout.world])
        as_they_are = [memory for memory in own.values() if _is_at(memory, source)]
        unused = [name for name in left if name not in own]
        for name in unused:
            if left[name] is not source:
                left[name].close()
        give_back(run.run_id, unused, dirty=is_dirty)
        while len(own) < layout.world:
            name = f"{run.term}-{len(own)}-{os.urandom(4).hex()}"
            descriptor = new_memory(run.run_id, name)
            if descriptor is None:
                return cls()  # nobody keeps memory here
            own[name] = TrainingMemory(descriptor)
        return cls(own.values(), source, as_they_are)

    def descriptors(self, rank: int) -> list[int]:
        """Return what a rank is given: its memory and the one to go on from; nothing if none."""
        if not self._own:
            return []
        is_alone = self._source is None or self.is_as_it_was(rank)
        source = [] if is_alone or self._source is None else [self._source.descriptor]
        return [self._own[rank].descriptor, *source]

    def is_as_it_was(self, rank: int) -> bool:
        """Whether a rank's own memory holds what it goes on from."""
        return bool(self._own) and self._own[rank] in self._as_they_are

    def note_reported(self, losses: Iterable[tuple[int, float]]) -> None:
        """Note which losses stand in the journal."""
        told = list(losses)
        for memory in self._own:
            memory.note_reported(told)

    def let_go_of_source(self) -> None:
        """Free the memory of the earlier rank: all ranks have a copy."""
        if self._source is not None and self._source not in self._own:
            self._source.close()
        self._source = None

    def close(self) -> None:
        """Leave the memory to the agent."""
        self.let_go_of_source()
        for memory in self._own:
            memory.close()
        self._own = []


def free_memories(run: RunContext) -> None:
    """Give back what is kept of a run; what an agent does not hear of it forgets in time."""
    with suppress(OSError):
        kept = memories_of(run.run_id)
        left = [TrainingMemory(descriptor) for descriptor in kept.values()]
        is_dirty = not all(memory.owner_is_gone for memory in left)
        for memory in left:
            memory.close()
        give_back(run.run_id, kept, dirty=is_dirty)


def _is_at(memory: TrainingMemory, source: TrainingMemory | None) -> bool:
    return source is not None and memory.place == source.place


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
