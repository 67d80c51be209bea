"""Memory of runs that outlives their processes, kept by the agent of their host.

Whoever works in such memory may be killed at any moment: the next attempt of the run takes it over.
Memory that is given back is kept for a while for whoever asks next: taking it from the system costs
more than filling it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterable
from typing import Any

from workbench.pool.forks import AGENT_VARIABLE
from workbench.pool.zygote import MOST_BYTES

_KEPT_SECONDS = 120.0  # after the last attempt of a run on this host
_SPARE_SECONDS = 60.0  # that memory is kept which nobody uses
_MOST_SPARE_BYTES = 1 << 30
_MOST_HANDED = 128  # pieces in one answer
NO_MEMORY = b"[]"  # an answer
_ANSWER_SECONDS = 10.0
_HEAD_BYTES = 1 << 16  # that are cleared of memory which somebody had before


class KeptMemory:
    """The agent's side: files without a name, in memory, by run."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, int]] = {}
        self._seen: dict[str, float] = {}
        self._spare: list[tuple[float, int]] = []  # since when, and the piece; the newest last

    def answer(self, connection: socket.socket, request: dict[str, Any], now: float) -> None:
        """Make a piece (``name``) for a run, or tell of all that it has.

        Those in ``drop`` are forgotten: somebody else may have them, unless they are ``dirty``.

        Raises:
            OSError: who asked has gone, or there is no more memory.
        """
        run_id = request["run_id"]
        own = self._kept.setdefault(run_id, {})
        self._seen[run_id] = now
        for name in request.get("drop", ()):
            if name in own and request.get("dirty"):
                os.close(own.pop(name))
            elif name in own:
                self._spare.append((now, own.pop(name)))
        pieces = own
        if name := request.get("name"):
            own[name] = self._take()
            pieces = {name: own[name]}
        socket.send_fds(connection, [json.dumps(list(pieces)).encode()], list(pieces.values()))

    def look(self, running: Collection[str], now: float) -> None:
        """Free what belongs to runs that have not been at work here for two minutes, and spares."""
        for run_id in list(self._kept):
            if run_id in running:
                self._seen[run_id] = now
            elif now - self._seen[run_id] > _KEPT_SECONDS:
                for descriptor in self._kept.pop(run_id).values():
                    os.close(descriptor)
                del self._seen[run_id]
        room = _MOST_SPARE_BYTES
        spare, self._spare = self._spare, []
        for since, descriptor in reversed(spare):
            room -= os.fstat(descriptor).st_size
            if room < 0 or now - since > _SPARE_SECONDS:
                os.close(descriptor)
            else:
                self._spare.insert(0, (since, descriptor))

    def _take(self) -> int:
        if not self._spare:
            return os.memfd_create("workbench")
        _, descriptor = self._spare.pop()
        os.pwrite(descriptor, bytes(_HEAD_BYTES), 0)
        return descriptor


def new_memory(run_id: str, name: str) -> int | None:
    """Return a piece of memory that the agent keeps, None where there is no agent.

    Its first 64 KB are zeros; in the rest may be what somebody else has left.

    Raises:
        OSError: the agent does not answer.
    """
    return _ask({"run_id": run_id, "name": name}).get(name)


def memories_of(run_id: str) -> dict[str, int]:
    """Return all that is kept of a run, by name.

    Raises:
        OSError: the agent does not answer.
    """
    return _ask({"run_id": run_id})


def give_back(run_id: str, names: Iterable[str], *, dirty: bool = False) -> None:
    """Have pieces kept no longer; ``dirty`` ones, into which somebody may still write, are freed.

    The others are handed to whoever asks next.

    Raises:
        OSError: the agent does not answer.
    """
    if dropped := list(names):
        for descriptor in _ask({"run_id": run_id, "drop": dropped, "dirty": dirty}).values():
            os.close(descriptor)


def _ask(request: dict[str, Any]) -> dict[str, int]:
    agent = os.environ.get(AGENT_VARIABLE)
    if not agent or not hasattr(os, "memfd_create"):
        return {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        connection.connect(agent)
        connection.send(json.dumps({"memory": request}).encode())
        content, descriptors, _, _ = socket.recv_fds(connection, MOST_BYTES, _MOST_HANDED)
    return dict(zip(json.loads(content or NO_MEMORY), descriptors, strict=True))
