"""What a Dask worker of a pool loads: an agent starts beside it, and Dask is told of its runs."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from distributed import Client  # noqa: TID253 (only workers and who sends this to them load it)
from distributed.diagnostics.plugin import WorkerPlugin  # noqa: TID253

from workbench.pool.dask_process import SLOTS, mirror
from workbench.pool.providers.cluster import PLUGIN, agent_name

LOG = logging.getLogger("distributed.worker")
_AGAIN_SECONDS = 1.0


class AgentPlugin(WorkerPlugin):  # type: ignore[misc]
    """Keeps an agent beside a Dask worker, and a placeholder there for each run.

    The agent ends with the worker, however that ends, and with this plugin.
    """

    name = PLUGIN

    def __init__(self, root: str, slots: int) -> None:
        self._root = root
        self._slots = slots
        self._agent: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def setup(self, worker: Any) -> None:
        """Start the agent; Dask calls this on each worker, when it is there or comes."""
        await worker.set_resources(**{SLOTS: self._slots})
        self._keeping = asyncio.create_task(self._keep(worker))

    async def teardown(self, worker: Any) -> None:
        """End the agent, and wait until it has gone."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self._agent is not None and self._agent.stdin is not None:
            self._agent.stdin.close()
            await self._agent.wait()

    async def _keep(self, worker: Any) -> None:
        while True:
            self._agent = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "workbench.pool.agent", "--workspace", self._root,
                "--name", agent_name(worker.name), "--slots", str(self._slots), "--dask", "guest",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
            assert self._agent.stdout is not None
            try:
                async with Client(
                    worker.scheduler.address, security=worker.security, asynchronous=True,
                    set_as_default=False,
                ) as client:  # fmt: skip
                    await mirror(client, worker.address, self._agent.stdout)
            except Exception:  # runs go on without placeholders
                LOG.exception("the placeholders of runs cannot be kept")
            await self._agent.wait()
            await asyncio.sleep(_AGAIN_SECONDS)
