"""The client of a workspace's daemon: JSON over HTTP, with nothing to install.

On the daemon's own host that is loopback; where a pool has other hosts it is TLS. Kernel, command
line, papermill and workers all speak through it. It needs only the standard library, as it is
loaded wherever ``import workbench`` is used.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from workbench.core.errors import ResourceError, WorkbenchError, error_from_json
from workbench.core.tls import client_context

ADVICE = "See daemon.log in the workspace; then: workbench up"
_REQUEST_SECONDS = 90.0
_ANSWER_SECONDS = 20.0  # for what is only read, after the time for which it was to be held back
# How long a run waits for a database server that is away; people are told of it at once.
RUN_PATIENCE_SECONDS = 600.0


class Location(NamedTuple):
    """Where a daemon listens."""

    url: str
    token: str
    root: Path | None = None  # the workspace's folder: its certificate is there, if there is one


class Endpoint(Protocol):
    """Where a daemon listens: found again before each retry."""

    def locate(self) -> Location:
        """Return a daemon that should answer, after starting one if need be."""

    def advice(self) -> str:
        """Return what to do where it does not answer."""


class FixedEndpoint:
    """A daemon that is known to run, as a worker knows its own."""

    def __init__(self, url: str, token: str, root: Path | None = None) -> None:
        self.url, self.token, self.root = url, token, root

    def locate(self) -> Location:
        """Return the address given."""
        return Location(self.url, self.token, self.root)

    def advice(self) -> str:
        """Return what to do where it does not answer."""
        return ADVICE


def _answer_seconds(method: str, path: str) -> float:
    """Return for how long an answer is waited for."""
    if method != "GET":
        return _REQUEST_SECONDS  # it may hash large files
    held_back = parse_qs(urlsplit(path).query).get("wait", ["0"])
    return float(held_back[0]) + _ANSWER_SECONDS


class _Connection(http.client.HTTPConnection):
    """A connection that is closed with the thread, or the client, that it belonged to."""

    def __del__(self) -> None:
        self.close()


class _EncryptedConnection(http.client.HTTPSConnection, _Connection):
    """The same between hosts."""


class Client:
    """Requests to a daemon; errors come back as the WorkbenchErrors they were there.

    A request that finds no daemon is sent again to the next one for as long as ``patience_seconds``
    lasts, so a killed and restarted daemon is not noticed. What the daemon cannot do because its
    database server is away is asked again for ``database_seconds``. Every request may therefore
    arrive twice; all of the daemon's routes are written for that.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        patience_seconds: float = 60.0,
        database_seconds: float = 0.0,
        answer_seconds: float | None = None,
    ) -> None:
        """Prepare; an answer that takes longer than ``answer_seconds`` was lost on its way."""
        self._answer_seconds = answer_seconds
        self._endpoint = endpoint
        self._patience_seconds = patience_seconds
        self._database_seconds = database_seconds
        self._local = threading.local()

    def get(self, path: str, **query: Any) -> Any:
        """Fetch JSON; ``None`` values in the query are left out."""
        given = {key: value for key, value in query.items() if value is not None}
        return self._request("GET", f"{path}?{urlencode(given)}" if given else path)

    def post(self, path: str, body: Any = None) -> Any:
        """Send JSON and return the answer."""
        return self._request("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        """Set JSON and return the answer."""
        return self._request("PUT", path, body)

    def delete(self, path: str) -> Any:
        """Take something away and return the answer."""
        return self._request("DELETE", path)

    def close(self) -> None:
        """Close this thread's connection."""
        self._drop()

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        payload = None if body is None else json.dumps(body).encode()
        place = quote(path, safe="/?=&%@:+,-_.~")
        deadline = time.monotonic() + self._database_seconds
        while True:
            status, answer, retry_seconds = self._send_until_answered(method, place, payload)
            if status < 400:
                return answer
            if not retry_seconds or time.monotonic() + retry_seconds > deadline:
                raise error_from_json(answer)
            time.sleep(retry_seconds)

    def _send_until_answered(
        self, method: str, path: str, payload: bytes | None
    ) -> tuple[int, Any, float]:
        deadline: float | None = None
        while True:
            try:
                return self._send(method, path, payload)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                is_slow = isinstance(error, TimeoutError) and self._answer_seconds is None
                if is_slow and method != "GET" and self._is_up():
                    deadline = None  # it is at work on it: who asks again waits for the same
                    continue
                # From the first failure on: a daemon that stands still is found out only then.
                deadline = deadline or time.monotonic() + self._patience_seconds
                if time.monotonic() >= deadline:
                    raise ResourceError(
                        f"The daemon does not answer: {error}",
                        where="daemon",
                        next_step=self._endpoint.advice(),
                    ) from error
                time.sleep(0.05)

    def _is_up(self) -> bool:
        """Whether a daemon answers, if not yet what it was asked."""
        try:
            self._send("GET", "/status", None)
        except (OSError, http.client.HTTPException, WorkbenchError):
            self._drop()
            return False
        return True

    def _send(self, method: str, path: str, payload: bytes | None) -> tuple[int, Any, float]:
        """Return status, answer, and after how many seconds to ask again (0: do not)."""
        connection, token = self._connection()
        patience = self._answer_seconds or _answer_seconds(method, path)
        if connection.sock is not None:
            connection.sock.settimeout(patience)
        else:
            connection.timeout = patience
        headers = {"Authorization": f"Bearer {token}"}
        if payload is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body=payload, headers=headers)
        response = connection.getresponse()
        content = response.read()
        try:
            answer = json.loads(content) if content else None
            if response.status >= 400 and not isinstance(answer, dict):
                raise ValueError(f"status {response.status} without an error in it")
            return response.status, answer, float(response.getheader("Retry-After", "0"))
        except ValueError as error:
            raise ResourceError(
                f"What answers at {connection.host}:{connection.port} is no daemon of a workspace",
                where="daemon",
                next_step="Look at daemon.json in the workspace; then: workbench up",
            ) from error

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        """Return this thread's open connection, opening one when there is none."""
        if getattr(self._local, "connection", None) is None:
            location = self._endpoint.locate()
            self._local.connection = _open_connection(location)
            self._local.token = location.token
        return self._local.connection, self._local.token

    def _drop(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
        self._local.connection = None


def _open_connection(location: Location) -> http.client.HTTPConnection:
    parts = urlsplit(location.url)
    assert parts.hostname is not None
    if parts.scheme != "https":
        return _Connection(parts.hostname, parts.port, timeout=_REQUEST_SECONDS)
    assert location.root is not None, "only a workspace's folder holds its certificate"
    return _EncryptedConnection(
        parts.hostname,
        parts.port,
        timeout=_REQUEST_SECONDS,
        context=client_context(location.root),
    )
