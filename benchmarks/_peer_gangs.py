"""The peers' gangs: torchrun and Ray Train, with their own restarts, each in its environment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks._gangs import NUM_RANKS, Hung, await_sight
from benchmarks._peers import peer_python

_SCRIPTS = Path(__file__).parent / "peers"
_END_SECONDS = 30.0

Line = dict[str, Any]


class RankLog:
    """What the ranks of one gang and its successors have said; see ``peers/gang_training.py``."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def await_all(self, what: str, after: float = 0.0) -> list[Line]:
        """Return a line of each rank that says ``what``, said after a time.

        Raises:
            Hung: a rank has not said it in time.
        """

        def look() -> list[Line] | None:
            said = {e["rank"]: e for e in self._lines() if e["what"] == what and e["time"] > after}
            return list(said.values()) if len(said) == NUM_RANKS else None

        return await_sight(look, f"line of each rank that says {what!r} in {self.file}")

    def stop(self) -> None:
        """Ask the ranks to end."""
        Path(f"{self.file}.stop").touch()

    def _lines(self) -> list[Line]:
        text = self.file.read_text() if self.file.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]


class PeerTraining:
    """A training that tells of itself in a log."""

    def __init__(self, log: RankLog) -> None:
        self._log = log
        self._pids = self._await_step(after=0.0)[1]
        log.await_all("saved")

    def kill(self, rank: int) -> float:
        """Kill a rank; return the seconds until all ranks have made a step again."""
        killed = time.time()
        os.kill(self._pids[rank], signal.SIGKILL)
        stepped, self._pids = self._await_step(after=killed)
        return stepped - killed

    def _await_step(self, after: float) -> tuple[float, dict[int, int]]:
        """Return the time at which the last rank made its first step, and the ranks' processes."""
        ready = self._log.await_all("ready", after)
        assert not after or all(line["step"] > 0 for line in ready), "it began anew"
        lines = self._log.await_all("stepped", after)
        return max(line["time"] for line in lines), {line["rank"]: line["pid"] for line in lines}


class TorchrunGangs:
    """``torchrun`` on one machine with its fixed rendezvous, which is its quickest."""

    name = "torchrun"

    def __init__(self, folder: Path, model: Path) -> None:
        self._folder = folder
        self._model = model
        self._program = peer_python("torchrun").with_name("torchrun")
        self._number = 0

    def launch(self) -> float:
        """Run a gang that loads the model and ends; return when it held it, in seconds."""
        log = self._fresh_log()
        begun = time.time()
        with self._agent("launch", log) as agent:
            ready = log.await_all("ready")
            agent.wait(_END_SECONDS)
        return float(max(line["time"] for line in ready)) - begun

    @contextmanager
    def training(self) -> Iterator[PeerTraining]:
        """Start a training; torchrun starts its ranks again however often they die."""
        log = self._fresh_log()
        with self._agent("train", log, "--max-restarts", "1000000") as agent:
            yield PeerTraining(log)
            log.stop()
            agent.wait(_END_SECONDS)

    @contextmanager
    def _agent(self, what: str, log: RankLog, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [self._program, "--nproc-per-node", str(NUM_RANKS), "--master-port",
                   str(_free_port()), *options, _SCRIPTS / "torchrun_gang.py", what, self._model,
                   log.file]  # fmt: skip
        with log.file.with_suffix(".output").open("wb") as output:
            agent = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        try:
            yield agent
        finally:
            if agent.poll() is None:
                own = psutil.Process(agent.pid)
                _kill([*own.children(recursive=True), own])
                agent.wait(_END_SECONDS)

    def _fresh_log(self) -> RankLog:
        self._number += 1
        return RankLog(self._folder / f"torchrun-{self._number}.log")


class RayGangs:
    """Ray Train on a Ray cluster that is up; a cluster that hangs is replaced."""

    name = "Ray Train"

    def __init__(self, folder: Path, model: Path) -> None:
        self._folder = folder
        self._model = model
        self._number = 0
        self._driver = self._start()

    def launch(self) -> float:
        """Fit a gang that loads the model and ends; return when it held it, in seconds."""
        log = self._fresh_log()
        begun = self._order("launch", log)
        ready = log.await_all("ready")
        self._await_end()
        return float(max(line["time"] for line in ready)) - begun

    @contextmanager
    def training(self) -> Iterator[PeerTraining]:
        """Fit until told to stop; Ray starts the ranks again however often they die."""
        log = self._fresh_log()
        self._order("train", log)
        try:
            yield PeerTraining(log)
        except Hung:
            self.close()
            self._driver = self._start()
            raise
        log.stop()
        self._await_end()

    def close(self) -> None:
        """End the cluster: in an orderly way if it can, else by force."""
        family = psutil.Process(self._driver.pid).children(recursive=True)
        with suppress(subprocess.TimeoutExpired):
            self._driver.communicate(timeout=_END_SECONDS)
        _kill(
            [*family, psutil.Process(self._driver.pid)] if self._driver.poll() is None else family
        )
        self._driver.wait(_END_SECONDS)

    def _start(self) -> subprocess.Popen[str]:
        self._number += 1
        script = _SCRIPTS / "ray-train_gang.py"
        output = (self._folder / f"ray-{self._number}.output").open("wb")
        with output:
            self._driver = subprocess.Popen(
                [peer_python("ray-train"), script, self._folder / "ray-results"], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
            )  # fmt: skip
        self._answer()
        return self._driver

    def _order(self, what: str, log: RankLog) -> float:
        """Have the driver fit; return when it began."""
        assert self._driver.stdin is not None
        order = {"what": what, "model": str(self._model), "log": str(log.file)}
        print(json.dumps(order), file=self._driver.stdin, flush=True)
        return float(self._answer()["begun"])

    def _await_end(self) -> None:
        error = self._answer()["ended"]
        assert error is None, error

    def _answer(self) -> dict[str, Any]:
        assert self._driver.stdout is not None
        answer: dict[str, Any] = json.loads(self._driver.stdout.readline())
        return answer

    def _fresh_log(self) -> RankLog:
        self._number += 1
        return RankLog(self._folder / f"ray-{self._number}.log")


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # psutil knows a process that took over its number
            process.kill()


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])
