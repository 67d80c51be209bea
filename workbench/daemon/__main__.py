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
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.core.client import ENDPOINT_FILE, REFUSAL_FILE
from workbench.core.disk import write_private
from workbench.core.errors import WorkbenchError, error_from_exception

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
    # Where not even this can be written, the client finds the reason in the log, or the disk full.
    with suppress(OSError):
        write_private(root / REFUSAL_FILE, json.dumps(error.to_json()))
    return 1


def _serve(root: Path) -> None:
    # Loaded behind the lock: a daemon that finds another one in its place costs next to nothing,
    # and so does each pool worker, which loads this module again as its main module.
    import uvicorn

    from workbench.catalog.database import open_database
    from workbench.daemon.api import make_app
    from workbench.daemon.service import Service
    from workbench.daemon.settings import settings_from_environment

    # Taken out: the URL may hold a password, and nothing that the daemon starts opens the database.
    url = os.environ.pop("WORKBENCH_DATABASE", None)
    settings = settings_from_environment()
    database = open_database(root, url)
    # asyncio turns Nagle's delay (40 ms an answer) off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    token = secrets.token_urlsafe(32)
    service = Service(root, database, settings)
    app = make_app(service, token)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="on"
        )
    )

    failures: list[Exception] = []

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        service.bell.attach()
        endpoint = {"url": address, "token": token, "pid": os.getpid(), "version": __version__}
        try:
            service.start(stop=lambda: setattr(server, "should_exit", True))
            write_private(root / ENDPOINT_FILE, json.dumps(endpoint))
        except Exception as error:
            failures.append(error)  # uvicorn itself would only log it
            raise
        LOG.info("workspace %s on %s", root, address)
        yield
        (root / ENDPOINT_FILE).unlink(missing_ok=True)

    app.router.lifespan_context = lifespan
    try:
        server.run(sockets=[listener])
    finally:
        service.close()
        database.close()
    if failures:
        raise failures[0]


if __name__ == "__main__":
    sys.exit(main())
