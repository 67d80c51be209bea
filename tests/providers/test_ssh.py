"""A pool of machines that are reached by ssh: other hosts in namespaces of this one's network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, wait_until
from other_hosts import OtherHosts
from workbench_example_stages import CountSpec, SpreadSpec

from workbench.core.spec import Spec
from workbench.pool.providers.laws import ProviderLaws
from workbench.pool.providers.ssh import SshPool

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
