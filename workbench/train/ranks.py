"""One rank's view of its gang: who it is, how to sum with the others, how to tell the stage."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch  # noqa: TID253 (only ranks import this module, when work starts)
import torch.distributed as dist  # noqa: TID253

from workbench.pool.addresses import address_towards, interface_of
from workbench.train.clock import PhaseClock
from workbench.train.memory import Tensors
from workbench.train.pulse import Pulse

# A rank that waits longer than this has lost its peers; the stage notices deaths at once.
_MOST_SECONDS_APART = 600
_MEETING_SECONDS = 60
_BACKENDS = {False: "gloo", True: "cpu:gloo,cuda:nccl"}  # by whether there are GPUs


class PeerLost(Exception):
    """Another rank is gone; whoever is to blame, it is not this one."""


@dataclass(frozen=True)
class Ranks:
    """A gang of ``world`` ranks, of which this process is number ``rank``."""

    rank: int
    world: int
    clock: PhaseClock = field(default_factory=PhaseClock)
    tensors: Tensors = field(default_factory=Tensors)
    pulse: Pulse | None = None

    @property
    def device(self) -> torch.device:
        """Where this rank computes: its slot's GPU if it has one."""
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")

    @classmethod
    def join(
        cls, rank: int, world: int, store: str, meeting: int | None = None,
        tensors: Tensors | None = None, pulse: Pulse | None = None,
    ) -> Ranks:  # fmt: skip
        """Meet the other ranks of this attempt: where no other attempt meets.

        On one host that is a file, else rank 0's socket (``tcp:ADDRESS:PORT``, which it has open as
        ``meeting``); the ranks then speak over the interface that leads there. ``tensors`` are
        in memory that outlives this rank; one on a GPU has no use for them. ``pulse`` shows that
        this rank gets on.
        """
        if world > 1:
            dist.init_process_group(
                _BACKENDS[torch.cuda.is_available()], store=_store(store, world, meeting),
                rank=rank, world_size=world,
                timeout=timedelta(seconds=_MOST_SECONDS_APART),
            )  # fmt: skip
        beat = None if pulse is None else pulse.beat
        if torch.cuda.is_available():
            return cls(rank, world, PhaseClock(torch.cuda.synchronize, beat), pulse=pulse)
        return cls(rank, world, PhaseClock(None, beat), tensors or Tensors(), pulse)

    def leave(self) -> None:
        """Part from the others, all being done."""
        if self.world > 1:
            dist.destroy_process_group()

    def sum(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by its sum over all ranks, in place.

        Raises:
            PeerLost: a rank died.
        """
        if self.world > 1:
            with told_as_lost(), self.clock("communication"):
                dist.all_reduce(tensor)

    def swap(self, parts: torch.Tensor, num_rows: list[int]) -> torch.Tensor:
        """Send ``parts[r]`` ([rows, width]) to rank r; return what the others sent to this one.

        ``num_rows`` has how many rows each rank sends to every other; theirs are returned in the
        order of the ranks, [sum of num_rows, width].

        Raises:
            PeerLost: a rank died.
        """
        width = parts.shape[-1]
        received = parts.new_empty(sum(num_rows), width)
        with told_as_lost(), self.clock("communication"):
            dist.all_to_all_single(
                received.view(-1), parts.reshape(-1),
                [rows * width for rows in num_rows], [parts[0].numel()] * self.world,
            )  # fmt: skip
        return received

    def gather(self, part: torch.Tensor) -> torch.Tensor:
        """Return the parts of all ranks, [world, *shape of a part].

        Raises:
            PeerLost: a rank died.
        """
        gathered = part.new_empty(self.world, *part.shape)
        with told_as_lost(), self.clock("communication"):
            dist.all_gather(list(gathered), part)
        return gathered


@contextmanager
def told_as_lost() -> Iterator[None]:
    """Name what torch raises when a peer has gone.

    Raises:
        PeerLost: a rank died.
    """
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(str(error)) from error


def _store(store: str, world: int, meeting: int | None) -> Any:
    if not store.startswith("tcp:"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        return dist.FileStore(store, world)  # type: ignore[attr-defined]
    _, address, port = store.split(":")
    os.environ["GLOO_SOCKET_IFNAME"] = interface_of(address_towards(address))
    return dist.TCPStore(  # type: ignore[attr-defined]
        address, int(port), world, is_master=meeting is not None, master_listen_fd=meeting,
        timeout=timedelta(seconds=_MEETING_SECONDS),
    )  # fmt: skip


class Reporter:
    """Sends events to the stage as lines of JSON, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")
        self._lock = threading.Lock()

    def tell(self, kind: str, **payload: Any) -> None:
        """Send one event at once."""
        with self._lock:
            self._stream.write(json.dumps({"kind": kind, **payload}) + "\n")
            self._stream.flush()
