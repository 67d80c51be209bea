"""A pool of machines that are reached by ssh: other hosts in namespaces of this one's network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, wait_until
from other_hosts import OtherHosts
from workbench_example_stages import CountSpec, SpreadSpec

from workbench.core.spec import Spec
from workbench.pool.providers.laws import ProviderLaws
from workbench.pool.providers.ssh import Machines, SshPool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def pooled(start_pool: Callable[..., LiveWorkspace]) -> LiveWorkspace:
    return start_pool()


class TestSshPool(ProviderLaws):
    def long_run(self, tag: str) -> Spec:
        return CountSpec(tag=tag, parts=2000, seconds=0.1)

    def spread_run(self) -> Spec:
        return SpreadSpec(tag="spread", parts=8, seconds=0.05)


def test_a_machine_that_refuses_is_told_of(
    hosts: OtherHosts, start_workspace: StartWorkspace
) -> None:
    own = start_workspace(
        pool=lambda root: SshPool(machines=["no-such-machine.invalid"]), WORKBENCH_HOST=hosts.here
    )
    wait_until(lambda: own.pool()["troubles"], "it is told")
    assert "no-such-machine.invalid did not come" in own.pool()["troubles"][0]
    assert own.pool()["hosts_coming"] == 1, "it is not asked for at once again"


def test_a_machine_without_python_says_so(
    hosts: OtherHosts, start_workspace: StartWorkspace
) -> None:
    own = start_workspace(
        pool=lambda root: SshPool(
            machines=hosts.others[:1], python="/nowhere/python", ssh_options=hosts.ssh_options
        ),
        WORKBENCH_HOST=hosts.here,
    )
    wait_until(lambda: own.pool()["troubles"], "it is told")
    assert "there is no /nowhere/python" in own.pool()["troubles"][0]


def test_a_machine_that_does_not_see_the_workspace_says_so(tmp_path: Path) -> None:
    machines = Machines(SshPool(machines=["a"], python=sys.executable), tmp_path / "not mounted")
    done = subprocess.run(["sh", "-c", machines.command("a")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "every host needs the workspace at the same place" in done.stdout
