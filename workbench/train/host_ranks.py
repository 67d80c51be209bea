"""The ranks of a gang on one host: started there, heard there, and told of wherever the gang is.

What a host tells of its ranks are messages, plain values: ``{"rank": n, "told": event}`` for what
the rank itself says, ``{"rank": n, "silent": true}`` once it says no more, ``{"rank": n, "exited":
status, "log": its end, "oom": whether the kernel killed for memory}``, ``{"stopped": process, "of":
its name}`` for one that was stopped, ``{"stalled": rank, "seconds": for how long, "phase": where,
"log": its end}`` for one that gets nowhere, and ``{"lost": why}`` when the host can tell no more.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from workbench.models.folder import read_json
from workbench.pool.forks import Forks, ZygoteGone, zygote_at_hand
from workbench.pool.process import thread_variables
from workbench.pool.stopped import StoppedProcesses, is_held
from workbench.pool.zygote import ZygoteSettings
from workbench.train.memories import RankMemories
from workbench.train.pulse import Pulses, Stall
from workbench.train.rank import TELL_WHERE, RankOrder

Message = dict[str, Any]

_LOOK_SECONDS = 0.5  # between two looks for processes that stand still; also between two signs
_SILENT_SECONDS = 5.0  # without a sign of life, the other host is out of reach
_AGAIN_SECONDS = 0.005
_DEATH_SECONDS = 2.0  # SIGKILL ends a process at once, unless the kernel is busy for it
_MOST_BYTES = 65_536
_LOG_TAIL = 4_000
_IDLE_SECONDS = 600.0
_WARM = (
    "torch", "torch.distributed", "safetensors.torch", "tokenizers", "transformers",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
    "workbench.train.loop", "workbench.train.rank", "workbench.train.ranks",
    "workbench.train.score",
)  # fmt: skip
_ZYGOTE_GONE = "the process that starts ranks was ended"


class HostRanks(Protocol):
    """The ranks on one host, as their gang sees them."""

    def fileno(self) -> int:
        """Return what can be read from when there may be messages."""

    def messages(self) -> list[Message]:
        """Return what is new; empty if nothing is."""

    def kill(self) -> None:
        """Have all ranks ended that still run."""

    def close(self) -> None:
        """Return once they have."""


class RanksHere:
    """Ranks on this host, forked by its zygote."""

    def __init__(
        self, orders: Iterable[RankOrder], meeting: socket.socket | None = None,
        memories: RankMemories | None = None,
    ) -> None:  # fmt: skip
        """Start the ranks; the first one gets the socket at which all ranks shall meet.

        Each has the memory in which it trains, and that of an earlier rank, if there is any.

        Raises:
            ZygoteGone: they cannot be started.
        """
        self._orders = {order["rank"]: order for order in orders}
        self._pulses = Pulses(list(self._orders), first_only=_is_compiled(self._orders))
        self._stalls: list[Stall] = []  # that were seen, and shall say first where they are
        self._oom_kills = _num_oom_kills()
        threads = next(iter(self._orders.values()))["threads"]
        self._forks = Forks(zygote_at_hand(rank_zygote(threads)))
        self._selector = selectors.DefaultSelector()  # which itself can be waited for
        self._selector.register(self._forks, selectors.EVENT_READ, None)
        self._pipes: dict[int, int] = {}
        self._unread: dict[int, bytes] = {}
        self._pids: dict[int, int] = {}  # of the ranks that have told
        self._running = set(self._orders)
        self._stopped = StoppedProcesses()
        self._looked_at = 0.0
        try:
            for order in self._orders.values():
                extra = memories.descriptors(order["rank"]) if memories else []
                if meeting is not None and order["rank"] == 0:
                    extra = [meeting.fileno()]
                self._start(order, extra)
        except ZygoteGone:
            self.close()
            raise

    def fileno(self) -> int:
        """Return what can be read from when there may be messages."""
        return self._selector.fileno()

    def messages(self) -> list[Message]:
        """Return what is new; call it at least every half second."""
        found: list[Message] = []
        for key, _ in self._selector.select(0):
            found += self._hear_zygote() if key.data is None else self._hear_rank(key.data)
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return found
        self._looked_at = now
        return [*found, *self._look_for_stopped(), *self._look_for_stalled(now)]

    def kill(self) -> None:
        """Have all ranks ended that still run."""
        with suppress(ZygoteGone):  # and all ranks with it
            self._forks.kill()

    def close(self) -> None:
        """End what is left, also by ending the zygote if need be."""
        end = time.monotonic() + _DEATH_SECONDS
        self.kill()
        while self._running and time.monotonic() < end:
            self._selector.select(_LOOK_SECONDS)
            if any("lost" in message for message in self.messages()):
                break
        if self._running and self._forks.zygote is not None:  # its ranks die with it
            with suppress(ProcessLookupError):
                os.kill(self._forks.zygote, signal.SIGKILL)
        self._selector.close()
        for pipe in self._pipes.values():
            os.close(pipe)
        self._pipes.clear()
        self._pulses.close()
        self._forks.close()

    def _start(self, order: RankOrder, extra: list[int]) -> None:
        rank = order["rank"]
        read, write = os.pipe()
        try:
            self._forks.start(
                rank, "workbench.train.rank:rank_process", order,
                name=f"wb-rank-{rank}", log=_log_of(order),
                descriptors=[write, self._pulses.descriptor, *extra],
            )  # fmt: skip
        finally:
            os.close(write)
        self._pipes[rank] = read
        self._unread[rank] = b""
        self._selector.register(read, selectors.EVENT_READ, rank)

    def _hear_zygote(self) -> list[Message]:
        try:
            message = self._forks.receive()
        except ZygoteGone:
            self._selector.unregister(self._forks)
            self._running.clear()
            return [{"lost": _ZYGOTE_GONE}]
        if "exited" not in message:
            return []
        rank, status = message["exited"], message["status"]
        self._running.discard(rank)
        return [{
            "rank": rank, "exited": status, "log": _end_of(_log_of(self._orders[rank])),
            "oom": _num_oom_kills() > self._oom_kills,
        }]  # fmt: skip

    def _hear_rank(self, rank: int) -> list[Message]:
        content = os.read(self._pipes[rank], _MOST_BYTES)
        if not content:
            self._selector.unregister(self._pipes[rank])
            os.close(self._pipes.pop(rank))
            return [{"rank": rank, "silent": True}]
        *lines, self._unread[rank] = (self._unread[rank] + content).split(b"\n")
        events = [json.loads(line) for line in lines]
        for event in events:
            if event["kind"] == "started":
                self._pids[rank] = event["pid"]
        return [{"rank": rank, "told": event} for event in events]

    def _look_for_stopped(self) -> list[Message]:
        """See that nobody has stopped a process: the others would wait for it for minutes."""
        places = {pid: f"rank {rank}" for rank, pid in self._pids.items() if rank in self._running}
        if self._forks.zygote is not None:
            places[self._forks.zygote] = "the process that starts ranks"
        return [{"stopped": pid, "of": places[pid]} for pid in self._stopped.look(places)]

    def _look_for_stalled(self, now: float) -> list[Message]:
        """See that the ranks get on; one that does not has told where it is by the next look."""
        told = [
            {
                "stalled": stall.rank, "seconds": round(stall.seconds), "phase": stall.phase,
                "log": _end_of(_log_of(self._orders[stall.rank])),
            }
            for stall in self._stalls
        ]  # fmt: skip
        at_work = [rank for rank in self._pids if rank in self._running]
        self._stalls = self._pulses.look(now, at_work) if not told else []
        for stall in list(self._stalls):
            if is_held(self._pids[stall.rank]):  # by a debugger
                self._pulses.excuse(now, stall.rank)
                self._stalls.remove(stall)
            else:
                with suppress(ProcessLookupError):
                    os.kill(self._pids[stall.rank], TELL_WHERE)
        return told


class RanksElsewhere:
    """Ranks on another host, told of by ``serve_ranks`` there."""

    def __init__(self, host: str, connection: socket.socket) -> None:
        self._host = host
        self._line = _Line(connection)
        self._heard_at = time.monotonic()
        self._closing = threading.Event()
        threading.Thread(target=self._give_signs, name=f"signs to {host}", daemon=True).start()

    def fileno(self) -> int:
        """Return what can be read from when there may be messages."""
        return self._line.fileno()

    def messages(self) -> list[Message]:
        """Return what is new; empty if nothing is."""
        try:
            found = self._line.receive()
        except (OSError, EOFError):
            return [{"lost": f"the host {self._host} is out of reach"}]
        if found:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > _SILENT_SECONDS:
            return [{"lost": f"the host {self._host} has been silent for {_SILENT_SECONDS:g} s"}]
        return [message for message in found if message]

    def kill(self) -> None:
        """Have all ranks ended that still run."""
        with suppress(OSError):  # the other side sees that nobody is there, and ends them
            self._line.send({"kill": True})

    def close(self) -> None:
        """Return once they have, or the other side takes too long to say so."""
        self._closing.set()
        end = time.monotonic() + _DEATH_SECONDS
        with suppress(OSError, EOFError):
            while time.monotonic() < end:
                self._line.receive()
                time.sleep(_AGAIN_SECONDS)
        self._line.close()

    def _give_signs(self) -> None:
        """Tell the other side that this one lives, also while a large checkpoint is written."""
        with suppress(OSError):  # noticed where messages are read
            while not self._closing.wait(_LOOK_SECONDS):
                self._line.send({})


def serve_ranks(connection: socket.socket, orders: list[RankOrder]) -> None:
    """Start ranks on this host and tell of them, as long as the other side is there."""
    line = _Line(connection)
    try:
        ranks = RanksHere(orders)
    except ZygoteGone:
        line.send({"lost": _ZYGOTE_GONE})
        return
    heard_at, signed_at = time.monotonic(), 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(ranks, selectors.EVENT_READ)
        selector.register(line, selectors.EVENT_READ)
        try:
            while time.monotonic() - heard_at < _SILENT_SECONDS:
                selector.select(_LOOK_SECONDS)
                now = time.monotonic()
                heard = line.receive()
                heard_at = now if heard else heard_at
                if any("kill" in message for message in heard):
                    return
                found = ranks.messages()
                if not found and now - signed_at > _LOOK_SECONDS:
                    found = [{}]
                for message in found:
                    line.send(message)
                    signed_at = now
        except (OSError, EOFError):
            return  # whoever had asked for them is gone
        finally:
            ranks.close()


class _Line:
    """A connection that carries messages as lines of JSON, and is read without waiting."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""
        self._lock = threading.Lock()  # TLS cannot be read and written to at the same time

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: the other side is gone, or takes nothing any more.
        """
        with self._lock:
            self._connection.settimeout(_SILENT_SECONDS)
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[Message]:
        """Return what has come.

        Raises:
            OSError, EOFError: the other side is gone.
        """
        with self._lock, suppress(BlockingIOError, ssl.SSLWantReadError):
            self._connection.settimeout(0)
            while True:  # until nothing is left: TLS keeps what no selector sees
                content = self._connection.recv(_MOST_BYTES)
                if not content:
                    raise EOFError("the other side has gone")
                self._unread += content
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self._connection.close()


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


def _is_compiled(orders: Mapping[int, RankOrder]) -> bool:
    """Whether the ranks compile their model: any new shape of its inputs may take minutes then."""
    job = read_json(Path(next(iter(orders.values()))["job"]))
    return bool(job.get("options", {}).get("compile"))


def _log_of(order: RankOrder) -> Path:
    return Path(order["job"]).with_name(f"rank-{order['rank']}.log")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-_LOG_TAIL:] if log.exists() else ""


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
