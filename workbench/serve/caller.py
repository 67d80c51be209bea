"""Calls to a prediction server as a client makes them: over HTTP, on one kept connection."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from workbench.core.errors import ResourceError

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    """What came back: status, decoded JSON (None: it was none), and how long that took."""

    status: int
    content: Any
    seconds: float


class Caller:
    """A client of one server; use it in a ``with``."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(
            parts.hostname, parts.port, timeout=TIMEOUT_SECONDS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def predict(self, *texts: str) -> Reply:
        """Ask for the labels of texts: one as ``text``, several as ``texts``."""
        body = {"text": texts[0]} if len(texts) == 1 else {"texts": texts}
        return self.send("POST", "/v1/predict", json.dumps(body).encode())

    def send(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Send one request.

        Raises:
            ResourceError: there was no answer.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        start = time.perf_counter()
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ResourceError(
                f"The server did not answer {method} {path}: {type(error).__name__}: {error}",
                where=self.url,
                next_step="Read the server's log: it ended, or it hangs.",
            ) from error
        seconds = time.perf_counter() - start
        return Reply(response.status, _decode(content), seconds)


def _decode(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
