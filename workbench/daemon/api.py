"""The daemon's HTTP API: JSON, one bearer token, loopback only.

Every route may be called twice with the same effect as once: clients repeat a request whose
answer they did not get.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workbench.core.artifact import Artifact
from workbench.core.errors import BugError, SpecError, WorkbenchError, error_from_json
from workbench.daemon.service import Service
from workbench.queue.states import TERMINAL, RunEvent, RunState
from workbench.queue.store import SupersededError

_LONGEST_WAIT_SECONDS = 60.0
_MOST_BODY_BYTES = 16_000_000
_STATUS_OF_FAMILY = {"spec": 422, "data": 422, "resource": 503, "stage": 500, "bug": 500}

Handler = Callable[[Request], Awaitable[Response]]


def make_app(service: Service, token: str) -> Starlette:
    """Return the ASGI application; every route wants the token."""
    api = _Api(service)
    run, attempt = "/runs/{run_id}", "/runs/{run_id}/attempts/{term:int}"
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/status", api.status),
        ("POST", "/shutdown", api.shutdown),
        ("GET", "/runs", api.list_runs),
        ("POST", "/runs", api.submit),
        ("GET", run, api.get_run),
        ("GET", f"{run}/events", api.get_events),
        ("POST", f"{run}/pause", api.ask(RunEvent.PAUSE)),
        ("POST", f"{run}/resume", api.ask(RunEvent.RESUME)),
        ("POST", f"{run}/cancel", api.ask(RunEvent.CANCEL)),
        ("POST", f"{run}/priority", api.prioritise),
        ("POST", f"{attempt}/report", api.report),
        ("POST", f"{attempt}/checkpoints", api.add_checkpoint),
        ("DELETE", f"{attempt}/checkpoints/{{key}}", api.drop_checkpoint),
        ("POST", f"{attempt}/committed", api.commit),
        ("POST", f"{attempt}/failed", api.fail),
        ("POST", f"{attempt}/stopped", api.stop),
        ("GET", "/artifacts", api.list_artifacts),
        ("GET", "/artifacts/{reference}", api.get_artifact),
        ("GET", "/deployments", api.list_deployments),
        ("GET", "/deployments/{name}", api.get_deployment),
        ("PUT", "/deployments/{name}", api.put_deployment),
        ("DELETE", "/deployments/{name}", api.delete_deployment),
    ]
    return Starlette(
        routes=[
            Route(path, _guarded(handler, token), methods=[verb]) for verb, path, handler in table
        ]
    )


def _guarded(handler: Handler, token: str) -> Handler:
    """Let in who has the token; answer errors as JSON that the client turns back into errors."""
    expected = f"Bearer {token}".encode()

    async def guarded(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            error = SpecError(
                "The token is missing or wrong",
                where="daemon",
                next_step="Use the token in the workspace's daemon.json.",
            )
            return JSONResponse(error.to_json(), status_code=401)
        try:
            return await handler(request)
        except SupersededError as error:
            return JSONResponse(error.to_json(), status_code=409)
        except WorkbenchError as error:
            status = _STATUS_OF_FAMILY.get(error.family, 500)
            return JSONResponse(error.to_json(), status_code=status)
        except Exception as error:
            bug = BugError(f"{type(error).__name__}: {error}", where=str(request.url.path),
                           next_step="See daemon.log in the workspace.")  # fmt: skip
            service_log(error)
            return JSONResponse(bug.to_json(), status_code=500)

    return guarded


def service_log(error: Exception) -> None:
    """Write an unexpected error with its traceback to the daemon's log."""
    import logging

    logging.getLogger(__name__).error("request failed", exc_info=error)


class _Api:
    """The handlers; blocking work goes to threads, waiting stays in the event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store

    async def status(self, _request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._service.status))

    async def shutdown(self, _request: Request) -> Response:
        self._service.ask_to_stop()
        return JSONResponse({"stopping": True})

    # -- runs -------------------------------------------------------------------------------------

    async def submit(self, request: Request) -> Response:
        body = await _body(request)
        return JSONResponse(await run_in_threadpool(self._service.submit, body))

    async def list_runs(self, request: Request) -> Response:
        limit = min(_number(request, "limit", 50), 1_000)
        parent = request.query_params.get("parent")
        return JSONResponse(await run_in_threadpool(self._store.runs, int(limit), parent))

    async def get_run(self, request: Request) -> Response:
        """Return the run; with ``wait``, once it is over or the time is up."""
        run_id = request.path_params["run_id"]
        deadline = _deadline(request)
        while True:
            run = await run_in_threadpool(self._store.run, run_id)
            left = deadline - time.monotonic()
            if RunState(run["state"]) in TERMINAL or left <= 0:
                return JSONResponse(run)
            await self._service.bell.wait(min(left, 1.0))

    async def get_events(self, request: Request) -> Response:
        """Return events after a sequence number; with ``wait``, once there are any."""
        run_id = request.path_params["run_id"]
        after = int(_number(request, "after", 0))
        deadline = _deadline(request)
        while True:
            events = await run_in_threadpool(self._store.events, run_id, after)
            left = deadline - time.monotonic()
            if events or left <= 0:
                return JSONResponse(events)
            await self._service.bell.wait(min(left, 1.0))

    def ask(self, event: RunEvent) -> Handler:
        async def asked(request: Request) -> Response:
            run_id = request.path_params["run_id"]
            run = await run_in_threadpool(self._store.ask, run_id, event)
            self._service.changed()
            return JSONResponse(run)

        return asked

    async def prioritise(self, request: Request) -> Response:
        body = await _body(request)
        priority = int(body.get("priority", 0))
        if not -100 <= priority <= 100:
            raise SpecError(f"priority={priority} is not from -100 to 100", where="priority")
        run_id = request.path_params["run_id"]
        run = await run_in_threadpool(self._store.prioritise, run_id, priority)
        self._service.changed()
        return JSONResponse(run)

    # -- attempts ---------------------------------------------------------------------------------

    async def report(self, request: Request) -> Response:
        events = (await _body(request)).get("events", [])
        wish = await run_in_threadpool(self._store.report, *_attempt(request), events)
        if events:
            self._service.bell.ring()
        return JSONResponse({"wish": wish})

    async def add_checkpoint(self, request: Request) -> Response:
        body = await _body(request)
        arguments = (*_attempt(request), body["key"], body["folder"])
        folder = await run_in_threadpool(self._store.add_checkpoint, *arguments)
        return JSONResponse({"folder": folder})

    async def drop_checkpoint(self, request: Request) -> Response:
        key = request.path_params["key"]
        await run_in_threadpool(self._store.drop_checkpoint, *_attempt(request), key)
        return JSONResponse({})

    async def commit(self, request: Request) -> Response:
        body = await _body(request)
        outputs = {name: Artifact.from_json(value) for name, value in body["outputs"].items()}
        run_id, term = _attempt(request)
        run = await run_in_threadpool(self._store.commit, run_id, term, outputs)
        self._service.attempt_ended(run_id, term)
        return JSONResponse(run)

    async def fail(self, request: Request) -> Response:
        error = error_from_json(await _body(request))
        run_id, term = _attempt(request)
        await run_in_threadpool(self._store.fail, run_id, term, error)
        self._service.attempt_ended(run_id, term)
        return JSONResponse({})

    async def stop(self, request: Request) -> Response:
        run_id, term = _attempt(request)
        await run_in_threadpool(self._store.stop, run_id, term)
        self._service.attempt_ended(run_id, term)
        return JSONResponse({})

    # -- catalog and deployments ------------------------------------------------------------------

    async def list_artifacts(self, request: Request) -> Response:
        kind = request.query_params.get("kind")
        artifacts = await run_in_threadpool(self._service.artifacts, kind)
        return JSONResponse([artifact.to_json() for artifact in artifacts])

    async def get_artifact(self, request: Request) -> Response:
        reference = request.path_params["reference"]
        kind = request.query_params.get("kind")
        artifact = await run_in_threadpool(self._service.artifact, reference, kind)
        return JSONResponse(artifact.to_json())

    async def list_deployments(self, _request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._service.deployments.all))

    async def get_deployment(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(await run_in_threadpool(self._service.deployments.get, name))

    async def put_deployment(self, request: Request) -> Response:
        body = await _body(request)
        name = request.path_params["name"]
        return JSONResponse(await run_in_threadpool(self._service.deployments.put, name, body))

    async def delete_deployment(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(await run_in_threadpool(self._service.deployments.delete, name))


async def _body(request: Request) -> dict[str, Any]:
    content = await request.body()
    if len(content) > _MOST_BODY_BYTES:
        raise SpecError(f"The request is larger than {_MOST_BODY_BYTES} bytes", where="body")
    try:
        body = json.loads(content)
    except ValueError as error:
        raise SpecError(f"The request is not JSON: {error}", where="body") from error
    if not isinstance(body, dict):
        raise SpecError("The request must be a JSON object", where="body")
    return body


def _attempt(request: Request) -> tuple[str, int]:
    return request.path_params["run_id"], request.path_params["term"]


def _number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    try:
        return default if text is None else float(text)
    except ValueError as error:
        raise SpecError(f"{name}={text!r} is not a number", where=name) from error


def _deadline(request: Request) -> float:
    return time.monotonic() + min(_number(request, "wait", 0.0), _LONGEST_WAIT_SECONDS)
