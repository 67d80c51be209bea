"""A process that has loaded what others need once, and forks them in milliseconds.

Loading torch and transformers takes 4 to 5 s of processor time, the stages alone half a second; a
fork takes milliseconds, and its memory is shared until it is written to.

Forking is safe only while a process has one thread: the zygote looks before each fork, and where
it finds more (a site hook may start one) it starts the child as a fresh process instead.

It listens at a socket that its owner has opened. Who connects is told ``{"zygote": pid}`` and sends
orders: ``{"start": id, "call": "module:function", "log": file or null, "name": text}`` with
descriptors: a file with the function's argument as JSON, and those that the function gets.
The answers are ``{"started": id, "pid": n}`` and ``{"exited": id, "status": n}``.
``{"kill": id}`` ends a child with all that it has started. Children end with the connection that
asked for them, with the zygote, and the zygote with its owner, however each of these happens.
"""

from __future__ import annotations

import gc
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from workbench.core.registry import STAGE_GROUP
from workbench.pool.process import die_with_parent, kill_group, name_process

MOST_BYTES = 65_536  # of one message
MOST_DESCRIPTORS = 16  # with one message; the kernel drops those for which there is no room
_CALM_SECONDS = 0.3  # without a message, before the zygote learns
_FEW_BYTES = 1 << 20  # of a pipe: what a child has loaded must fit
_PIPE_SIZE_COMMAND = 1031  # F_SETPIPE_SZ, which Python 3.9 and older do not name


@dataclass(frozen=True)
class ZygoteSettings:
    """What a zygote loads, and with which environment it begins.

    ``warm`` names modules, or ``module:function`` to be called as well: what it keeps for later
    calls, children have. With ``stages`` it loads the stages of every installed package. Of the
    packages in ``learns`` it loads, when nobody waits, the modules that its children had to load:
    the next ones have them.
    """

    name: str
    warm: tuple[str, ...] = ()
    stages: bool = False
    learns: tuple[str, ...] = ()
    idle_seconds: float | None = None  # without a child, before it ends; none: never
    environment: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the settings as text; equal settings give equal text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ZygoteSettings:
        """Read what ``to_json`` wrote."""
        values = json.loads(text)
        lists = {name: tuple(values[name]) for name in ("warm", "learns")}
        return cls(**{**values, **lists})


@dataclass
class _Child:
    connection: socket.socket
    order: int
    loaded: int  # the pipe in which it tells what it had loaded


class Zygote:
    """Serves its connections until its owner is gone, or nothing was asked for long."""

    def __init__(self, door: socket.socket, settings: ZygoteSettings) -> None:
        self._door = door
        self._settings = settings
        self._children: dict[int, _Child] = {}
        self._to_learn: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe()

    def serve(self) -> None:
        """Load, then obey."""
        self._load()
        gc.freeze()  # a collection in a child would else write to every shared page
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake)
        self._selector.register(self._door, selectors.EVENT_READ, None)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        while True:
            ready = self._selector.select(self._patience())
            if not ready and not self._learn_one() and self._is_idle():
                return
            for key, _ in ready:
                self._answer(key.fileobj)

    def _is_idle(self) -> bool:
        return not self._children and self._settings.idle_seconds is not None

    def _patience(self) -> float | None:
        if self._to_learn:
            return _CALM_SECONDS
        return None if self._children else self._settings.idle_seconds

    def _load(self) -> None:
        for entry in self._settings.warm:
            module, _, function = entry.partition(":")
            loaded = import_module(module)
            if function:
                getattr(loaded, function)()
        if self._settings.stages:
            for stage in entry_points(group=STAGE_GROUP):
                with suppress(Exception):  # a broken package's own runs tell what is wrong
                    stage.load()

    def _learn_one(self) -> bool:
        """Load the next module that children needed; return whether there was one."""
        while self._to_learn:
            module = self._to_learn.pop(0)
            if module not in sys.modules:
                with suppress(Exception):  # whatever a child could do about it, this one need not
                    import_module(module)
                if not self._to_learn:
                    gc.freeze()
                return True
        return False

    # -- connections ------------------------------------------------------------------------------

    def _answer(self, source: Any) -> None:
        if source is self._door:
            connection, _ = self._door.accept()
            self._selector.register(connection, selectors.EVENT_READ, connection)
            _tell(connection, {"zygote": os.getpid()})
        elif source == self._woken:
            os.read(self._woken, MOST_BYTES)
            self._reap()
        else:
            self._obey(source)

    def _obey(self, connection: socket.socket) -> None:
        try:
            content, descriptors, _, _ = socket.recv_fds(connection, MOST_BYTES, MOST_DESCRIPTORS)
        except OSError:
            content, descriptors = b"", []
        if not content:
            self._end_connection(connection)
            return
        message = json.loads(content)
        try:
            if "kill" in message:
                for pid in self._pids(connection, message["kill"]):
                    kill_group(pid)
            else:
                self._start(connection, message, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _pids(self, connection: socket.socket, order: int | None) -> list[int]:
        """Return the children of a connection: one of them, or all."""
        return [
            pid for pid, child in self._children.items()
            if child.connection is connection and order in (None, child.order)
        ]  # fmt: skip

    def _end_connection(self, connection: socket.socket) -> None:
        for pid in self._pids(connection, None):
            kill_group(pid)
        self._selector.unregister(connection)
        connection.close()

    # -- children ---------------------------------------------------------------------------------

    def _start(
        self, connection: socket.socket, message: dict[str, Any], descriptors: list[int]
    ) -> None:
        loaded, loads = os.pipe()
        os.set_blocking(loaded, False)
        os.set_blocking(loads, False)
        pid = self._fork_or_spawn(message, descriptors, loads)
        os.close(loads)
        self._children[pid] = _Child(connection, message["start"], loaded)
        _tell(connection, {"started": message["start"], "pid": pid})

    def _fork_or_spawn(self, message: dict[str, Any], descriptors: list[int], loads: int) -> int:
        if _num_threads() > 1:
            command = [
                sys.executable, "-m", "workbench.pool.zygote", "--child", str(os.getpid()),
                json.dumps(message), *map(str, descriptors),
            ]  # fmt: skip
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=descriptors, start_new_session=True
            ).pid
        parent = os.getpid()
        pid = os.fork()
        if pid:
            with suppress(OSError):  # both sides do it: whoever comes first
                os.setpgid(pid, pid)
            return pid
        status = 1
        try:
            self._become_child()
            before = set(sys.modules)
            status = run_child(parent, message, descriptors, forked=True)
            _tell_loaded(loads, before, self._settings.learns)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # never back into this loop, never through its exit handlers
        raise AssertionError("a child has left its function")

    def _become_child(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        self._selector.close()
        os.close(self._wake)
        for child in self._children.values():
            os.close(child.loaded)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        random.seed()  # else every child would draw the same numbers
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue
            self._note_loaded(child.loaded)
            if child.connection.fileno() >= 0:
                exited = {"exited": child.order, "status": os.waitstatus_to_exitcode(status)}
                _tell(child.connection, exited)

    def _note_loaded(self, pipe: int) -> None:
        content = b""
        with suppress(BlockingIOError):
            while part := os.read(pipe, MOST_BYTES):
                content += part
        os.close(pipe)
        known = {*self._to_learn, *sys.modules}
        self._to_learn += [name for name in content.decode().split("\n")[:-1] if name not in known]


def run_child(parent: int, message: dict[str, Any], descriptors: list[int], *, forked: bool) -> int:
    """Do in this process what an order says; return the exit status."""
    die_with_parent(parent)
    name_process(message["name"])
    if message["log"]:
        log = os.open(message["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
    with os.fdopen(descriptors[0], "rb") as stream:
        argument = json.load(stream)
    module, _, function = message["call"].partition(":")
    called = getattr(import_module(module), function)
    return int(called(argument, descriptors[1:], forked=forked) or 0)


def _tell_loaded(pipe: int, before: set[str], learns: tuple[str, ...]) -> None:
    """Tell the zygote what this child had to load, in the order in which it did."""
    names = [n for n in list(sys.modules) if n not in before and n.partition(".")[0] in learns]
    text = "".join(f"{name}\n" for name in names).encode()
    if text and sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # what does not fit is not told: it is only for speed
            fcntl.fcntl(pipe, _PIPE_SIZE_COMMAND, min(_FEW_BYTES, max(4096, len(text))))
    with suppress(BlockingIOError):
        os.write(pipe, text)


def _tell(connection: socket.socket, message: dict[str, Any]) -> None:
    with suppress(OSError):  # who has gone is noticed where it is read from
        connection.send(json.dumps(message).encode())


def _num_threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 (no Path objects for a count)


def main(arguments: list[str]) -> int:
    """Be a zygote, or (where one cannot fork) one child of it."""
    if arguments[0] == "--child":
        message = json.loads(arguments[2])
        return run_child(int(arguments[1]), message, list(map(int, arguments[3:])), forked=False)
    descriptor, owner, settings = int(arguments[0]), int(arguments[1]), arguments[2]
    die_with_parent(owner)
    loaded = ZygoteSettings.from_json(settings)
    name_process(loaded.name)
    with socket.socket(fileno=descriptor) as door:
        Zygote(door, loaded).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
