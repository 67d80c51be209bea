"""Pools whose hosts are workers of a Dask cluster: one that is there, and ones that are made."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from workbench_example_stages import CountSpec, SpreadSpec

from workbench.core.errors import ResourceError, SpecError
from workbench.core.spec import Spec
from workbench.pool.agents import Agents
from workbench.pool.providers.cluster import ClusterPool, cluster_class
from workbench.pool.providers.laws import ProviderLaws

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_QUICK = {"WORKBENCH_GROW_SECONDS": "0.2", "WORKBENCH_SHRINK_SECONDS": "1.5"}


class DaskLaws(ProviderLaws):
    def long_run(self, tag: str) -> Spec:
        return CountSpec(tag=tag, parts=2000, seconds=0.1)

    def spread_run(self) -> Spec:
        return SpreadSpec(tag="spread", parts=8, seconds=0.05)


class TestAClusterOfTheDaemonsOwn(DaskLaws):
    # It ends with the daemon: its runs go on elsewhere once the leases of its agents are over.
    test_a_daemon_that_dies_finds_its_hosts = None  # type: ignore[assignment]

    @pytest.fixture
    def pooled(self, start_workspace: StartWorkspace) -> LiveWorkspace:
        options = {"n_workers": 0, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        return start_workspace(
            pool=lambda _: ClusterPool(
                cluster="distributed:LocalCluster", options=options, hosts="0..2"
            ),
            **_QUICK,
        )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Offer the address of a real dask-gateway whose clusters are processes of this machine."""
    folder = tmp_path_factory.mktemp("gateway")
    public, private = (free_port() for _ in range(2))
    (folder / "config.py").write_text(
        "from dask_gateway_server.backends.local import UnsafeLocalBackend\n"
        "c.DaskGateway.backend_class = UnsafeLocalBackend\n"
        f"c.DaskGateway.address = '127.0.0.1:{private}'\n"
        f"c.Proxy.address = '127.0.0.1:{public}'\n"
        f"c.UnsafeLocalBackend.clusters_directory = '{folder}'\n"
        "c.UnsafeLocalBackend.inherited_environment = ['PATH', 'PYTHONPATH']\n"
        "c.ClusterConfig.scheduler_cmd = ['dask', 'scheduler']\n"
        "c.ClusterConfig.worker_cmd = ['dask', 'worker']\n"
        "c.DaskGateway.authenticator_class = 'dask_gateway_server.auth.SimpleAuthenticator'\n"
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "dask_gateway_server", "-f", str(folder / "config.py")],
            cwd=folder, stdout=log, stderr=log, env={**os.environ, "PATH": path},
        )  # fmt: skip
    try:
        wait_until(lambda: can_connect(public), f"it is up: {(folder / 'log').read_text()}", 60)
        yield f"http://127.0.0.1:{public}"
    finally:
        server.terminate()
        server.wait(30)


class TestAGateway(DaskLaws):
    @pytest.fixture
    def pooled(self, gateway: str, start_workspace: StartWorkspace) -> LiveWorkspace:
        return start_workspace(
            pool=lambda _: ClusterPool(
                cluster="gateway", options={"address": gateway}, hosts="0..2"
            ),
            **_QUICK,
        )


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """Offer the address of a Dask cluster that is there: a scheduler, and two workers."""
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--host", address, "--dashboard-address", ":0"]] + [
        [*dask, "worker", address, "--name", f"w{n}", "--nthreads", "1", "--no-nanny",
         "--dashboard-address", ":0", "--local-directory", str(tmp_path)] for n in range(2)
    ]  # fmt: skip
    with (tmp_path / "dask.log").open("wb") as log:
        started = [subprocess.Popen(c, stdout=log, stderr=log, cwd=tmp_path) for c in commands]
    yield address
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def guest(scheduler: str, start_workspace: StartWorkspace) -> LiveWorkspace:
    own = start_workspace(pool=lambda _: ClusterPool(address=scheduler), **_QUICK)
    wait_until(lambda: own.status()["slots_alive"] == 2, "both workers have an agent", 60)
    return own


def placeholders(address: str) -> dict[str, list[str]]:
    """Return what stands in Dask of each worker's runs."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        names = {a: w["name"] for a, w in client.scheduler_info(n_workers=-1)["workers"].items()}
        return {names[a]: sorted(map(str, keys)) for a, keys in client.processing().items()}


def test_a_cluster_that_is_there_works_for_the_queue_and_shows_it(
    scheduler: str, guest: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    wide = SpreadSpec(tag="wide", parts=40, seconds=0.2, diary=str(diary))
    run = guest.submit(wide, workers=2)
    wait_until(lambda: diary_lines(diary), "it works", 60)
    held = [f"run {run.run_id}/1"]
    wait_until(lambda: any(placeholders(scheduler).values()), "Dask is told")
    assert held in placeholders(scheduler).values()
    assert run.wait(60).state == "succeeded"
    workers = {line.split()[0] for line in diary.read_text().splitlines()}
    assert len(workers) == 2, "both have worked"
    wait_until(lambda: not any(placeholders(scheduler).values()), "Dask is told of the end")


def test_what_works_there_outlives_the_daemon_and_the_cluster_outlives_the_pool(
    scheduler: str, guest: LiveWorkspace, tmp_path: Path
) -> None:
    run = guest.submit(CountSpec(tag="outlives", parts=2000, seconds=0.05))
    wait_until(lambda: run.state == "running", "it works", 60)
    os.kill(guest.status()["pid"], signal.SIGKILL)
    wait_until(lambda: guest.status()["slots_alive"] == 2, "the next daemon knows both", 60)
    assert run.record()["term"] == 1
    guest.stop()
    wait_until(lambda: not guest.processes(), "no agent is left")
    assert placeholders(scheduler).keys() == {"w0", "w1"}, "the cluster itself is untouched"


def test_what_is_no_cluster_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="no class of clusters 'no_such_package:Cluster'"):
        ClusterPool(cluster="no_such_package:Cluster").open(tmp_path, Agents())
    with pytest.raises(SpecError, match="give the address of a cluster that is there, or one"):
        ClusterPool.parse({})


@pytest.mark.parametrize("name", ["gateway", "kubernetes", "dask_cloudprovider.aws:FargateCluster"])
def test_the_clusters_of_others_have_what_a_pool_asks_of_them(name: str) -> None:
    kind: Any = cluster_class(name)
    for method in ("scale", "close", "get_client"):
        assert callable(getattr(kind, method)), method


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
