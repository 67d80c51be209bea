"""What a provider of hosts is, so that anybody can add one.

A provider is a Spec that can be opened; its class is found by an entry point of the group
``workbench.providers``. ``ProviderLaws`` (beside this file) says what it promises.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

from workbench.core.spec import Spec
from workbench.core.workers import Workers
from workbench.pool.agents import Agents


class Provider(Protocol):
    """Starts agents on hosts and ends them; how many there should be is decided elsewhere.

    An agent that a daemon before this one has had started is the provider's as well.
    """

    hosts: Workers  # how many there may be
    slots_per_host: int
    is_resizable: bool  # whether hosts can be asked for; else others make it as large as it is

    def start(self) -> None:
        """Begin: find the hosts that are there, and have as many as there have to be."""

    def add_host(self) -> None:
        """Have one more host; it is there once its agent reports."""

    def release(self, agent: str) -> None:
        """Give up a host; its agent has nothing to do any more and ends."""

    def num_coming(self) -> int:
        """Return how many hosts were asked for and are not there yet."""

    def troubles(self) -> list[str]:
        """Return, for people, why hosts that were asked for do not come."""

    def close(self) -> None:
        """End the agents and give up their hosts."""


class PoolSpec(Spec):
    """Which hosts a pool has; a subclass for each kind of provider."""

    has_other_hosts: ClassVar[bool] = True  # the daemon listens in the network
    brings_dask: ClassVar[bool] = False  # the hosts are workers of a Dask cluster already

    def open(self, root: Path, agents: Agents) -> Provider:
        """Return the provider for a workspace.

        Raises:
            ResourceError: a package that it needs is not installed.
        """
        raise NotImplementedError
