"""The agent: the one process of a pool on a host, and the parent of all that works there.

``python -m workbench.pool.agent --workspace FOLDER --name NAME --slots N`` is what a provider
starts on a host. It finds the daemon by the workspace's folder, which every host of a pool sees,
reports to it what it has and is told what it should have. Attempts and their helpers are forked
from a zygote; for ranks it keeps others, which have torch loaded.

A daemon that dies is not noticed by what works here: the agent goes on, and (with ``--home``, on
the daemon's own host) starts the next daemon. Only when its lease has lapsed does it end
everything: from then on the daemon may give the same runs to others.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import secrets
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workbench import __version__
from workbench.core.client import Client, Endpoint
from workbench.core.daemon_process import (
    FileEndpoint,
)
from workbench.core.errors import WorkbenchError
from workbench.core.locks import sole_process
from workbench.pool.addresses import LOOPBACK, address_towards
from workbench.pool.attempt_zygote import attempt_zygote, threads_per_slot
from workbench.pool.dask_mirror import DaskMirror, GuestMirror, Mirror, NoMirror
from workbench.pool.forks import (
    Forks,
    ZygoteDoor,
    ZygoteGone,
    remove_runtime_folder,
    runtime_folder,
)
from workbench.pool.holdings import Answer, Holdings, Order, agent_lock, agent_of
from workbench.pool.home import DaemonWatch, HomeEndpoint
from workbench.pool.kept_memory import NO_MEMORY, KeptMemory
from workbench.pool.lease import LEASE, Lease
from workbench.pool.process import end_process
from workbench.pool.stopped import StoppedProcesses, descendants
from workbench.pool.zygote import MOST_BYTES, ZygoteSettings

LOG = logging.getLogger("workbench.agent")
_LOOK_SECONDS = 0.5
_AGAIN_SECONDS = 0.1
_ANSWER_SECONDS = LEASE.report + 6.0
_FEW = 5  # answers that say the same
_LEAVE_SECONDS = 10.0  # for an attempt that has told how it ended, to end
_MOVE_SECONDS = 25.0  # for runs to move from a host that leaves; Slurm gives it 30


class Agent:
    """What works on this host, kept in step with what the daemon wants."""

    def __init__(
        self,
        root: Path,
        name: str,
        num_slots: int,
        *,
        is_home: bool = False,
        mirror: Mirror | None = None,
        host_lives: int | None = None,
    ) -> None:
        """Prepare to work; ``host_lives`` is a pipe that ends with the process to outlive never."""
        self._root = root
        self._host_lives = host_lives
        self._name = name
        self._num_slots = num_slots
        self._here = LOOPBACK  # this host's address, as the daemon is reached from it
        self._incarnation = secrets.token_hex(8)
        endpoint: Endpoint = HomeEndpoint(root) if is_home else FileEndpoint(root)
        # Where a cable was out for a while, a new connection speaks sooner than the old one.
        self._client = Client(endpoint, patience_seconds=0.0, answer_seconds=_ANSWER_SECONDS)
        self._spoken = threading.local()  # the daemon that each thread has spoken with
        self._daemon_watch = DaemonWatch(root) if is_home else None
        # On its own host a daemon reads the same clock, and a lid that was closed stops both.
        self._clock = time.monotonic if is_home else _clock_of_hosts
        self._lease = Lease(self._clock())
        self._holdings = Holdings()
        self._num_repeated = 0
        self._num_sent = 0
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[tuple[float, int, Answer]] = queue.SimpleQueue()
        self._woken, self._wake = os.pipe()
        self._news = threading.Event()
        self._stopping = False
        self._leave_by: float | None = None
        self._stopped = StoppedProcesses()
        self._looked_at = 0.0
        self._dask = mirror or NoMirror()
        self._widths: dict[str, int] = {}  # slots here of each attempt
        self._folder = runtime_folder()
        self._doors: dict[str, ZygoteDoor] = {}
        self._memory = KeptMemory()
        self._attempts = ZygoteDoor(self._folder, attempt_zygote(num_slots))
        self._forks: Forks | None = None
        self._numbers: dict[int, str] = {}  # the key of each child
        self._pids: dict[int, int] = {}
        self._leaving: dict[int, float] = {}  # children that should have ended by then
        self._next_number = 0
        self._selector = selectors.DefaultSelector()
        self._askers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._askers.bind(str(self._folder / "agent"))
        self._askers.listen()

    def work(self) -> None:
        """Work until the daemon takes the pool down, or is gone for too long."""
        os.set_blocking(self._wake, False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._selector.register(self._askers, selectors.EVENT_READ, None)
        if self._host_lives is not None:
            self._selector.register(self._host_lives, selectors.EVENT_READ, None)
        self._ensure_attempts()
        self._find_daemon()
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._tell, daemon=True).start()
        try:
            while not self._stopping:
                for key, _ in self._selector.select(_LOOK_SECONDS):
                    self._answer(key.fileobj)
                self._look()
        finally:
            self._end()

    def ask_to_stop(self) -> None:
        """Have ``work`` end; safe in a signal handler."""
        self._stopping = True
        self._ring()

    def ask_to_leave(self) -> None:
        """Have the runs move away, then ``work`` end; safe in a signal handler.

        A queueing system says so before it takes a host back.
        """
        self._leave_by = self._leave_by or time.monotonic() + _MOVE_SECONDS
        self._news.set()

    def _ring(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake, b"!")

    # -- the daemon -------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Ask what to do, again and again; an answer is held back until there is one."""
        while not self._stopping:
            if not self._exchange(LEASE.report) or self._num_repeated > _FEW:
                time.sleep(_AGAIN_SECONDS)

    def _tell(self) -> None:
        """Tell at once what has ended: the listener may be waiting for an answer."""
        while not self._stopping:
            self._news.wait()
            self._news.clear()
            while not self._exchange(0.0) and not self._stopping:
                time.sleep(_AGAIN_SECONDS)

    def _exchange(self, wait: float) -> bool:
        with self._lock:
            has = self._holdings.report()
            sent = self._num_sent = self._num_sent + 1
        report = {
            "incarnation": self._incarnation, "host": socket.gethostname(), "pid": os.getpid(),
            "num_slots": self._num_slots, "version": __version__, "has": has, "wait": wait,
            "leaving": self._leave_by is not None,
        }  # fmt: skip
        sent_at = self._clock()
        self._find_daemon()
        try:
            answer = self._client.post(f"/agents/{self._name}/exchange", report)
        except WorkbenchError as error:
            LOG.debug("%s", error)
            return False
        self._answers.put((sent_at, sent, Answer.from_json(answer)))
        self._ring()
        return True

    def _find_daemon(self) -> None:
        """Note where the daemon is, and by which address this host is known to the others.

        Another one may have taken over from one that still answers.
        """
        with suppress(OSError, ValueError, TypeError, LookupError):  # there is none at the moment
            url = FileEndpoint(self._root).locate().url
            if url != self._spoken.__dict__.setdefault("url", url):
                self._client.close()
                self._spoken.url = url
            self._here = address_towards(urlsplit(url).hostname or LOOPBACK)

    # -- the loop ---------------------------------------------------------------------------------

    def _answer(self, source: Any) -> None:
        if self._host_lives is not None and source == self._host_lives:
            self._stopping = not os.read(self._host_lives, MOST_BYTES)
        elif source == self._woken:
            os.read(self._woken, MOST_BYTES)
            while not self._answers.empty():
                self._obey(*self._answers.get())
        elif source is self._forks:
            self._hear_zygote()
        elif source is self._askers:
            connection, _ = self._askers.accept()
            self._selector.register(connection, selectors.EVENT_READ, None)
        else:
            self._open_door(source)

    def _obey(self, sent_at: float, sent: int, answer: Answer) -> None:
        self._lease.renew(sent_at)
        if answer.stop:
            self._stopping = True
            return
        with self._lock:
            start, kill, let_go = self._holdings.take(answer, sent)
        # What is answered at once, again and again, is not done yet: a process that does not die.
        is_new = bool(start or let_go) or not answer.says_something
        self._num_repeated = 0 if is_new else self._num_repeated + 1
        for key, order in start.items():
            self._start(key, order)
        numbers = {key: number for number, key in self._numbers.items()}
        # The zygote, and all it had forked, may have died while it was asked for these.
        for key in numbers.keys() & let_go:
            self._leaving[numbers[key]] = time.monotonic() + _LEAVE_SECONDS
        for key in numbers.keys() & kill:
            self._kill(numbers[key])

    def _look(self) -> None:
        """See that what should live lives and moves, and what should end does."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        if self._lease.has_lapsed(self._clock()):
            LOG.warning("no daemon has answered for %g s: everything is ended", LEASE.length)
            self._stopping = True
            return
        is_late = self._leave_by is not None and now > self._leave_by
        if is_late or not self._root.exists():  # or the workspace was deleted
            self._stopping = True
            return
        zygotes = [door.pid for door in (self._attempts, *self._doors.values()) if door.pid]
        # What an attempt has started counts too: it waits for a kernel that stands still for ever.
        below = [pid for attempt in self._pids.values() for pid in descendants(attempt)]
        mine = [*zygotes, *self._dask.pids()]
        for pid in self._stopped.look([*mine, *self._pids.values(), *below]):
            LOG.warning("process %d stands still: somebody stopped it; it is ended", pid)
            end_process(pid)
        for number in [number for number, end in self._leaving.items() if now > end]:
            self._kill(number)
        if self._daemon_watch is not None:
            self._daemon_watch.look()
        self._memory.look({key.split("/")[0] for key in self._numbers.values()}, now)
        self._dask.look(self._widths, self._here)
        self._ensure_attempts()
        for door in self._doors.values():
            door.attend()

    # -- processes --------------------------------------------------------------------------------

    def _ensure_attempts(self) -> None:
        self._attempts.ensure()
        if self._forks is None:
            self._forks = Forks(self._attempts.path)
            self._selector.register(self._forks, selectors.EVENT_READ, None)

    def _start(self, key: str, order: Order) -> None:
        self._ensure_attempts()
        assert self._forks is not None
        number = self._next_number = self._next_number + 1
        self._numbers[number] = key
        slots = order["argument"].get("slots", [])
        width = sum(agent_of(slot) == self._name for slot in slots)
        if width:
            self._widths[key] = width
        argument = {
            **order["argument"],
            "agent": str(self._folder / "agent"),
            "here": self._here,
            "threads_per_worker": threads_per_slot(self._num_slots),
        }
        try:
            self._forks.start(number, order["call"], argument, name=order["name"])
        except ZygoteGone:
            self._lose_zygote()

    def _kill(self, number: int) -> None:
        if self._forks is not None:
            try:
                self._forks.kill(number)
            except ZygoteGone:
                self._lose_zygote()

    def _hear_zygote(self) -> None:
        assert self._forks is not None
        try:
            message = self._forks.receive()
        except ZygoteGone:
            self._lose_zygote()
            return
        if "started" in message:
            self._pids[message["started"]] = message["pid"]
        elif "exited" in message:
            self._note_end(message["exited"], message["status"])

    def _lose_zygote(self) -> None:
        """All of its children died with it; the next one comes at once."""
        if self._forks is not None:
            self._selector.unregister(self._forks)
            self._forks.close()
            self._forks = None
        for number in list(self._numbers):
            self._note_end(number, -signal.SIGKILL)
        self._ensure_attempts()

    def _note_end(self, number: int, status: int) -> None:
        self._pids.pop(number, None)
        self._leaving.pop(number, None)
        key = self._numbers.pop(number)
        self._widths.pop(key, None)
        with self._lock:
            self._holdings.ended(key, status)
        self._news.set()

    def _open_door(self, connection: socket.socket) -> None:
        """Tell an attempt where a zygote of its kind is, after starting one if there is none.

        Or give it memory that outlives it.
        """
        content = b""
        with suppress(OSError):
            content = connection.recv(MOST_BYTES)
        if not content:
            self._selector.unregister(connection)
            connection.close()
            return
        message = json.loads(content)
        if "memory" in message:
            try:
                self._memory.answer(connection, message["memory"], time.monotonic())
            except OSError:  # there is no more of it: the ranks keep what they have for themselves
                with suppress(OSError):  # or who asked has gone
                    connection.send(NO_MEMORY)
            return
        settings = ZygoteSettings.from_json(content.decode())
        door = self._doors.get(settings.to_json())
        if door is None:
            door = self._doors[settings.to_json()] = ZygoteDoor(self._folder, settings)
        door.ensure()
        with suppress(OSError):
            connection.send(door.path.encode())

    def _end(self) -> None:
        """End everything at once: what is not finished goes on elsewhere from its checkpoints."""
        self._stopping = True
        self._news.set()
        self._dask.close()
        for door in (self._attempts, *self._doors.values()):
            door.close()
        self._askers.close()
        remove_runtime_folder(self._folder)


def _clock_of_hosts() -> float:
    """Return a clock that goes on while the host sleeps: its lease lapses meanwhile."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time()


def main() -> int:
    """Be the agent of a host until the pool is taken down."""
    parser = argparse.ArgumentParser(prog="workbench.pool.agent", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--home", action="store_true", help="on the daemon's own host")
    parser.add_argument(
        "--dask", choices=("own", "none", "guest"), default="own",
        help="have Dask processes; or none; or be in a Dask worker: end with standard input, and "
        "write to standard output what is busy",
    )  # fmt: skip
    parser.add_argument("--leave", action="store_true",
                        help="have the runs move away before ending at SIGTERM")  # fmt: skip
    # Of a Dask worker's command line, where a queueing system starts the agent in its place.
    parser.add_argument("scheduler", nargs="?", help=argparse.SUPPRESS)
    given, _ = parser.parse_known_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("workbench").setLevel(logging.INFO)
    if not given.workspace.is_dir():
        LOG.error("%s: this host does not see the workspace %s; every host of a pool needs it at "
                  "the same place, for instance on a network disk",
                  socket.gethostname(), given.workspace)  # fmt: skip
        return 1
    with sole_process(agent_lock(given.workspace, given.name)) as is_sole:
        if not is_sole:
            return 0  # there is one of this name already
        agent = Agent(
            given.workspace, given.name, given.slots, is_home=given.home,
            mirror=_mirror(given), host_lives=0 if given.dask == "guest" else None,
        )  # fmt: skip
        end = agent.ask_to_leave if given.leave else agent.ask_to_stop
        signal.signal(signal.SIGTERM, lambda *_: end())
        agent.work()
    return 0


def _mirror(given: argparse.Namespace) -> Mirror:
    if given.dask == "own":
        return DaskMirror(given.workspace, given.name, given.slots, is_home=given.home)
    if given.dask == "none":
        return NoMirror()
    told = os.dup(1)  # what the agent starts prints where it prints itself
    os.dup2(2, 1)
    return GuestMirror(told)


if __name__ == "__main__":
    sys.exit(main())
