"""Hosts that are workers of a Dask cluster: each worker starts an agent beside itself.

The cluster is one that is there (``address``), or one that is made for the pool: an object of any
class that has Dask's interface of clusters (dask-gateway, dask-kubernetes, dask-cloudprovider ...).
Dask starts the workers and says which are there; what runs on them is placed by the queue alone.
Each run stands in Dask as a placeholder on its worker, which Dask then neither retires nor fills.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from pydantic import model_validator

from workbench.core.errors import ResourceError
from workbench.core.spec import option
from workbench.core.workers import MOST_WORKERS, HostsWish, Workers, parse_workers
from workbench.pool.agents import Agents
from workbench.pool.providers.provider import PoolSpec

LOG = logging.getLogger(__name__)
_KNOWN = {
    "gateway": "dask_gateway:GatewayCluster",
    "kubernetes": "dask_kubernetes.operator:KubeCluster",
}
_PACKAGES = {"dask_gateway": "dask-gateway", "dask_kubernetes": "dask-kubernetes",
             "dask_cloudprovider": "dask-cloudprovider"}  # fmt: skip
_LOOK_SECONDS = 1.0
_CONNECT_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0
_PREFIX = "dask-"  # of the agents' names
_NOTE = "pool-cluster"  # in the workspace: the name of the cluster that was made
PLUGIN = "nlp-workbench"  # what Dask calls that which starts agents


class ClusterPool(PoolSpec):
    """Workers of a Dask cluster; all of them see the workspace's folder, and have this package."""

    brings_dask: ClassVar[bool] = True

    address: str = option(
        "", title="Address", help="of the scheduler of a cluster that is there: tls://10.0.0.1:8786"
    )
    cluster: str = option(
        "",
        title="Cluster",
        help="one that is made for this pool: gateway, kubernetes, or MODULE:CLASS of any that has "
        "Dask's interface of clusters: dask_cloudprovider.aws:FargateCluster",
    )
    options: dict[str, Any] = option(
        {}, title="Options", help="of the cluster, as its class names them; of a scheduler that "
        "speaks TLS: {tls_ca_file: ..., tls_client_cert: ..., tls_client_key: ...}",
    )  # fmt: skip
    hosts: HostsWish = option(
        "0..4",
        title="Hosts",
        help='how many workers a cluster that is made shall have: 2, or within a range: "0..10"',
    )
    slots: int = option(1, title="Slots", help="of each worker: runs at a time", ge=1, le=1024)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> ClusterPool:
        if bool(self.address) == bool(self.cluster):
            raise ValueError("give the address of a cluster that is there, or one to make")
        return self

    def open(self, root: Path, agents: Agents) -> DaskWorkers:
        """Return the provider for a workspace.

        Raises:
            ResourceError: the package of the cluster is not installed.
        """
        if self.cluster:
            cluster_class(self.cluster)
        return DaskWorkers(self, root, agents)


class DaskWorkers:
    """The workers of a cluster, with an agent beside each."""

    def __init__(self, spec: ClusterPool, root: Path, agents: Agents) -> None:
        self._spec = spec
        self._root = root
        self._agents = agents
        self.slots_per_host = spec.slots
        self.is_resizable = bool(spec.cluster)
        # Nobody but its owner makes a cluster larger or smaller that is there.
        self.hosts = (
            parse_workers(spec.hosts, fewest=0) if spec.cluster else Workers(0, MOST_WORKERS)
        )
        self._num_wanted = self.hosts.least if spec.cluster else 0
        self._num_asked = -1  # of the cluster, until now
        self._released: set[str] = set()
        self._trouble = ""
        self._cluster: Any = None
        self._client: Any = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="dask workers", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def add_host(self) -> None:
        """Have one more worker."""
        with self._lock:
            self._num_wanted = min(self._num_wanted + 1, self.hosts.most)
        self._changed.set()

    def release(self, agent: str) -> None:
        """Give up a worker."""
        with self._lock:
            self._released.add(agent)
            self._num_wanted = max(self._num_wanted - 1, self.hosts.least)
        self._agents.dismiss(agent)
        self._changed.set()

    def num_coming(self) -> int:
        """Return how many workers were asked for and have no agent yet."""
        there = [found for found in self._agents.found() if _is_guest(found)]
        with self._lock:
            staying = sum(found["agent"] not in self._released for found in there)
            return max(self._num_wanted - staying, 0)

    def troubles(self) -> list[str]:
        """Return why the cluster gives no workers."""
        with self._lock:
            return [self._trouble] if self._trouble else []

    def close(self) -> None:
        """End the agents; a cluster that was made for this pool ends too."""
        self._closing.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()
        for opened in (self._client, self._cluster):
            if opened is not None:
                with suppress(Exception):  # it is away: its workers end with their lease
                    opened.close()
        (self._root / _NOTE).unlink(missing_ok=True)

    def _keep(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._closing.is_set():
            try:
                if self._client is None:
                    self._connect()
                self._adjust()
                pause = _FIRST_PAUSE_SECONDS
                self._note("")
                wait = _LOOK_SECONDS
            except Exception as error:
                LOG.warning("the Dask cluster of the pool: %s", error)
                self._note(f"{type(error).__name__}: {error}")
                wait, pause = pause, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._changed.wait(wait)
            self._changed.clear()
        if self._client is not None:
            with suppress(Exception):  # the workers are away, and end their agents
                self._client.unregister_worker_plugin(PLUGIN)

    def _note(self, trouble: str) -> None:
        with self._lock:
            self._trouble = trouble

    def _connect(self) -> None:
        from distributed import Client
        from distributed.security import Security

        from workbench.pool.providers.agent_plugin import AgentPlugin

        if self._spec.cluster:
            self._cluster = self._cluster or self._open_cluster()
            client = self._cluster.get_client()
        else:
            security = Security(**self._spec.options) if self._spec.options else None
            client = Client(self._spec.address, security=security, timeout=_CONNECT_SECONDS,
                            set_as_default=False)  # fmt: skip
        client.register_plugin(AgentPlugin(str(self._root), self._spec.slots))
        self._client = client

    def _open_cluster(self) -> Any:
        """Return the cluster that an earlier daemon has made, if it is still there, or a new one.

        What outlives the process that made it (dask-gateway, Kubernetes) has a name.
        """
        kind, note = cluster_class(self._spec.cluster), self._root / _NOTE
        if note.exists() and hasattr(kind, "from_name"):
            try:
                options = _taken(kind.from_name, self._spec.options)
                found = kind.from_name(note.read_text(), shutdown_on_close=True, **options)
            except Exception as error:  # each library has its own for one that is gone
                LOG.info("the cluster of before is no more (%s): another is made", error)
            else:
                self._num_wanted = self._num_alive()
                return found
        made = kind(**self._spec.options)
        note.write_text(str(getattr(made, "name", "")))
        return made

    def _num_alive(self) -> int:
        """Return how many workers have an agent that reports, also before a client is there."""
        return max(self.hosts.least, len([f for f in self._agents.found() if _is_guest(f)]))

    def _adjust(self) -> None:
        """Have as many workers as are wanted, and not those that were given up."""
        with self._lock:
            released, num_wanted = set(self._released), self._num_wanted
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        names = {agent_name(worker["name"]): address for address, worker in workers.items()}
        for found in self._agents.found():
            agent = found["agent"]
            # One whose worker died has died too; of one that lives Dask may only have lost sight.
            has_ended = agent in released or not found["alive"]
            if agent.startswith(_PREFIX) and agent not in names and has_ended:
                self._agents.drop(agent)
                with self._lock:
                    self._released.discard(agent)
        if self._cluster is None:
            return
        going = {names[agent]: agent for agent in released if agent in names}
        if going:
            self._retire(going, workers)
        if going or num_wanted != self._num_asked:
            self._cluster.scale(num_wanted)
            self._num_asked = num_wanted

    def _retire(self, going: dict[str, str], workers: dict[str, Any]) -> None:
        """End these workers and no others: ``scale`` alone picks them as it likes."""
        from distributed import SpecCluster

        if isinstance(self._cluster, SpecCluster):
            names = [workers[address]["name"] for address in going]
            self._cluster.sync(self._cluster.scale_down, names)
        else:
            self._client.retire_workers(list(going), close_workers=True)
        deadline = time.monotonic() + _CONNECT_SECONDS
        while time.monotonic() < deadline and not self._closing.is_set():
            left = self._client.scheduler_info(n_workers=-1)["workers"]
            if not going.keys() & left.keys():
                return
            time.sleep(0.1)


def agent_name(worker: object) -> str:
    """Return what the agent beside a Dask worker is called."""
    return f"{_PREFIX}{worker}".replace("/", "-")


def _is_guest(found: dict[str, Any]) -> bool:
    """Whether this is an agent beside a Dask worker, and reports."""
    return bool(found["alive"]) and str(found["agent"]).startswith(_PREFIX)


def _taken(function: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return those of the options that a function takes."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return options
    return {name: value for name, value in options.items() if name in parameters}


def cluster_class(name: str) -> Any:
    """Return the class of a cluster.

    Raises:
        ResourceError: its package is not installed, or has no such class.
    """
    module, _, attribute = _KNOWN.get(name, name).partition(":")
    package = module.partition(".")[0]
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ResourceError(
            f"There is no class of clusters {name!r}: {error}",
            where="pool",
            next_step=f"Install its package: pip install {_PACKAGES.get(package, package)}",
        ) from error
