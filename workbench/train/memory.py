"""The memory in which a rank trains, so that whoever comes after it goes on where it was killed.

Weights and moments lie in a file without a name that the agent keeps. Before them stands how far
the training is: ``whole`` between two updates, ``torn`` during one. A rank that is killed leaves it
whole most of the time; of several ranks at least one does, as the others wait for the dead one.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.core.errors import Cause, ResourceError
from workbench.train.state import Place

if TYPE_CHECKING:
    import torch

_EMPTY, _WHOLE, _TORN = 0, 1, 2
# Numbers at the beginning.
_STATE, _PLACE_BYTES, _NUM_REPORTED, _OWNER, _OWNER_BORN = range(5)
_PLACE = 128  # where the place is, as JSON
_LOSSES = 4096  # where the losses are that may not be told yet: pairs of step and loss
_MOST_LOSSES = 1024
_BLOCKS = _LOSSES + _MOST_LOSSES * 16


class TrainingMemory:
    """A rank's tensors, in blocks, and its place."""

    def __init__(self, descriptor: int) -> None:
        """Look into a piece of memory; a new one is empty."""
        self.descriptor = descriptor
        if os.fstat(descriptor).st_size < _BLOCKS:
            os.ftruncate(descriptor, _BLOCKS)
        self._head = mmap.mmap(descriptor, _BLOCKS)
        self._numbers = np.frombuffer(self._head, np.int64, 16)
        losses = np.frombuffer(self._head, np.int64, 2 * _MOST_LOSSES, _LOSSES)
        self._steps, self._values = losses[0::2], losses[1::2].view(np.float64)
        self._end = _BLOCKS

    def close(self) -> None:
        """Let go of the memory; tensors in it stay as long as they are used."""
        os.close(self.descriptor)
        del self._numbers, self._steps, self._values, self._head

    # -- how far it is ----------------------------------------------------------------------------

    @property
    def place(self) -> Place | None:
        """Where the training stands; None where the tensors are of no one place."""
        if self._numbers[_STATE] != _WHOLE:
            return None
        end = _PLACE + int(self._numbers[_PLACE_BYTES])
        return Place(**json.loads(self._head[_PLACE:end]))

    def open_update(self) -> None:
        """Say that the tensors change from here on."""
        self._numbers[_STATE] = _TORN

    def close_update(self, place: Place) -> None:
        """Say that the tensors are those of a place."""
        told = json.dumps(asdict(place)).encode()
        self._numbers[_STATE] = _TORN
        self._head[_PLACE : _PLACE + len(told)] = told
        self._numbers[_PLACE_BYTES] = len(told)
        self._numbers[_STATE] = _WHOLE

    def clear(self) -> None:
        """Say that nothing of any use is in it."""
        self._numbers[_STATE] = _EMPTY
        self._numbers[_NUM_REPORTED] = 0
        self._steps[:] = 0

    # -- whose it is ------------------------------------------------------------------------------

    def take(self) -> None:
        """Note that this process works in it."""
        self._numbers[_OWNER], self._numbers[_OWNER_BORN] = os.getpid(), _born(os.getpid())

    @property
    def owner_is_gone(self) -> bool:
        """Whether the process that has worked in it is dead; one that was stopped may go on."""
        owner = int(self._numbers[_OWNER])
        return owner == 0 or _born(owner) != int(self._numbers[_OWNER_BORN])

    # -- what was told of it ----------------------------------------------------------------------

    def note_loss(self, step: int, loss: float) -> None:
        """Keep a step's loss until it is told."""
        at = step % _MOST_LOSSES
        self._steps[at], self._values[at] = step + 1, loss  # 0 is what new memory holds

    def note_reported(self, losses: Iterable[tuple[int, float]]) -> None:
        """Note which losses stand in the journal."""
        self.note_reported_until(max((step + 1 for step, _ in losses), default=0))

    def note_reported_until(self, step: int) -> None:
        """Note that the losses of all steps before one stand in the journal."""
        self._numbers[_NUM_REPORTED] = max(self._numbers[_NUM_REPORTED], step)

    @property
    def num_reported(self) -> int:
        """The number of steps whose losses stand in the journal."""
        return int(self._numbers[_NUM_REPORTED])

    def untold_losses(self) -> list[tuple[int, float]]:
        """Return the losses, by step, that do not stand in the journal."""
        place = self.place
        if place is None:
            return []
        first = max(int(self._numbers[_NUM_REPORTED]), place.step - _MOST_LOSSES)
        kept = [(step, step % _MOST_LOSSES) for step in range(first, place.step)]
        return [(step, float(self._values[at])) for step, at in kept if self._steps[at] == step + 1]

    # -- its tensors ------------------------------------------------------------------------------

    def block(self, num_bytes: int) -> memoryview:
        """Return the next block, from the first on: the same rank asks for the same ones again."""
        begin = self._end
        self._end += -(-max(num_bytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        if os.fstat(self.descriptor).st_size < self._end:
            os.ftruncate(self.descriptor, self._end)
        return memoryview(mmap.mmap(self.descriptor, self._end - begin, offset=begin))[:num_bytes]

    def numbers(self, count: int) -> npt.NDArray[np.float32]:
        """Return the next block as float32 [count]."""
        return np.frombuffer(self.block(4 * count), np.float32)


def _born(pid: int) -> int:
    """Return when a process began, in the kernel's ticks; 0 if there is none, or it is dead."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if told[0] in "ZX" else int(told[19])


class Tensors:
    """Where a rank takes the memory of its tensors from: what outlives it, if there is any."""

    def __init__(
        self,
        memory: TrainingMemory | None = None,
        source: TrainingMemory | None = None,
        *,
        as_it_is: bool = False,
    ) -> None:
        """Take memory from ``memory``.

        It is filled with what is in ``source`` if that is given; ``as_it_is``, what is there
        already is the state of a rank that is dead.
        """
        self.memory = memory
        self._source = memory if as_it_is else source
        self._begun = self._source.place if self._source is not None else None
        if memory is not None:
            if not as_it_is:
                memory.clear()
            memory.take()

    @property
    def are_filled(self) -> bool:
        """Whether tensors come with the values of an earlier rank."""
        return self._source is not None

    def take_over(self) -> tuple[Place, list[tuple[int, float]]]:
        """Return where the earlier rank stood and which of its losses were not told yet.

        Raises:
            ResourceError: that rank was not dead, and went on while its tensors were copied.
        """
        assert self._source is not None
        assert self.memory is not None
        place, losses = self._source.place, self._source.untold_losses()
        if place is None or place != self._begun:
            raise ResourceError(
                "The memory of an earlier worker changed while it was copied",
                where="memory of the run",
                next_step="Resume the run.",
                cause=Cause.RANK_KILLED,
            )
        if self._source is not self.memory:
            for step, loss in losses:
                self.memory.note_loss(step, loss)
            self.memory.note_reported_until(self._source.num_reported)
            self._source.close()
        self._source = None  # its memory is free as soon as no rank holds it
        return place, losses

    def like(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor of another's shape: with the earlier rank's values, or zeros."""
        import torch

        if self.memory is None:
            return torch.zeros_like(tensor, requires_grad=False)
        values = torch.from_numpy(self.memory.numbers(tensor.numel())).view(tensor.shape)
        if self._source is None:
            values.zero_()
        elif self._source is not self.memory:
            values.copy_(torch.from_numpy(self._source.numbers(tensor.numel())).view(tensor.shape))
        return values
