"""The daemon's HTTP API: JSON, one bearer token, loopback only.

Every route may be called twice with the same effect as once: clients repeat a request whose
answer they did not get.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workbench.catalog.database_faults import DatabaseAwayError
from workbench.core.artifact import Artifact
from workbench.core.errors import BugError, SpecError, WorkbenchError, error_from_json
from workbench.daemon.keeping_api import keeping_routes
from workbench.daemon.request import (
    between,
    query_kind,
    query_number,
    query_wait_seconds,
    read_body,
    read_report,
    required,
    wait_seconds,
)
from workbench.daemon.service import Service
from workbench.queue.entitlements import Entitlement
from workbench.queue.leadership import DeposedError
from workbench.queue.rows import SupersededError
from workbench.queue.states import RunEvent, is_at_rest

LOG = logging.getLogger(__name__)
_MOST_SLOTS = 1_024  # in a forecast
_LOOK_AGAIN_SECONDS = 5.0  # while a client waits, also if nothing has rung
_RETRY = {"Retry-After": "1"}  # seconds; tells clients that the same may be asked again
_STATUS_OF_FAMILY = {"spec": 422, "data": 422, "resource": 503, "stage": 500, "bug": 500}

Handler = Callable[[Request], Awaitable[Response]]


def make_app(service: Service, token: str) -> Starlette:
    """Return the ASGI application; every route wants the token."""
    api = _Api(service)
    run, attempt = "/runs/{run_id}", "/runs/{run_id}/attempts/{term:int}"
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/status", api.status),
        ("POST", "/shutdown", api.shutdown),
        ("GET", "/pool", api.get_pool),
        ("GET", "/pool/forecast", api.get_forecast),
        ("GET", "/pool/shares", api.list_shares),
        ("PUT", "/pool/shares/{name:path}", api.set_share),
        ("DELETE", "/pool/shares/{name:path}", api.drop_share),
        ("GET", "/runs", api.list_runs),
        ("POST", "/runs", api.submit),
        ("POST", "/runs/news", api.get_news),
        ("GET", run, api.get_run),
        ("GET", f"{run}/events", api.get_events),
        ("POST", f"{run}/pause", api.ask(RunEvent.PAUSE)),
        ("POST", f"{run}/resume", api.ask(RunEvent.RESUME)),
        ("POST", f"{run}/cancel", api.ask(RunEvent.CANCEL)),
        ("POST", f"{run}/priority", api.prioritise),
        ("POST", "/agents/{agent}/exchange", api.exchange),
        ("POST", f"{attempt}/report", api.report),
        ("GET", f"{attempt}/wish", api.get_wish),
        ("POST", f"{attempt}/checkpoints", api.add_checkpoint),
        ("DELETE", f"{attempt}/checkpoints/{{key:path}}", api.drop_checkpoint),
        ("POST", f"{attempt}/helpers", api.add_helpers),
        ("POST", f"{attempt}/committed", api.commit),
        ("POST", f"{attempt}/failed", api.fail),
        ("POST", f"{attempt}/stopped", api.stop),
        ("GET", "/artifacts", api.list_artifacts),
        ("GET", "/artifacts/{reference}", api.get_artifact),
        ("GET", "/deployments", api.list_deployments),
        ("GET", "/deployments/{name}", api.get_deployment),
        ("PUT", "/deployments/{name}", api.put_deployment),
        ("DELETE", "/deployments/{name}", api.delete_deployment),
        *keeping_routes(service.keeping),
    ]
    return Starlette(
        routes=[
            Route(path, _guarded(handler, token), methods=[verb]) for verb, path, handler in table
        ],
        exception_handlers={404: _no_such_route, 405: _no_such_route},
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
            if isinstance(error, DeposedError):
                status = 503  # asked again, it is the next leader who answers
            headers = _RETRY if isinstance(error, DatabaseAwayError | DeposedError) else None
            return JSONResponse(error.to_json(), status_code=status, headers=headers)
        except Exception as error:
            bug = BugError(f"{type(error).__name__}: {error}", where=str(request.url.path),
                           next_step="See daemon.log in the workspace.")  # fmt: skip
            LOG.error("request failed", exc_info=error)
            return JSONResponse(bug.to_json(), status_code=500)

    return guarded


async def _no_such_route(request: Request, error: Exception) -> Response:
    refused = SpecError(f"The daemon has no {request.method} {request.url.path}", where="daemon")
    return JSONResponse(refused.to_json(), status_code=getattr(error, "status_code", 404))


class _Api:
    """The handlers; blocking work goes to threads, waiting stays in the event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store

    async def status(self, _request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._service.status))

    async def get_pool(self, _request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._service.pool_view.pool))

    async def get_forecast(self, request: Request) -> Response:
        slots = query_number(request, "slots", 0, 0, _MOST_SLOTS)
        return JSONResponse(
            await run_in_threadpool(self._service.pool_view.forecast, slots or None)
        )

    async def list_shares(self, _request: Request) -> Response:
        found = await run_in_threadpool(self._store.entitlements)
        return JSONResponse([one.to_json() for one in found])

    async def set_share(self, request: Request) -> Response:
        body = await read_body(request)
        most = None if body.get("most_slots") is None else required(body, "most_slots", int)
        wanted = Entitlement(request.path_params["name"], required(body, "weight", float), most)
        await run_in_threadpool(self._store.entitle, wanted)
        self._service.changed()
        return JSONResponse(wanted.to_json())

    async def drop_share(self, request: Request) -> Response:
        await run_in_threadpool(self._store.drop_entitlement, request.path_params["name"])
        self._service.changed()
        return JSONResponse({})

    async def shutdown(self, _request: Request) -> Response:
        self._service.ask_to_stop()
        return JSONResponse({"stopping": True})

    # -- runs -------------------------------------------------------------------------------------

    async def submit(self, request: Request) -> Response:
        body = await read_body(request)
        return JSONResponse(await run_in_threadpool(self._service.submit, body))

    async def list_runs(self, request: Request) -> Response:
        limit = query_number(request, "limit", 50, least=1, most=1_000)
        parent = request.query_params.get("parent")
        return JSONResponse(await run_in_threadpool(self._store.runs, limit, parent))

    async def get_run(self, request: Request) -> Response:
        """Return the run; with ``wait``, once it is over, had to pause, or the time is up."""
        run_id = request.path_params["run_id"]
        deadline = time.monotonic() + query_wait_seconds(request)
        while True:
            rung = self._service.bell.listen()
            run = await run_in_threadpool(self._store.run, run_id)
            left = deadline - time.monotonic()
            if is_at_rest(run) or left <= 0 or self._service.is_stopping:
                return JSONResponse(run)
            await self._service.bell.wait(rung, min(left, _LOOK_AGAIN_SECONDS))

    async def get_events(self, request: Request) -> Response:
        """Return events after a sequence number; with ``wait``, once there are any."""
        run_id = request.path_params["run_id"]
        after = query_number(request, "after", 0, least=0, most=1 << 62)
        deadline = time.monotonic() + query_wait_seconds(request)
        while True:
            rung = self._service.bell.listen()
            events = await run_in_threadpool(self._store.events, run_id, after)
            left = deadline - time.monotonic()
            if events or left <= 0 or self._service.is_stopping:
                return JSONResponse(events)
            await self._service.bell.wait(rung, min(left, _LOOK_AGAIN_SECONDS))

    async def get_news(self, request: Request) -> Response:
        """Return what is new of several runs, ``{run_id: {record, events}}``.

        ``known`` has the last sequence number that is known of each; with ``wait``, the answer
        comes once there is anything new.
        """
        body = await read_body(request)
        known = required(body, "known", dict)
        for run_id, after in known.items():
            between(required({run_id: after}, run_id, int), run_id, 0, 1 << 62)
        deadline = time.monotonic() + wait_seconds(body.get("wait", 0.0))
        while True:
            rung = self._service.bell.listen()
            news = await run_in_threadpool(self._store.news, known)
            left = deadline - time.monotonic()
            if news or left <= 0 or self._service.is_stopping:
                return JSONResponse(news)
            await self._service.bell.wait(rung, min(left, _LOOK_AGAIN_SECONDS))

    def ask(self, event: RunEvent) -> Handler:
        async def asked(request: Request) -> Response:
            run_id = request.path_params["run_id"]
            run = await run_in_threadpool(self._store.ask, run_id, event)
            self._service.changed()
            return JSONResponse(run)

        return asked

    async def prioritise(self, request: Request) -> Response:
        body = await read_body(request)
        priority = between(required(body, "priority", int), "priority", -100, 100)
        run_id = request.path_params["run_id"]
        run = await run_in_threadpool(self._store.prioritise, run_id, priority)
        self._service.changed()
        return JSONResponse(run)

    # -- agents -----------------------------------------------------------------------------------

    async def exchange(self, request: Request) -> Response:
        """Note what an agent has; say what to do once there is something, or the time is up."""
        body = await read_body(request)
        report = read_report(request.path_params["agent"], body)
        deadline = time.monotonic() + wait_seconds(body.get("wait", 0.0))
        rung = self._service.bell.listen()
        answer = self._service.exchange(report)
        while not answer.says_something and (left := deadline - time.monotonic()) > 0:
            await self._service.bell.wait(rung, left)
            rung = self._service.bell.listen()
            answer = self._service.agents.answer(report)
        return JSONResponse(answer.to_json())

    async def add_helpers(self, request: Request) -> Response:
        body = await read_body(request)
        address, slots = required(body, "address", str), required(body, "slots", list)
        self._service.dispatcher.add_helpers(*_attempt(request), address, slots)
        return JSONResponse({})

    # -- attempts ---------------------------------------------------------------------------------

    async def report(self, request: Request) -> Response:
        events = required(await read_body(request), "events", list)
        wish = await run_in_threadpool(self._store.report, *_attempt(request), events)
        if events:
            self._service.bell.ring()
        return JSONResponse({"wish": wish})

    async def get_wish(self, request: Request) -> Response:
        """Return what the run is wished to do, once that is not what the attempt knows."""
        known = request.query_params.get("known", "")
        deadline = time.monotonic() + query_wait_seconds(request)
        wish, seen = known, -1
        while True:
            rung = self._service.bell.listen()
            if self._store.revision != seen:  # else nobody has asked for anything since
                seen = self._store.revision
                wish = await run_in_threadpool(self._store.wish, *_attempt(request))
            left = deadline - time.monotonic()
            if wish != known or left <= 0 or self._service.is_stopping:
                return JSONResponse({"wish": wish})
            await self._service.bell.wait(rung, min(left, _LOOK_AGAIN_SECONDS))

    async def add_checkpoint(self, request: Request) -> Response:
        body = await read_body(request)
        arguments = (*_attempt(request), required(body, "key", str), required(body, "folder", str))
        folder = await run_in_threadpool(self._store.add_checkpoint, *arguments)
        self._service.dispatcher.saved(arguments[0])
        self._service.bell.ring()
        return JSONResponse({"folder": folder})

    async def drop_checkpoint(self, request: Request) -> Response:
        key = request.path_params["key"]
        await run_in_threadpool(self._store.drop_checkpoint, *_attempt(request), key)
        return JSONResponse({})

    async def commit(self, request: Request) -> Response:
        body = await read_body(request)
        made = required(body, "outputs", dict)
        outputs = {name: Artifact.from_json(value) for name, value in made.items()}
        run = await run_in_threadpool(self._service.commit, *_attempt(request), outputs)
        return JSONResponse(run)

    async def fail(self, request: Request) -> Response:
        error = error_from_json(await read_body(request))
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
        kind = query_kind(request)
        artifacts = await run_in_threadpool(self._service.artifacts, kind)
        return JSONResponse([artifact.to_json() for artifact in artifacts])

    async def get_artifact(self, request: Request) -> Response:
        reference = request.path_params["reference"]
        kind = query_kind(request)
        artifact = await run_in_threadpool(self._service.artifact, reference, kind)
        return JSONResponse(artifact.to_json())

    async def list_deployments(self, _request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._service.deployments.all))

    async def get_deployment(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(await run_in_threadpool(self._service.deployments.get, name))

    async def put_deployment(self, request: Request) -> Response:
        body = await read_body(request)
        name = request.path_params["name"]
        return JSONResponse(await run_in_threadpool(self._service.deployments.put, name, body))

    async def delete_deployment(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(await run_in_threadpool(self._service.deployments.delete, name))


def _attempt(request: Request) -> tuple[str, int]:
    return request.path_params["run_id"], request.path_params["term"]
