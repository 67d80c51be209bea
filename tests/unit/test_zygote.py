"""Zygotes: what they fork gets what it was given, ends with who asked, and is warm."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from killing import is_gone
from live_workspace import wait_until

from workbench.pool.attempt_zygote import attempt_zygote
from workbench.pool.forks import Forks, ZygoteDoor, ZygoteGone, runtime_folder
from workbench.pool.process import thread_variables
from workbench.pool.zygote import MOST_DESCRIPTORS, ZygoteSettings
from workbench.train.host_ranks import rank_zygote

Serve = Callable[[ZygoteSettings], ZygoteDoor]
Connect = Callable[[ZygoteDoor], Forks]
_PATH = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])


def settings_of(**options: Any) -> ZygoteSettings:
    environment = {**thread_variables(1), "PYTHONPATH": _PATH}
    return ZygoteSettings("wb-test", environment=environment, **options)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = runtime_folder()
    yield made
    for path in made.iterdir():
        path.unlink()
    made.rmdir()


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[[ZygoteSettings], ZygoteDoor]]:
    """Offer a function that starts a zygote."""
    with ExitStack() as opened:

        def serve(settings: ZygoteSettings) -> ZygoteDoor:
            own = ZygoteDoor(folder, settings)
            opened.callback(own.close)
            own.ensure()
            return own

        yield serve


@pytest.fixture
def connect() -> Iterator[Callable[[ZygoteDoor], Forks]]:
    """Offer a function that connects with a zygote."""
    with ExitStack() as opened:

        def connect(door: ZygoteDoor) -> Forks:
            own = Forks(door.path)
            opened.callback(own.close)
            return own

        yield connect


@pytest.fixture
def door(serve: Serve) -> ZygoteDoor:
    return serve(settings_of())


@pytest.fixture
def forks(door: ZygoteDoor, connect: Connect) -> Forks:
    return connect(door)


class Child:
    """A child, what it writes, and what is told of it."""

    _numbers = itertools.count(1)

    def __init__(self, forks: Forks, call: str, argument: Any = None, **options: Any) -> None:
        self._forks = forks
        self.number = next(self._numbers)
        self._read, write = os.pipe()
        forks.start(
            self.number, f"forked:{call}", argument, name="wb-child", descriptors=[write], **options
        )
        os.close(write)
        self.pid = self._next("started")["pid"]

    def status(self) -> int:
        return int(self._next("exited")["status"])

    def told(self) -> str:
        """Return all it writes; called once."""
        with os.fdopen(self._read) as stream:
            return stream.read()

    def line(self) -> str:
        return os.read(self._read, 1_000).decode()

    def _next(self, kind: str) -> dict[str, Any]:
        while (message := self._forks.receive()).get(kind) != self.number:
            pass
        return message


@pytest.mark.parametrize("size", [0, 5_000_000])
def test_a_child_gets_its_argument_of_any_size_and_its_status_is_told(
    forks: Forks, size: int
) -> None:
    child = Child(forks, "tell", {"text": "x" * size})
    told = json.loads(child.told())
    assert told["argument"] == {"text": "x" * size}
    assert (told["pid"], told["group"], told["forked"]) == (child.pid, child.pid, True)
    assert told["threads"] == "1"
    assert child.status() == 7


def test_a_child_gets_all_its_descriptors_or_is_refused(forks: Forks) -> None:
    def start(count: int) -> None:
        given = [sys.stderr.fileno()] * count
        forks.start(0, "forked:count_descriptors", None, name="wb-child", descriptors=given)

    start(MOST_DESCRIPTORS - 1)
    while (message := forks.receive()).get("exited") != 0:
        pass
    assert message["status"] == MOST_DESCRIPTORS - 1
    with pytest.raises(ValueError, match="fewer than"):
        start(MOST_DESCRIPTORS)


def test_what_a_child_says_goes_to_its_log_and_its_traceback_too(
    forks: Forks, tmp_path: Path
) -> None:
    child = Child(forks, "fail", "broken", log=tmp_path / "log")
    assert child.status() == 1
    assert "RuntimeError: broken" in (tmp_path / "log").read_text()


def test_a_crash_of_a_child_is_its_own(forks: Forks) -> None:
    assert Child(forks, "crash").status() == -signal.SIGSEGV
    assert Child(forks, "tell").status() == 7


def test_a_killed_child_takes_what_it_had_started_along(forks: Forks) -> None:
    child = Child(forks, "wait_with_child")
    both = [psutil.Process(int(pid)) for pid in child.line().split()]
    forks.kill(child.number)
    assert child.status() == -signal.SIGKILL
    wait_until(lambda: all(map(is_gone, both)), "both are gone")


def test_children_end_with_the_connection_that_asked_for_them(
    door: ZygoteDoor, connect: Connect
) -> None:
    mine, others = connect(door), connect(door)
    ends = psutil.Process(Child(mine, "wait_with_child").pid)
    stays = psutil.Process(Child(others, "wait_with_child").pid)
    mine.close()
    wait_until(lambda: is_gone(ends), "it is gone")
    assert not is_gone(stays)


def test_children_end_with_their_zygote_and_the_next_one_is_behind_the_same_door(
    door: ZygoteDoor, connect: Connect
) -> None:
    forks = connect(door)
    child = psutil.Process(Child(forks, "wait_with_child").pid)
    assert door.pid is not None
    os.kill(door.pid, signal.SIGKILL)
    with pytest.raises(ZygoteGone):
        while True:
            forks.receive()
    wait_until(lambda: is_gone(child), "it is gone")
    wait_until(lambda: door.pid is None, "its end is known")
    door.ensure()
    assert Child(connect(door), "tell").status() == 7


_OWNER = """
import sys, time
from workbench.pool.forks import Forks, ZygoteDoor, runtime_folder
from workbench.pool.zygote import ZygoteSettings
door = ZygoteDoor(runtime_folder(), ZygoteSettings("wb-owned"))
door.ensure()
forks = Forks(door.path)
print(forks.receive()["zygote"], flush=True)
time.sleep(600)
"""


def test_a_zygote_ends_with_its_owner() -> None:
    with subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        zygote = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
        wait_until(lambda: is_gone(zygote), "it is gone")


def test_without_a_zygote_behind_it_a_path_is_refused(folder: Path) -> None:
    with pytest.raises(ZygoteGone):
        Forks(str(folder / "nobody"))


def test_children_draw_numbers_of_their_own(serve: Serve, connect: Connect) -> None:
    forks = connect(serve(settings_of(warm=("numpy",))))
    drawn = [json.loads(Child(forks, "draw").told()) for _ in range(3)]
    assert len({number for numbers in drawn for number in numbers}) == 6


def test_where_forking_is_not_safe_a_child_is_started_as_a_fresh_process(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "threaded_site.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{_PATH}"}
    door = serve(ZygoteSettings("wb-test", ("threaded_site",), environment=environment))
    child = Child(connect(door), "tell", {"a": 1})
    told = json.loads(child.told())
    assert (told["forked"], told["argument"], told["pid"]) == (False, {"a": 1}, child.pid)
    assert child.status() == 7


def test_a_zygote_learns_what_its_children_had_to_load(serve: Serve, connect: Connect) -> None:
    forks = connect(serve(settings_of(learns=("colorsys", "tomllib"))))
    first = Child(forks, "tell")
    assert not {"colorsys", "tomllib._parser", "wave"} & set(json.loads(first.told())["modules"])
    assert Child(forks, "load", ["colorsys", "tomllib._parser", "wave"]).status() == 0

    def has_learnt() -> bool:
        modules = set(json.loads(Child(forks, "tell").told())["modules"])
        assert "wave" not in modules, "only what it may"
        time.sleep(0.4)  # it learns when nobody asks
        return {"colorsys", "tomllib._parser"} <= modules

    wait_until(has_learnt, "the next children have it")


def test_an_idle_zygote_ends(serve: Serve) -> None:
    door = serve(settings_of(idle_seconds=0.2))
    wait_until(lambda: door.pid is None, "it has ended")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [attempt_zygote(2), rank_zygote(1)], ids=lambda s: s.name)
def test_the_zygotes_of_attempts_and_ranks_can_fork(
    serve: Serve, connect: Connect, settings: ZygoteSettings
) -> None:
    """Nothing that they load, or may learn, starts a thread."""
    used = ("sklearn.linear_model", "scipy.stats", "torch", "transformers", "numba", "papermill")
    environment = {**settings.environment, "PYTHONPATH": _PATH}
    warm = replace(settings, warm=(*settings.warm, *used), environment=environment)
    assert json.loads(Child(connect(serve(warm)), "tell").told())["forked"]


def test_who_waits_for_a_zygote_that_dies_before_it_answers_gets_the_next_one(
    serve: Serve, connect: Connect
) -> None:
    door = serve(settings_of())
    first = door.pid
    assert first is not None
    connect(door).receive()  # it has loaded
    os.kill(first, signal.SIGSTOP)
    waiting = connect(door)
    door.attend()
    assert door.pid == first, "one that lives is left alone"
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: door.pid is None, "it is dead")
    door.attend()
    assert door.pid not in (None, first)
    waiting.receive()
    assert waiting.zygote == door.pid
    waiting.close()
    connect(door).receive()  # nobody waits any more
    os.kill(door.pid or 0, signal.SIGKILL)
    wait_until(lambda: door.pid is None, "it is dead")
    door.attend()
    assert door.pid is None, "and nobody waits"
