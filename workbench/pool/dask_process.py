"""The two Dask processes of a pool, children of its agents.

``scheduler`` runs beside the daemon, ``worker`` on every host. Dask places no run: it is what users
compute on beside runs (``Workspace.dask_client``), and what Dask's own tools look at. So that it
knows what is free, each attempt is in it as a *placeholder*: a task that is pinned to the host's
worker, holds as many of its ``slots`` as the attempt has there, and has seceded from its threads.

Neither process matters to any run: both are replaced when they die, and placeholders set again.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from workbench.core.disk import write_private
from workbench.pool.process import die_with_parent, name_process

ENDPOINT = "scheduler.json"
_CERTIFICATE, _KEY = "certificate.pem", "key.pem"
SLOTS = "slots"  # the resource that tasks ask for: ``client.submit(f, resources={"slots": 1})``
_HELD: dict[str, threading.Event] = {}  # of each placeholder here: set when the attempt is over

_LOOK_SECONDS = 0.2
_CONNECT_SECONDS = 5  # with a scheduler that has told where it is

Busy = dict[str, int]  # how many slots each attempt has on this host, by key


def hold(key: str) -> None:
    """Be a placeholder until its attempt is over."""
    from distributed import secede

    secede()  # else the worker's threads were taken, and the scheduler might retire it
    _HELD[key].wait()


def security_of(folder: Path) -> Any:
    """Return what a scheduler's clients and workers need to speak with it."""
    from distributed.security import Security

    certificate, key = str(folder / _CERTIFICATE), str(folder / _KEY)
    return Security(
        require_encryption=True, tls_ca_file=certificate,
        tls_client_cert=certificate, tls_client_key=key,
        tls_worker_cert=certificate, tls_worker_key=key,
        tls_scheduler_cert=certificate, tls_scheduler_key=key,
    )  # fmt: skip


def address_in(folder: Path) -> str:
    """Return where the scheduler listens.

    Raises:
        OSError: there is none yet.
    """
    return str(json.loads((folder / ENDPOINT).read_text())["address"])


async def _schedule(folder: Path, here: str) -> None:
    from distributed import Scheduler
    from distributed.security import Security

    folder.mkdir(mode=0o700, exist_ok=True)
    fresh = Security.temporary()
    for name, content in ((_CERTIFICATE, fresh.tls_ca_file), (_KEY, fresh.tls_client_key)):
        write_private(folder / name, content)
    # An open scheduler port is code execution for every user of the host.
    async with Scheduler(
        host=here,
        port=0,
        protocol="tls",
        security=security_of(folder),
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    ) as scheduler:
        endpoint = {"address": scheduler.address, "pid": os.getpid()}
        write_private(folder / ENDPOINT, json.dumps(endpoint))
        await scheduler.finished()


async def _work(folder: Path, name: str, num_slots: int, here: str) -> None:
    from distributed import Client, Worker
    from distributed.core import Status

    security, address = security_of(folder), address_in(folder)
    async with (
        Worker(
            address, host=here, dashboard_address="127.0.0.1:0", name=name,
            nthreads=num_slots, resources={SLOTS: num_slots},
            security=security, memory_limit=0, dashboard=False, death_timeout=_CONNECT_SECONDS,
        ) as worker,
        Client(address, security=security, asynchronous=True, set_as_default=False) as client,
    ):  # fmt: skip
        mirroring = asyncio.create_task(_mirror_input(client, worker.address))
        while worker.status == Status.running and not mirroring.done():
            await asyncio.sleep(_LOOK_SECONDS)
        # The scheduler has gone, or the agent. Dask would wait half a minute for the placeholders.
        os._exit(0)


async def _mirror_input(client: Any, worker: str) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await mirror(client, worker, reader)


async def mirror(client: Any, worker: str, reader: asyncio.StreamReader) -> None:
    """Keep placeholders as an agent says, line by line: each says all that is busy."""
    placeholders: dict[str, Any] = {}
    while line := await reader.readline():
        busy: Busy = json.loads(line)
        for key in placeholders.keys() - busy.keys():
            _HELD.pop(key).set()
            del placeholders[key]
        for key, width in busy.items():
            if key not in placeholders:
                _HELD[key] = threading.Event()
                placeholders[key] = client.submit(
                    hold, key, key=f"run {key}", workers=[worker], allow_other_workers=False,
                    resources={SLOTS: width}, pure=False, retries=0,
                )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Be one of the two until it ends."""
    role, parent, folder, name, num_slots, here = arguments
    die_with_parent(int(parent))
    name_process(f"wb-{role}")
    os.nice(5)  # runs come first
    import dask

    dask.config.set(
        {
            "logging": {"distributed": "error"},
            "distributed.scheduler.work-stealing": False,
            "distributed.worker.memory.terminate": False,
            # An idle pool should cost nothing: Dask samples every thread each 10 ms by default.
            "distributed.worker.profile.enabled": False,
            "distributed.admin.system-monitor.interval": "5s",
            "distributed.admin.system-monitor.gil.enabled": False,
            "distributed.admin.tick.limit": "30s",
            # The pages have no password: none are served.
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            "temporary-directory": folder,
        }
    )
    try:
        if role == "scheduler":
            asyncio.run(_schedule(Path(folder), here))
        else:
            asyncio.run(_work(Path(folder), name, int(num_slots), here))
    except OSError:
        return 1  # it was never reached: tried again, but less and less often
    return 0


if __name__ == "__main__":
    # Not as ``__main__``: a placeholder finds this module's table by the module's own name.
    from workbench.pool.dask_process import main as main_of_module

    sys.exit(main_of_module(sys.argv[1:]))
