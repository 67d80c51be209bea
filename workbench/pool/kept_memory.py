"""Memory of runs that outlives their processes, kept by the agent of their host.

Whoever works in such memory may be killed at any moment: the next attempt of the run takes it over.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection
from typing import Any

from workbench.pool.forks import AGENT_VARIABLE
from workbench.pool.zygote import MOST_BYTES

_KEPT_SECONDS = 120.0  # after the last attempt of a run on this host
_MOST_TAKEN = 128  # pieces in one answer


class KeptMemory:
    """The agent's side: files without a name, in memory, by run."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, int]] = {}
        self._seen: dict[str, float] = {}

    def answer(self, connection: socket.socket, request: dict[str, Any], now: float) -> None:
        """Make a piece (``name``) for a run, or hand over and forget all that it has.

        Raises:
            OSError: who asked has gone, or there is no more memory.
        """
        run_id = request["run_id"]
        if request.get("name"):
            pieces = {request["name"]: os.memfd_create(f"workbench {run_id}")}
            self._kept.setdefault(run_id, {}).update(pieces)
            self._seen[run_id] = now
        else:
            pieces = self._kept.pop(run_id, {})
            self._seen.pop(run_id, None)
        try:
            names = json.dumps(list(pieces)).encode()
            socket.send_fds(connection, [names], list(pieces.values()))
        finally:
            if not request.get("name"):
                _close(pieces)

    def look(self, running: Collection[str], now: float) -> None:
        """Free what belongs to runs that have not been at work here for two minutes."""
        for run_id in list(self._kept):
            if run_id in running:
                self._seen[run_id] = now
            elif now - self._seen[run_id] > _KEPT_SECONDS:
                _close(self._kept.pop(run_id))
                del self._seen[run_id]


def _close(pieces: dict[str, int]) -> None:
    for descriptor in pieces.values():
        os.close(descriptor)


def new_memory(run_id: str, name: str) -> int | None:
    """Return a new piece of memory that the agent keeps, None where there is no agent.

    Raises:
        OSError: the agent does not answer.
    """
    return _ask({"run_id": run_id, "name": name}).get(name)


def take_memories(run_id: str) -> dict[str, int]:
    """Return all that is kept of a run, by name; the agent keeps it no longer.

    Raises:
        OSError: the agent does not answer.
    """
    return _ask({"run_id": run_id})


def _ask(request: dict[str, Any]) -> dict[str, int]:
    agent = os.environ.get(AGENT_VARIABLE)
    if not agent or not hasattr(os, "memfd_create"):
        return {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(agent)
        connection.send(json.dumps({"memory": request}).encode())
        content, descriptors, _, _ = socket.recv_fds(connection, MOST_BYTES, _MOST_TAKEN)
    return dict(zip(json.loads(content or b"[]"), descriptors, strict=True))
