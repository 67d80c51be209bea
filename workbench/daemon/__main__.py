"""``python -m workbench.daemon --workspace FOLDER``: the daemon's process, from lock to exit."""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.catalog.database import open_database, refuse_network_file_system
from workbench.core.client import ENDPOINT_FILE
from workbench.core.errors import WorkbenchError, error_from_exception
from workbench.daemon.api import make_app
from workbench.daemon.service import Service
from workbench.pool.local import default_num_slots

LOG = logging.getLogger("workbench.daemon")


def main() -> int:
    """Run the daemon until it is asked to stop or has been idle for long."""
    parser = argparse.ArgumentParser(prog="workbench.daemon", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    root: Path = parser.parse_args().workspace.absolute()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("workbench").setLevel(logging.INFO)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / "daemon.lock").open("a+")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # another daemon owns this workspace: whoever started us will find it
    except OSError as error:
        return _refuse(root, error_from_exception(error, where=str(root)))
    try:
        _serve(root)
    except Exception as error:
        return _refuse(root, error_from_exception(error, where=str(root)))
    return 0


def _refuse(root: Path, error: WorkbenchError) -> int:
    """Leave the reason where the client that started us looks for it."""
    print(error, error.detail, sep="\n", file=sys.stderr)
    if root.is_dir() and os.access(root, os.W_OK):
        _write_private(root / "daemon.error.json", error.to_json())
    return 1


def _serve(root: Path) -> None:
    import uvicorn

    url = os.environ.get("WORKBENCH_DATABASE")
    if url is None:
        refuse_network_file_system(root)
    num_slots = default_num_slots()
    database = open_database(root, url)
    # asyncio turns Nagle's delay (40 ms an answer) off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    token = secrets.token_urlsafe(32)
    service = Service(root, database, num_slots, address, token)
    app = make_app(service, token)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="on"
        )
    )

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        service.bell.attach()
        service.start(stop=lambda: setattr(server, "should_exit", True))
        endpoint = {"url": address, "token": token, "pid": os.getpid(), "version": __version__}
        _write_private(root / ENDPOINT_FILE, endpoint)
        LOG.info("workspace %s on %s", root, address)
        yield
        (root / ENDPOINT_FILE).unlink(missing_ok=True)

    app.router.lifespan_context = lifespan
    try:
        server.run(sockets=[listener])
    finally:
        service.close()
        database.close()


def _write_private(path: Path, record: dict[str, Any]) -> None:
    """Write JSON that only this user can read, whole or not at all."""
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(record, stream)
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
