"""Other hosts for the tests of pools, and a pool of two of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_workspace import PLUGIN, LiveWorkspace, StartWorkspace
from other_hosts import OtherHosts, other_hosts

from workbench.pool.providers.ssh import SshPool


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherHosts]:
    """Offer two other hosts."""
    with other_hosts(tmp_path_factory.mktemp("hosts"), 2) as made:
        yield made


# ``(hosts="0..2")``: a running workspace whose pool has the other hosts, of one slot each.
StartPool = Callable[..., LiveWorkspace]


@pytest.fixture
def start_pool(hosts: OtherHosts, start_workspace: StartWorkspace) -> StartPool:
    """Offer a function that starts a workspace whose pool has the other hosts."""

    def start(within: str | int = "0..2") -> LiveWorkspace:
        def pool(root: Path) -> SshPool:
            return SshPool(
                machines=hosts.others, hosts=within, slots=1, python=sys.executable,
                ssh_options=hosts.ssh_options,
                environment={"PYTHONPATH": str(PLUGIN), "WORKBENCH_WORKSPACE": str(root)},
            )  # fmt: skip

        return start_workspace(
            pool=pool, WORKBENCH_HOST=hosts.here, WORKBENCH_GROW_SECONDS="0.2",
            WORKBENCH_SHRINK_SECONDS="1.5",
        )  # fmt: skip

    return start
