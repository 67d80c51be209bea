"""A gang of ranks as its stage sees it: started together, watched, and ended together.

Its ranks are on the hosts of the run's workers; rank 0 is on the stage's own.
"""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from workbench.core.context import RunContext
from workbench.core.errors import Cause, ResourceError, StageError, WorkbenchError, error_from_json
from workbench.pool.forks import ZygoteGone
from workbench.pool.holdings import agent_of
from workbench.train.host_ranks import HostRanks, Message, RanksElsewhere, RanksHere, serve_ranks
from workbench.train.memories import RankMemories
from workbench.train.rank import RankOrder, out_of_memory

Event = dict[str, Any]

_TICK_SECONDS = 0.05  # how long a wish to pause may go unheard
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)  # no process sends them to itself
_GRACE_SECONDS = 0.5  # in which the others may say why they ended, once one rank has
_LOST_PEER_SECONDS = 5.0  # the same, as long as all that is known is that one has lost another


class Gang:
    """Ranks at work; leaving the ``with`` block ends those that still run."""

    def __init__(
        self, kind: Literal["fit", "score"], job: Path, world: int, threads: int, run: RunContext,
        memories: RankMemories | None = None,
    ) -> None:  # fmt: skip
        """Prepare a gang; ``job`` is a file in the folder of this attempt, made for it alone.

        Each of the ``world`` ranks computes with so many threads, and in memory that outlives it
        if there is any.
        """
        self._kind = kind
        self._job = job
        self._world = world
        self._threads = threads
        self._run = run
        self._memories = memories or RankMemories()
        self._hosts: list[HostRanks] = []
        self._others = ExitStack()
        self._selector = selectors.DefaultSelector()
        self._statuses: dict[int, Message] = {}  # of the ranks that have ended
        self._silent: set[int] = set()  # ranks that say no more
        self._reports: dict[int, Event] = {}

    def __enter__(self) -> Self:
        here = agent_of(self._run.slots[0])
        by_host: dict[str, list[int]] = {}
        for rank, slot in enumerate(self._run.slots[: self._world]):
            by_host.setdefault(agent_of(slot), []).append(rank)
        is_spread = len(by_host) > 1
        meeting = socket.create_server((self._run.address, 0)) if is_spread else None
        try:
            orders = self._orders(by_host, meeting)
            elsewhere = {host: orders[host] for host in by_host if host != here}
            lines = self._others.enter_context(self._run.on_hosts(serve_ranks, elsewhere))
            self._hosts += [RanksElsewhere(host, line) for host, line in lines.items()]
            self._hosts.append(RanksHere(orders[here], meeting, self._memories))
        except ZygoteGone as error:
            self.__exit__(None, None, None)
            raise _lost("the process that starts ranks was ended") from error
        except BaseException:
            self.__exit__(None, None, None)
            raise
        finally:
            if meeting is not None:
                meeting.close()
        for host_ranks in self._hosts:
            self._selector.register(host_ranks, selectors.EVENT_READ, host_ranks)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._selector.close()
        for host in self._hosts:
            host.kill()
        for host in self._hosts:
            host.close()
        self._others.close()

    def events(self) -> Iterator[Event]:
        """Yield what the ranks tell (with their number under ``rank``) until all have ended well.

        At least every 0.05 s there is an event; one of kind ``tick`` says nothing.

        Raises:
            WorkbenchError: a rank failed: what it told, or what killed it.
        """
        while len(self._statuses) < self._world or len(self._silent) < self._world:
            yield from self._wait(_TICK_SECONDS)
            yield {"kind": "tick"}
            if self._reports or any(ended["exited"] for ended in self._statuses.values()):
                raise self._explain()

    # -- starting and listening -------------------------------------------------------------------

    def _orders(
        self, by_host: Mapping[str, list[int]], meeting: socket.socket | None
    ) -> dict[str, list[RankOrder]]:
        """Return what each rank is told; they meet at a socket, or on one host over a file."""
        store = str(self._job.with_name("store"))
        if meeting is not None:
            address, port = meeting.getsockname()
            store = f"tcp:{address}:{port}"
        return {
            host: [
                {
                    "kind": self._kind, "job": str(self._job), "rank": rank, "world": self._world,
                    "threads": self._threads, "store": store,
                    "slot": self._run.slots[rank],
                    "memories": len(self._memories.descriptors(rank)),
                    "as_it_is": self._memories.is_as_it_was(rank), "place": place,
                }
                for place, rank in enumerate(ranks)
            ]
            for host, ranks in by_host.items()
        }  # fmt: skip

    def _wait(self, seconds: float) -> Iterator[Event]:
        self._selector.select(seconds)
        for host in self._hosts:
            for message in host.messages():
                yield from self._hear(message)

    def _hear(self, message: Message) -> Iterator[Event]:
        """Note a message of a host.

        Raises:
            ResourceError: the host can tell no more of its ranks, or one of them was stopped, or
                gets nowhere.
        """
        if "lost" in message:
            raise _lost(message["lost"])
        if "stopped" in message:
            raise _stopped(message["of"], message["stopped"])
        if "stalled" in message:
            raise _stalled(message)
        rank = message["rank"]
        if "exited" in message:
            self._statuses[rank] = message
        elif "silent" in message:
            self._silent.add(rank)
        elif message["told"]["kind"] in ("error", "lost-peer"):
            self._reports[rank] = message["told"]
        else:
            yield {**message["told"], "rank": rank}

    # -- ending -----------------------------------------------------------------------------------

    def _is_somebody_to_blame(self) -> bool:
        """Whether a rank has told of an error, or ended otherwise than for the loss of a peer."""
        told = any(report["kind"] == "error" for report in self._reports.values())
        return told or any(
            ended["exited"] and rank not in self._reports for rank, ended in self._statuses.items()
        )

    def _explain(self) -> WorkbenchError:
        """Find the rank that is to blame: the others only lost a peer."""
        begun = time.monotonic()
        while len(self._statuses) < self._world:
            # Who has only lost a peer is not to blame: on a busy machine its death is heard late.
            grace = _GRACE_SECONDS if self._is_somebody_to_blame() else _LOST_PEER_SECONDS
            if (left := begun + grace - time.monotonic()) <= 0:
                break
            list(self._wait(left))
        for rank, ended in sorted(self._statuses.items()):
            if -ended["exited"] in _FROM_OUTSIDE:  # whatever the others have met with after it
                return _killed(rank, ended)
        for report in self._reports.values():
            if report["kind"] == "error":
                return error_from_json(report["error"])
        for rank, ended in sorted(self._statuses.items()):
            if ended["exited"] < 0 and rank not in self._reports:
                return _killed(rank, ended)
        mute = [
            r for r, ended in self._statuses.items() if ended["exited"] and r not in self._reports
        ]
        if not mute:
            return _lost(f"rank {min(self._reports)} has lost another one")
        rank = min(mute)
        return StageError(f"Rank {rank} ended without a word", where=f"rank {rank}",
                          next_step="Read its output in the detail of this error.",
                          detail=self._statuses.get(rank, {}).get("log", ""))  # fmt: skip


def _killed(rank: int, ended: Message) -> WorkbenchError:
    number = -ended["exited"]
    if number == signal.SIGKILL and ended["oom"]:
        return out_of_memory(f"rank {rank}", detail=ended["log"])
    name = signal.Signals(number).name
    if number in _FROM_OUTSIDE:
        return ResourceError(
            f"Rank {rank} was killed ({name})",
            where=f"rank {rank}",
            next_step="Resume the run: it goes on from its last checkpoint.",
            detail=ended["log"],
            cause=Cause.RANK_KILLED,
        )
    return StageError(
        f"Rank {rank} crashed in native code ({name})",
        where=f"rank {rank}",
        next_step="Read the detail for the place; precision float32 avoids some crashes.",
        detail=ended["log"],
    )


def _lost(why: str) -> ResourceError:
    return ResourceError(
        f"{why[0].upper()}{why[1:]}",
        where="the workers of the run",
        next_step="Resume the run; if it happens again, give the machine more memory, and read "
        "daemon.log.",
        cause=Cause.RANK_KILLED,
    )


def _stopped(name: str, pid: int) -> ResourceError:
    return ResourceError(
        f"{name[0].upper()}{name[1:]} stands still: somebody stopped it",
        where=f"{name}, process {pid}",
        next_step="Resume the run: it goes on from its last checkpoint.",
        cause=Cause.STALLED,
    )


def _stalled(message: Message) -> ResourceError:
    rank, phase = message["stalled"], message["phase"]
    return ResourceError(
        f"Rank {rank} has got nowhere for {message['seconds']} s",
        where=f"rank {rank}, {phase}",
        next_step="The detail says in which line it was. If it is in a loss or model of your own, "
        "mend that; else resume the run: it goes on from its last checkpoint.",
        detail=message["log"],
        cause=Cause.STALLED,
    )
