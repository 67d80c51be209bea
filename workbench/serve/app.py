"""The HTTP face of a service: routes, status codes, and one shape of JSON for every error."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from workbench.core.errors import BugError, ResourceError, SpecError, WorkbenchError
from workbench.serve.measurements import CONTENT_TYPE
from workbench.serve.page import CONTENT_SECURITY_POLICY, render_page
from workbench.serve.request import Refused, parse_texts, read_body
from workbench.serve.service import Service

PREDICT = "/v1/predict"
ROUTES = f"POST {PREDICT}, GET /health, /ready, /metrics and /"
_CLIENT_LEFT = 499  # nginx's number for it; nobody reads this answer, but it is counted

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


class JSON(Response):
    """Plain values as JSON in ASCII, so that no text a client sent can fail to be encoded."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def make_app(service: Service, name: str, lifespan: Lifespan | None = None) -> Starlette:
    """Return the web application that answers for a service."""
    face = _Face(service, name)
    return Starlette(
        routes=[
            Route(PREDICT, face.predict, methods=["POST"]),
            Route("/health", face.health),
            Route("/ready", face.ready),
            Route("/metrics", face.metrics),
            Route("/", face.page),
        ],
        exception_handlers={HTTPException: _no_such_route, Exception: _bug},
        lifespan=lifespan,
    )


class _Face:
    """The endpoints of one service."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._page = render_page(name, service.reference)

    async def predict(self, request: Request) -> Response:
        """Answer a prediction request and count it, whatever comes of it."""
        start = time.perf_counter()
        status = 500
        try:
            response = await self._predict(request)
            status = response.status_code
            return response
        finally:
            self._service.measurements.count_request(status, time.perf_counter() - start)

    async def _predict(self, request: Request) -> Response:
        try:
            _refuse_other_sites(request)
            body = await read_body(request.stream(), self._service.limits)
            texts = parse_texts(body, self._service.limits.most_texts)
            return JSON(await self._service.predict(texts))
        except Refused as refused:
            return _error(refused.status, refused.error, refused.headers)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_LEFT)

    async def health(self, request: Request) -> Response:
        """Say that the process lives."""
        return JSON({"status": "ok", "model": self._service.reference})

    async def ready(self, request: Request) -> Response:
        """Say whether requests should be sent here: 200, or 503 with the reason."""
        complaint = self._service.complaint()
        if not complaint:
            return JSON({"status": "ready", "model": self._service.reference})
        error = ResourceError(f"Not ready: {complaint}", where=self._service.reference,
                              next_step="Restart the server or deploy another model.")  # fmt: skip
        return _error(503, error)

    async def metrics(self, request: Request) -> Response:
        """Give the counters in the Prometheus text format."""
        text = self._service.measurements.text(
            num_waiting=self._service.num_waiting, model=self._service.reference
        )
        return PlainTextResponse(text, headers={"Content-Type": CONTENT_TYPE})

    async def page(self, request: Request) -> Response:
        """Show the page where a person can try the model."""
        headers = {
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(self._page, headers=headers)


def _refuse_other_sites(request: Request) -> None:
    """Keep other web pages in a user's browser from filling the log with their texts."""
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        error = SpecError("Another site's page may not send requests here",
                          where="Sec-Fetch-Site",
                          next_step="Use this server's own page, or a program.")  # fmt: skip
        raise Refused(403, error)


def _error(status: int, error: WorkbenchError, headers: dict[str, str] | None = None) -> Response:
    return JSON(error.to_json(), status, headers)


async def _no_such_route(request: Request, exception: Exception) -> Response:
    assert isinstance(exception, HTTPException)
    error = SpecError(
        f"{request.method} is not for this path" if exception.status_code == 405
        else "There is nothing here" if exception.status_code == 404
        else exception.detail,
        where=request.url.path, next_step=f"Use {ROUTES}.",
    )  # fmt: skip
    headers = dict(exception.headers or {})
    return _error(exception.status_code, error, headers)


async def _bug(request: Request, exception: Exception) -> Response:
    error = BugError(
        f"The server failed: {type(exception).__name__}",
        where=request.url.path,
        next_step="Look for the traceback in the server's log and report it.",
        detail="".join(traceback.format_exception_only(exception)),
    )
    return _error(500, error)
