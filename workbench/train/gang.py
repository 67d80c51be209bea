"""A gang of ranks as its stage sees it: started together, watched, and ended together."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from workbench.core.errors import Cause, ResourceError, StageError, WorkbenchError, error_from_json
from workbench.pool.forks import Forks, ZygoteGone, zygote_at_hand
from workbench.pool.process import thread_variables
from workbench.pool.stopped import StoppedProcesses
from workbench.pool.zygote import ZygoteSettings
from workbench.train.rank import RankOrder, out_of_memory

Event = dict[str, Any]

_TICK_SECONDS = 0.05  # how long a wish to pause may go unheard
_LOOK_SECONDS = 0.5  # between two looks for processes that stand still
_DEATH_SECONDS = 2.0  # SIGKILL ends a process at once, unless the kernel is busy for it
_GRACE_SECONDS = 0.5  # in which the others may say why they ended, once one rank has
_MOST_BYTES = 65_536
_LOG_TAIL = 4_000
_IDLE_SECONDS = 600.0
_WARM = (
    "torch", "torch.distributed", "safetensors.torch", "tokenizers", "transformers",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
    "workbench.train.loop", "workbench.train.rank", "workbench.train.ranks",
    "workbench.train.score",
)  # fmt: skip


class Gang:
    """Ranks at work; leaving the ``with`` block ends those that still run."""

    def __init__(self, kind: Literal["fit", "score"], job: Path, world: int, threads: int) -> None:
        """Prepare a gang; ``job`` is a file in the folder of this attempt, made for it alone."""
        self._kind = kind
        self._job = job
        self._world = world
        self._threads = threads
        self._forks = Forks(zygote_at_hand(rank_zygote(threads)))
        self._selector = selectors.DefaultSelector()
        self._pipes: dict[int, int] = {}
        self._unread: dict[int, bytes] = {}
        self._pids: dict[int, int] = {}  # of the ranks that have told
        self._stopped = StoppedProcesses()
        self._looked_at = 0.0
        self._statuses: dict[int, int] = {}
        self._reports: dict[int, Event] = {}

    def __enter__(self) -> Self:
        self._oom_kills = _num_oom_kills()
        self._selector.register(self._forks, selectors.EVENT_READ, None)
        try:
            for rank in range(self._world):
                self._start(rank)
        except ZygoteGone as error:
            self.__exit__(None, None, None)
            raise _explain_zygote() from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()
        self._selector.close()
        for pipe in self._pipes.values():
            os.close(pipe)
        self._forks.close()

    def events(self) -> Iterator[Event]:
        """Yield what the ranks tell (with their number under ``rank``) until all have ended well.

        At least every 0.05 s there is an event; one of kind ``tick`` says nothing.

        Raises:
            WorkbenchError: a rank failed: what it told, or what killed it.
        """
        while len(self._statuses) < self._world or self._pipes:
            yield from self._wait(_TICK_SECONDS)
            yield {"kind": "tick"}
            if self._reports or any(self._statuses.values()):
                raise self._explain()
            self._look_for_stopped()

    # -- starting and listening -------------------------------------------------------------------

    def _start(self, rank: int) -> None:
        order: RankOrder = {
            "kind": self._kind, "job": str(self._job), "rank": rank, "world": self._world,
            "threads": self._threads, "store": str(self._job.with_name("store")),
        }  # fmt: skip
        read, write = os.pipe()
        try:
            self._forks.start(
                rank, "workbench.train.rank:rank_process", order,
                name=f"wb-rank-{rank}", log=self._log(rank), events=write,
            )  # fmt: skip
        finally:
            os.close(write)
        self._pipes[rank] = read
        self._unread[rank] = b""
        self._selector.register(read, selectors.EVENT_READ, rank)

    def _log(self, rank: int) -> Path:
        return self._job.with_name(f"rank-{rank}.log")

    def _wait(self, seconds: float) -> Iterator[Event]:
        for key, _ in self._selector.select(seconds):
            if key.data is not None:
                yield from self._hear_rank(key.data)
            else:
                self._hear_zygote()

    def _hear_zygote(self) -> None:
        """Note which rank ended.

        Raises:
            ResourceError: the zygote itself is gone, and all ranks with it.
        """
        try:
            message = self._forks.receive()
        except ZygoteGone as error:
            raise _explain_zygote() from error
        if "exited" in message:
            self._statuses[message["exited"]] = message["status"]

    def _hear_rank(self, rank: int) -> Iterator[Event]:
        content = os.read(self._pipes[rank], _MOST_BYTES)
        if not content:
            self._selector.unregister(self._pipes[rank])
            os.close(self._pipes.pop(rank))
            return
        *lines, self._unread[rank] = (self._unread[rank] + content).split(b"\n")
        for line in lines:
            event: Event = {**json.loads(line), "rank": rank}
            if event["kind"] == "started":
                self._pids[rank] = event["pid"]
            if event["kind"] in ("error", "lost-peer"):
                self._reports[rank] = event
            else:
                yield event

    def _look_for_stopped(self) -> None:
        """See that no process stands still: the others would wait for it for minutes.

        Raises:
            ResourceError: one does.
        """
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        places = {pid: f"rank {rank}" for rank, pid in self._pids.items()
                  if rank not in self._statuses}  # fmt: skip
        if self._forks.zygote is not None:
            places[self._forks.zygote] = "the process that starts ranks"
        for pid in self._stopped.look(places):
            raise ResourceError(
                f"{places[pid][0].upper()}{places[pid][1:]} stands still: somebody stopped it",
                where=f"{places[pid]}, process {pid}",
                next_step="Resume the run: it goes on from its last checkpoint.",
                cause=Cause.STALLED,
            )

    # -- ending -----------------------------------------------------------------------------------

    def _kill(self) -> None:
        """End the ranks that still run, and hear of each that it has."""
        if len(self._statuses) == self._world:
            return
        try:
            self._forks.kill()
            self._await_deaths()
        except (ZygoteGone, TimeoutError, WorkbenchError):
            if self._forks.zygote is not None:  # its ranks die with it
                with suppress(ProcessLookupError):
                    os.kill(self._forks.zygote, signal.SIGKILL)

    def _await_deaths(self) -> None:
        end = time.monotonic() + _DEATH_SECONDS
        while len(self._statuses) < self._world:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("ranks do not die")
            list(self._wait(left))

    def _explain(self) -> WorkbenchError:
        """Find the rank that is to blame: the others only lost a peer."""
        end = time.monotonic() + _GRACE_SECONDS
        while (left := end - time.monotonic()) > 0 and len(self._statuses) < self._world:
            list(self._wait(left))
        for report in self._reports.values():
            if report["kind"] == "error":
                return error_from_json(report["error"])
        killed = [rank for rank, status in sorted(self._statuses.items()) if status < 0]
        if killed:
            return self._explain_signal(killed[0], -self._statuses[killed[0]])
        rank = min((r for r, status in self._statuses.items() if status), default=0)
        return StageError(f"Rank {rank} ended without a word", where=f"rank {rank}",
                          next_step="Read its output in the detail of this error.",
                          detail=self._tail(rank))  # fmt: skip

    def _explain_signal(self, rank: int, number: int) -> WorkbenchError:
        if number == signal.SIGKILL and _num_oom_kills() > self._oom_kills:
            return out_of_memory(f"rank {rank}", detail=self._tail(rank))
        name = signal.Signals(number).name
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            return ResourceError(
                f"Rank {rank} was killed ({name})",
                where=f"rank {rank}",
                next_step="Resume the run: it goes on from its last checkpoint.",
                detail=self._tail(rank),
                cause=Cause.RANK_KILLED,
            )
        return StageError(
            f"Rank {rank} crashed in native code ({name})",
            where=f"rank {rank}",
            next_step="Read the detail for the place; precision float32 avoids some crashes.",
            detail=self._tail(rank),
        )

    def _tail(self, rank: int) -> str:
        log = self._log(rank)
        return log.read_text(errors="replace")[-_LOG_TAIL:] if log.exists() else ""


def _explain_zygote() -> ResourceError:
    return ResourceError(
        "The process that starts ranks was ended",
        where="the zygote of ranks",
        next_step="Resume the run; if it happens again, give the machine more memory, and read "
        "daemon.log.",
        cause=Cause.RANK_KILLED,
    )


def rank_zygote(threads: int) -> ZygoteSettings:
    """Return what the zygote of ranks with so many threads loads; it keeps about 300 MB."""
    return ZygoteSettings(
        f"wb-ranks-{threads}",
        warm=_WARM,
        idle_seconds=_IDLE_SECONDS,
        environment=_environment(threads),
    )


def _environment(threads: int) -> dict[str, str]:
    return {
        **thread_variables(threads),
        # Keep freed memory and take huge pages: a step frees and takes the same large blocks over
        # and over, and giving them back to the kernel each time costs a third of the speed.
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
        "MALLOC_TOP_PAD_": str(64 << 20),
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }


def _num_oom_kills() -> int:
    """Return how often the kernel has killed for memory in this control group; 0 if not told."""
    for path in (_cgroup() / "memory.events", Path("/sys/fs/cgroup/memory.events")):
        if path.exists():
            counts = dict(line.split() for line in path.read_text().splitlines())
            return int(counts.get("oom_kill", 0))
    return 0


def _cgroup() -> Path:
    own = Path("/proc/self/cgroup")
    lines = own.read_text().splitlines() if own.exists() else []
    unified = next((line[3:] for line in lines if line.startswith("0::")), "/")
    return Path("/sys/fs/cgroup") / unified.lstrip("/")
