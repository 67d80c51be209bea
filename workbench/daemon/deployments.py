"""Deployments: desired state that a reconciler keeps true, not runs that end."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog.artifact_store import ArtifactStore, localised
from workbench.catalog.artifacts import find_artifact, move_alias
from workbench.catalog.database import METADATA
from workbench.core.errors import SpecError, nearest_name
from workbench.daemon.request import between, required
from workbench.pool.process import die_with_parent
from workbench.queue.store import RunStore

LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.25  # how soon a dead server is noticed
_IDLE_SECONDS = 30.0  # the same when there is none
_READY_SECONDS = 60.0  # a server that is not ready by then is started again
_MOST_FAILED_STARTS = 5  # in a row; then the deployment is failed until it is asked for again

DEPLOYMENTS = sa.Table(
    "deployments",
    METADATA,
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("model", sa.String(140), nullable=False),  # name@version
    sa.Column("port", sa.Integer, nullable=False),  # 0: any free one
    sa.Column("settings", sa.Text, nullable=False),  # JSON {num_threads}
    sa.Column("changed_at", sa.Float, nullable=False),
)


@dataclass
class _Server:
    """The process that answers for a deployment now."""

    wanted: tuple[Any, ...]
    process: subprocess.Popen[bytes]
    started_at: float
    url: str = ""
    state: str = "starting"
    endpoint: Path = field(default_factory=Path)


class Deployments:
    """Keeps one server process per deployment alive, from a thread of its own.

    Servers die with the daemon and are started again by the next one from the table.
    """

    def __init__(self, store: RunStore, folder: Path, artifacts: ArtifactStore) -> None:
        self._store = store
        self._artifacts = artifacts
        self._folder = folder
        self._servers: dict[str, _Server] = {}
        self._failed_starts: dict[str, int] = {}
        self._restarts: dict[str, int] = {}
        self._errors: dict[str, str] = {}
        self._lock = threading.RLock()
        self._bell = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="deployments", daemon=True)

    def start(self) -> None:
        """Begin to keep the desired state true."""
        self._thread.start()

    def close(self) -> None:
        """Stop every server (they come back with the next daemon)."""
        self._closing = True
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            for name in list(self._servers):
                self._stop(name)

    def put(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Set what shall answer under this name; asking for the same again changes nothing.

        Raises:
            SpecError: the name, the model or a setting is not what it must be.
        """
        wanted = _check(name, body)
        with self._store.database.write() as connection:
            artifact = find_artifact(
                connection, wanted["model"], self._store.artifact_root, "model"
            )
            wanted["model"] = artifact.reference
            connection.execute(sa.delete(DEPLOYMENTS).where(DEPLOYMENTS.c.name == name))
            connection.execute(
                sa.insert(DEPLOYMENTS).values(name=name, changed_at=time.time(), **wanted)
            )
            move_alias(connection, "model", artifact.name, f"deployed.{name}", artifact.version, "")
        with self._lock:
            self._failed_starts.pop(name, None)
            self._errors.pop(name, None)
        self._bell.set()
        return self.get(name)

    def get(self, name: str) -> dict[str, Any]:
        """Return what is wanted under a name and what answers there now."""
        for record in self.all():
            if record["name"] == name:
                return record
        names = [record["name"] for record in self.all()]
        raise SpecError(f"There is no deployment {name!r}", where="deployments",
                        next_step=nearest_name(name, names))  # fmt: skip

    def all(self) -> list[dict[str, Any]]:
        """Return every deployment with its state."""
        with self._lock:
            return [
                {
                    "name": row.name,
                    "model": row.model,
                    "port": row.port,
                    "settings": json.loads(row.settings),
                    **self._observed(row),
                }
                for row in self._rows()
            ]

    def delete(self, name: str) -> dict[str, Any]:
        """Take a deployment down."""
        record = self.get(name)
        with self._store.database.write() as connection:
            connection.execute(sa.delete(DEPLOYMENTS).where(DEPLOYMENTS.c.name == name))
        self._bell.set()
        return {**record, "state": "stopped"}

    def _rows(self) -> list[Any]:
        with self._store.database.read() as connection:
            query = sa.select(DEPLOYMENTS).order_by(DEPLOYMENTS.c.name)
            return list(connection.execute(query))

    def _observed(self, row: Any) -> dict[str, Any]:
        server = self._servers.get(row.name)
        current = server is not None and server.wanted == _wanted(row)
        failed = self._failed_starts.get(row.name, 0) >= _MOST_FAILED_STARTS
        return {
            "state": "failed" if failed else server.state if server and current else "starting",
            "url": server.url if server and current else "",
            "pid": server.process.pid if server else None,
            "restarts": self._restarts.get(row.name, 0),
            "error": self._errors.get(row.name),
        }

    # -- the reconciler ---------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._closing:
            try:
                self._reconcile()
            except Exception:
                # One bad deployment must not end the loop that keeps the others up.
                LOG.exception("reconciling deployments failed; trying again")
            self._bell.wait(_LOOK_SECONDS if self._servers else _IDLE_SECONDS)
            self._bell.clear()

    def _reconcile(self) -> None:
        rows = {row.name: row for row in self._rows()}
        with self._lock:
            for name in list(self._servers):
                if name not in rows or self._servers[name].wanted != _wanted(rows[name]):
                    self._stop(name)
            for name, row in rows.items():
                if name in self._servers:
                    self._look_after(name)
                elif self._failed_starts.get(name, 0) < _MOST_FAILED_STARTS:
                    self._start(row)

    def _look_after(self, name: str) -> None:
        server = self._servers[name]
        code = server.process.poll()
        if code is not None:
            LOG.warning("deployment %s: server ended with %s, starting it again", name, code)
            if server.state == "starting":
                self._failed_starts[name] = self._failed_starts.get(name, 0) + 1
                self._errors[name] = _end_of(server.endpoint.parent / "server.log")
            self._restarts[name] = self._restarts.get(name, 0) + 1
            del self._servers[name]
            self._bell.set()
        elif server.state == "starting":
            self._try_ready(name, server)

    def _try_ready(self, name: str, server: _Server) -> None:
        url = _published_url(server.endpoint, server.process.pid)
        if url and _answers(f"{url}/ready"):
            server.url, server.state = url, "live"
            self._failed_starts.pop(name, None)
            self._errors.pop(name, None)
        elif time.monotonic() - server.started_at > _READY_SECONDS:
            server.process.kill()

    def _start(self, row: Any) -> None:
        with self._store.database.read() as connection:
            found = find_artifact(connection, row.model, self._store.artifact_root, "model")
        model = localised(self._artifacts, found)
        folder = self._folder / row.name
        folder.mkdir(parents=True, exist_ok=True)
        threads = str(json.loads(row.settings).get("num_threads", 1))
        command = [sys.executable, "-m", "workbench.serve.server"]
        options = {
            "--model-folder": str(model.path),
            "--name": row.name,
            "--reference": model.reference,
            "--port": str(row.port),
            "--log-folder": str(folder),
            "--num-threads": threads,
        }
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, *(part for pair in options.items() for part in pair)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": threads},
                preexec_fn=die_with_parent,  # one prctl: no lock can be held by the fork
            )
        self._servers[row.name] = _Server(
            _wanted(row), process, time.monotonic(), endpoint=folder / "endpoint.json"
        )

    def _stop(self, name: str) -> None:
        server = self._servers.pop(name)
        server.process.terminate()
        try:
            server.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


# It is also the name of a folder, and part of an alias of at most 120 characters.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _check(name: str, body: dict[str, Any]) -> dict[str, Any]:
    if not _NAME.fullmatch(name):
        raise SpecError(f"{name!r:.80} is no name for a deployment", where="name",
                        next_step="Use up to 100 letters, digits, dots and dashes.")  # fmt: skip
    port = required({"port": 0, **body}, "port", int)
    settings = required({"settings": {}, **body}, "settings", dict)
    num_threads = required({"num_threads": 1, **settings}, "num_threads", int)
    between(num_threads, "num_threads", 1, 1_024)
    return {
        "model": required(body, "model", str),
        "port": between(port, "port", 0, 65_535),
        "settings": json.dumps(settings, sort_keys=True),
    }


def _wanted(row: Any) -> tuple[Any, ...]:
    return (row.model, row.port, row.settings)


def _published_url(endpoint: Path, pid: int) -> str:
    """Return the address that this very process has published."""
    try:
        record = json.loads(endpoint.read_text())
    except (OSError, ValueError):
        return ""
    return str(record["url"]) if record.get("pid") == pid else ""


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own loopback URL
            return bool(response.status == 200)
    except OSError:
        return False


def _end_of(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-2_000:]
    except OSError as error:
        return str(error)
