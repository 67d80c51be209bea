"""One workspace on PostgreSQL, used from two hosts: one daemon leads; if it dies another does."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from live_workspace import PLUGIN, wait_until
from other_hosts import OtherHosts
from postgresql_server import PASSWORD, Server, postgresql_server

from workbench.queue.leadership import LEASE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class SharedWorkspace:
    """A workspace as people on other hosts use it: by the command line, there."""

    def __init__(self, root: Path, hosts: OtherHosts, server: Server) -> None:
        self.root = root
        self._hosts = hosts
        self._variables = [
            f"WORKBENCH_WORKSPACE={root}", f"PGPASSWORD={PASSWORD}", "WORKBENCH_SLOTS=1",
            f"PYTHONPATH={PLUGIN}", f"WORKBENCH_DATABASE={server.url(database='shared')}",
        ]  # fmt: skip

    def ask(self, host: int, *words: str) -> subprocess.CompletedProcess[str]:
        """Have somebody on a host give a command."""
        command = shlex.join(["env", *self._variables, sys.executable, "-m", "workbench.cli.main"])
        address = self._hosts.others[host]
        return subprocess.run(
            ["ssh", *self._hosts.ssh_options, address, f"cd / && {command} {shlex.join(words)}"],
            capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def state(self, host: int, run_id: str) -> dict[str, object]:
        """Return what somebody on a host is told of a run."""
        told = self.ask(host, "runs", "--json")
        assert told.returncode == 0, told.stderr
        return next(run for run in json.loads(told.stdout) if run["run_id"] == run_id)

    def processes(self, host: int) -> list[psutil.Process]:
        """Return what works for the workspace on a host."""
        name = f"wbn{self._hosts.number}-{host}"
        listed = subprocess.run(
            ["ip", "netns", "pids", name], capture_output=True, check=True, text=True
        )
        return [p for p in map(_process, listed.stdout.split()) if p and self._is_ours(p)]

    def daemon(self, host: int) -> psutil.Process:
        """Return the daemon on a host."""
        (found,) = [p for p in self.processes(host) if "workbench.daemon" in p.cmdline()]
        return found

    def signal(self, host: int, number: signal.Signals) -> None:
        """Send all that works on a host a signal, as near to at once as can be."""
        for process in self.processes(host):
            process.send_signal(number)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("WORKBENCH_WORKSPACE") == str(self.root)
        except psutil.Error:
            return False


def _process(pid: str) -> psutil.Process | None:
    try:
        return psutil.Process(int(pid))
    except psutil.Error:
        return None


@pytest.fixture
def shared(hosts: OtherHosts, tmp_path: Path) -> Iterator[SharedWorkspace]:
    with postgresql_server() as server:
        server.execute("create database shared")
        own = SharedWorkspace(tmp_path / "workspace", hosts, server)
        yield own
        deadline = time.monotonic() + 30
        while (left := [*own.processes(0), *own.processes(1)]) and time.monotonic() < deadline:
            for process in left:
                if process.is_running():
                    process.kill()


def test_a_leader_that_stands_still_is_succeeded_from_another_host_and_ends_when_it_moves_again(
    shared: SharedWorkspace,
) -> None:
    begun = shared.ask(0, "run", "count", "--parts", "80", "--seconds", "0.1", "--detach")
    assert begun.returncode == 0, begun.stderr
    run_id = begun.stdout.split()[0]
    wait_until(lambda: shared.state(0, run_id)["state"] == "running", "it works", 60)
    told = shared.ask(1, "runs")
    assert told.returncode == 1
    assert "The daemon of this workspace runs on wbn" in told.stderr
    assert shared.processes(1) == [], "nothing is left of the try"
    former = shared.daemon(0)
    shared.signal(0, signal.SIGSTOP)
    stopped_at = time.monotonic()
    taken = shared.ask(1, "runs")
    assert taken.returncode == 0, taken.stderr
    took = time.monotonic() - stopped_at
    print(f"taken over after {took:.1f} s")
    assert took > LEASE_SECONDS / 2, "nobody takes over from one that may live"
    leader = shared.daemon(1)
    shared.signal(0, signal.SIGCONT)
    wait_until(lambda: not _lives(former), "the former leader has ended", 60)
    assert leader.is_running()
    wait_until(lambda: shared.state(1, run_id)["state"] == "succeeded", "it is done there", 120)
    assert shared.state(1, run_id)["term"] == 2, "whatever the former leader's attempt still said"


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def test_on_one_host_the_next_daemon_leads_at_once(shared: SharedWorkspace) -> None:
    assert shared.ask(0, "up").returncode == 0
    first = shared.daemon(0)
    os.kill(first.pid, signal.SIGKILL)
    begun = time.monotonic()
    assert shared.ask(0, "up").returncode == 0
    assert time.monotonic() - begun < LEASE_SECONDS, "nobody waits for who is known to be dead"
    assert shared.daemon(0).pid != first.pid
