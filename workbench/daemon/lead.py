"""A daemon's part in who leads, where its database is on a server that others can reach as well.

On SQLite the lock on the workspace's own disk says who leads, and there is nothing to do here. On a
server the leased row says it (``workbench/queue/leadership.py``): of the daemons that several hosts
may start for one workspace, only its holder works. The others end at once, and are clients.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
from pathlib import Path

from workbench.catalog.database import Database
from workbench.catalog.database_faults import DatabaseAwayError
from workbench.core.daemon_process import ENDPOINT_FILE
from workbench.core.errors import ResourceError, WorkbenchError
from workbench.queue.leadership import Leadership, Lease

LOG = logging.getLogger(__name__)
_LED = "dispatcher"
_DEPOSED_STATUS = 4


class Lead:
    """Takes the lead before a daemon begins, keeps it, and ends the daemon that has lost it."""

    def __init__(self, database: Database, root: Path, address: str) -> None:
        self._file = root / ENDPOINT_FILE
        self._address = address
        self._host = socket.gethostname()
        self._leadership = Leadership(
            database,
            _LED,
            f"{self._host}/{os.getpid()}/{secrets.token_hex(4)}",
            address,
            # This process holds its host's lock: an earlier one of this host is dead.
            is_known_dead=lambda holder: holder.partition("/")[0] == self._host,
        )
        self._is_needed = database.is_on_server
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lead", daemon=True)
        if self._is_needed:
            database.fence = self._leadership.check

    def take(self) -> None:
        """Take the lead, after waiting until a leader that shows no life is known to be dead.

        Raises:
            ResourceError: a daemon on another host leads, and lives.
        """
        if not self._is_needed:
            return
        seen: Lease | None = None
        while not self._leadership.try_acquire():
            lease = self._leadership.leader()
            if seen is not None and lease != seen:
                raise ResourceError(
                    f"The daemon of this workspace runs on {lease.holder.partition('/')[0]}",
                    where=lease.address,
                    next_step="Use the workspace there, or from a host that reaches that address.",
                )
            seen = lease
            self._closing.wait(self._leadership.beat_seconds)

    def start(self) -> None:
        """Begin to keep the lead."""
        if self._is_needed:
            self._thread.start()

    def close(self) -> None:
        """Give the lead back."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
            try:
                self._leadership.release()
            except WorkbenchError as error:  # others take it when its lease is over
                LOG.warning("the lead could not be given back: %s", error.what)

    def _keep(self) -> None:
        while not self._closing.wait(self._leadership.beat_seconds):
            try:
                # While the server was away nobody could take it: then it is taken anew.
                leads = self._leadership.renew() or self._leadership.try_acquire()
            except DatabaseAwayError as error:
                LOG.warning("who leads is not known: %s", error.what)
                leads = True  # as far as is known
            if not leads or self._is_replaced():
                self._end()

    def _is_replaced(self) -> bool:
        """Whether another daemon has told where it listens, also where the database is away."""
        try:
            return bool(json.loads(self._file.read_text())["url"] != self._address)
        except (OSError, ValueError, LookupError):
            return False

    def _end(self) -> None:
        """End at once, as if killed: what works goes on, and is the next leader's."""
        LOG.error("another daemon leads this workspace: this one ends")
        logging.shutdown()
        os._exit(_DEPOSED_STATUS)
