"""The hosts of a workspace: the daemon's own, and those of a provider."""

from __future__ import annotations

from pathlib import Path

from workbench.pool.agents import Agents
from workbench.pool.holdings import HOME
from workbench.pool.providers.local import LocalHosts
from workbench.pool.providers.provider import PoolSpec, Provider


class Pool:
    """The hosts of a workspace: the daemon's own, where coordinators work, and a provider's.

    The local provider's first host is the daemon's own; with any other, that has no slots.
    """

    def __init__(self, root: Path, agents: Agents, spec: PoolSpec) -> None:
        """Prepare the hosts.

        Raises:
            ResourceError: the provider cannot be used here.
        """
        self._agents = agents
        self.provider: Provider = spec.open(root, agents)
        self.home = (
            self.provider
            if isinstance(self.provider, LocalHosts)
            else LocalHosts(root, agents, 0, 1, dask="none" if spec.brings_dask else "own")
        )

    @property
    def most_slots(self) -> int:
        """How many slots the pool can ever have."""
        return self.provider.slots_per_host * self.provider.hosts.most

    @property
    def num_slots(self) -> int:
        """How many slots the pool has when it has grown; those there are, if others grow it."""
        return self.most_slots if self.provider.is_resizable else len(self._agents.slots())

    @property
    def expected_slots(self) -> list[str]:
        """The slots of the daemon's own host, whether it is there yet or not."""
        return [f"{HOME}/{number}" for number in range(self.home.slots_per_host)]

    def start(self) -> None:
        """Have the daemon's own host, and begin to have the others.

        Raises:
            ResourceError: the agent here does not come up.
        """
        self.home.start()
        if self.provider is not self.home:
            self.provider.start()

    def close(self) -> None:
        """End the agents and all that works under them."""
        if self.provider is not self.home:
            self.provider.close()
        self.home.close()
