"""Laws that every provider keeps, for shipped providers and for those of a third party alike.

Use them from a test: give a running workspace whose pool is the provider, with 0 to 2 hosts of one
slot, that grows and shrinks within seconds, and two Specs to run there::

    class TestMyProvider(ProviderLaws):
        @pytest.fixture
        def pooled(self):
            workspace = Workspace(folder)
            workspace.use_pool(MyPool(hosts="0..2", slots=1))
            yield workspace
            workspace.stop()

        def long_run(self, tag): ...
        def spread_run(self): ...
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from workbench.core.spec import Spec
from workbench.pool.holdings import HOME, agent_of

_SECONDS = 90.0  # for a host to come or go


class ProviderLaws:
    """What every provider promises."""

    def long_run(self, tag: str) -> Spec:
        """Return a Spec that works for minutes on one slot, in parts of which each is durable."""
        raise NotImplementedError

    def spread_run(self) -> Spec:
        """Return a Spec that ends within seconds, however many workers it has."""
        raise NotImplementedError

    def num_hosts(self, pooled: Any) -> int:
        """Return how many hosts the pool has that work."""
        alive = {agent_of(s["slot"]) for s in pooled.pool()["slots"] if s["alive"]}
        return len(alive - {HOME})

    def test_hosts_come_for_who_waits_and_are_given_up_after(self, pooled: Any) -> None:
        runs = [pooled.submit(self.long_run(f"waits-{number}")) for number in range(2)]
        _wait_until(lambda: all(run.state == "running" for run in runs), "both runs work")
        assert self.num_hosts(pooled) == 2
        for run in runs:
            run.cancel()
        _wait_until(lambda: self.num_hosts(pooled) == 0, "both hosts are given up")
        _wait_until(lambda: pooled.pool()["hosts_coming"] == 0, "none is asked for")

    def test_a_run_is_spread_over_hosts(self, pooled: Any) -> None:
        run = pooled.submit(self.spread_run(), workers=2).wait(_SECONDS)
        assert run.state == "succeeded", run.record()["error"]

    def test_a_host_that_dies_is_replaced_and_its_run_goes_on(self, pooled: Any) -> None:
        run = pooled.submit(self.long_run("heals"))
        _wait_until(lambda: any(e["kind"] == "checkpoint" for e in run.events()), "it works")
        os.kill(self.agent(pooled), signal.SIGKILL)
        _wait_until(lambda: run.record()["term"] == 2, "it goes on")
        assert run.state == "running", run.record()["error"]
        run.cancel()

    def test_a_daemon_that_dies_finds_its_hosts(self, pooled: Any) -> None:
        run = pooled.submit(self.long_run("adopted"))
        _wait_until(lambda: run.state == "running", "it works")
        os.kill(pooled.status()["pid"], signal.SIGKILL)
        time.sleep(1.0)
        _wait_until(lambda: pooled.status()["pool"] == "running", "the next daemon is up")
        _wait_until(lambda: self.num_hosts(pooled) == 1, "it has found the host")
        assert (run.state, run.record()["term"]) == ("running", 1), "it was not disturbed"
        run.cancel()
        _wait_until(lambda: self.num_hosts(pooled) == 0, "it can give up what it has not started")

    def test_a_pool_that_is_taken_down_leaves_no_host(self, pooled: Any) -> None:
        run = pooled.submit(self.long_run("goes-on"))
        _wait_until(lambda: run.state == "running", "it works")
        agent = self.agent(pooled)
        pooled.stop()
        _wait_until(lambda: not _is_alive(agent), "the agent has ended")
        _wait_until(lambda: run.state == "running", "it goes on with the next daemon")
        run.cancel()

    def agent(self, pooled: Any) -> int:
        """Return the process of the first host's agent, if this machine's processes are its."""
        found = [s for s in pooled.pool()["slots"] if agent_of(s["slot"]) != HOME]
        return int(found[0]["pid"])


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _wait_until(is_so: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"after {_SECONDS:g} s it is not so that {what}"
        time.sleep(0.05)
