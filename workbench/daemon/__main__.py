"""``python -m workbench.daemon --workspace FOLDER``: the daemon's process, from lock to exit."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__
from workbench.core.daemon_process import ENDPOINT_FILE, REFUSAL_FILE, daemon_lock
from workbench.core.disk import write_private
from workbench.core.errors import ResourceError, WorkbenchError, error_from_exception
from workbench.core.locks import sole_process
from workbench.core.tls import certificate_file
from workbench.pool.addresses import LOOPBACK, own_address

if TYPE_CHECKING:
    from workbench.catalog.database import Database
    from workbench.daemon.settings import Settings
    from workbench.pool.providers.provider import PoolSpec

LOG = logging.getLogger("workbench.daemon")
_FAREWELL_SECONDS = 0.3


def main() -> int:
    """Run the daemon until it is asked to stop or has been idle for long."""
    parser = argparse.ArgumentParser(prog="workbench.daemon", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    root: Path = parser.parse_args().workspace.absolute()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("workbench").setLevel(logging.INFO)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with sole_process(daemon_lock(root)) as is_sole:
            if is_sole:
                _serve(root, daemon_lock(root))
            # Else another daemon owns this workspace: whoever started us will find it.
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


def _serve(root: Path, held: Path) -> None:
    # Loaded behind the lock: a daemon that finds another one in its place costs next to nothing.
    from workbench.catalog.database import open_database
    from workbench.daemon.settings import settings_from_environment
    from workbench.pool.providers.registry import read_pool

    # Taken out: the URL may hold a password, and nothing that the daemon starts opens the database.
    url = os.environ.pop("WORKBENCH_DATABASE", None)
    settings = settings_from_environment()
    pool = read_pool(root)
    database = open_database(root, url)
    lock = daemon_lock(root)
    if lock != held:  # as of now, when the workspace knows of its database server
        with sole_process(lock) as is_sole:
            if is_sole:
                _lead_and_serve(root, database, settings, pool)
    else:
        _lead_and_serve(root, database, settings, pool)


def _lead_and_serve(root: Path, database: Database, settings: Settings, pool: PoolSpec) -> None:
    import uvicorn

    from workbench.daemon.api import make_app
    from workbench.daemon.lead import Lead
    from workbench.daemon.service import Service

    listener, address = _listen(settings, is_public=pool.has_other_hosts)
    lead = Lead(database, root, address)
    lead.take()
    token = secrets.token_urlsafe(32)
    service = Service(root, database, settings, pool)
    app = make_app(service, token)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="on",
            **(_certificate_options(root) if pool.has_other_hosts else {}),
        )
    )  # fmt: skip

    failures: list[Exception] = []

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        service.bell.attach()
        endpoint = {
            "url": address, "token": token, "pid": os.getpid(), "host": socket.gethostname(),
            "version": __version__,
        }  # fmt: skip
        try:
            service.start(stop=lambda: setattr(server, "should_exit", True))
            write_private(root / ENDPOINT_FILE, json.dumps(endpoint))
            lead.start()
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
        lead.close()
        database.close()
    if failures:
        raise failures[0]


def _listen(settings: Settings, *, is_public: bool) -> tuple[socket.socket, str]:
    """Return a socket for the daemon, and its URL: on loopback unless the pool has other hosts.

    Raises:
        ResourceError: this host has no address for them, or not the one it was told.
    """
    # asyncio turns Nagle's delay (40 ms an answer) off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if not is_public:
        listener.bind((LOOPBACK, 0))
        return listener, f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    host = settings.host or own_address()
    try:
        listener.bind((host, settings.port))
    except OSError as error:
        raise ResourceError(
            f"The daemon cannot listen at {host}:{settings.port}: {error.strerror}",
            where="environment",
            next_step="Set WORKBENCH_HOST to an address of this host that the pool's hosts reach; "
            "with a port (10.0.0.1:7788) to one that is free.",
        ) from error
    return listener, f"https://{host}:{listener.getsockname()[1]}"


def _certificate_options(root: Path) -> dict[str, Any]:
    """Return the options of a server that speaks with holders of the certificate alone."""
    # A client that keeps a connection for its next request answers no farewell: asyncio would wait
    # half a minute for it, and uvicorn has no option for that.
    asyncio.constants.SSL_SHUTDOWN_TIMEOUT = _FAREWELL_SECONDS  # type: ignore[attr-defined]
    certificate = certificate_file(root)
    return {
        "ssl_certfile": certificate,
        "ssl_ca_certs": str(certificate),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }


if __name__ == "__main__":
    sys.exit(main())
