"""A pool of machines that are reached by ssh: other hosts in namespaces of this one's network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_workspace import PLUGIN, LiveWorkspace, StartWorkspace, wait_until
from other_hosts import OtherHosts, other_hosts
from workbench_example_stages import CountSpec, SpreadSpec

from workbench.core.spec import Spec
from workbench.pool.providers.laws import ProviderLaws
from workbench.pool.providers.ssh import SshPool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherHosts]:
    with other_hosts(tmp_path_factory.mktemp("hosts"), 2) as made:
        yield made


@pytest.fixture
def pooled(hosts: OtherHosts, start_workspace: StartWorkspace) -> LiveWorkspace:
    def pool(root: Path) -> SshPool:
        return SshPool(
            machines=hosts.others, hosts="0..2", slots=1, python=sys.executable,
            ssh_options=hosts.ssh_options,
            environment={"PYTHONPATH": str(PLUGIN), "WORKBENCH_WORKSPACE": str(root)},
        )  # fmt: skip

    return start_workspace(
        pool=pool, WORKBENCH_HOST=hosts.here, WORKBENCH_GROW_SECONDS="0.2",
        WORKBENCH_SHRINK_SECONDS="1.5",
    )  # fmt: skip


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
