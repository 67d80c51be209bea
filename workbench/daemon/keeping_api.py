"""Routes for keeping a workspace tidy: delete, pin, alias, clear away, quota, snapshot."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workbench.core.errors import SpecError
from workbench.daemon.keeping import Keeping
from workbench.daemon.request import between, query_kind, read_body, required

Handler = Callable[[Request], Awaitable[Response]]
_MOST_DAYS = 36_500


def keeping_routes(keeping: Keeping) -> list[tuple[str, str, Handler]]:
    """Return (verb, path, handler) of every route here."""
    api = _KeepingApi(keeping)
    artifact = "/artifacts/{reference}"
    return [
        ("GET", f"{artifact}/deletion", api.preview),
        ("DELETE", artifact, api.delete),
        ("PUT", f"{artifact}/pin", api.pin),
        ("DELETE", f"{artifact}/pin", api.unpin),
        ("PUT", f"{artifact}/aliases/{{alias}}", api.set_alias),
        ("DELETE", f"{artifact}/aliases/{{alias}}", api.drop_alias),
        ("GET", "/tombstones", api.tombstones),
        ("POST", "/gc", api.clear),
        ("GET", "/quotas", api.quotas),
        ("PUT", "/quotas/{project}", api.set_quota),
        ("DELETE", "/quotas/{project}", api.drop_quota),
        ("POST", "/snapshot", api.snapshot),
    ]


class _KeepingApi:
    """The handlers; all work goes to threads."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping

    async def preview(self, request: Request) -> Response:
        return await _answer(
            self._keeping.preview, _reference(request), query_kind(request), _below(request)
        )

    async def delete(self, request: Request) -> Response:
        kind = query_kind(request)
        if kind is None:
            raise SpecError("The request needs the kind of artifact", where="kind")
        by = request.query_params.get("by", "")
        reason = request.query_params.get("reason", "")[:2_000]
        reference = _reference(request)
        for_run = request.query_params.get("for_run", "")
        return await _answer(
            self._keeping.delete, reference, kind, _below(request), by, reason, for_run
        )

    async def pin(self, request: Request) -> Response:
        return await self._pin(request, True)

    async def unpin(self, request: Request) -> Response:
        return await self._pin(request, False)

    async def _pin(self, request: Request, pinned: bool) -> Response:
        arguments = (_reference(request), query_kind(request), pinned)
        found = await run_in_threadpool(self._keeping.pin, *arguments)
        return JSONResponse(found.to_json())

    async def set_alias(self, request: Request) -> Response:
        return await self._alias(request, True)

    async def drop_alias(self, request: Request) -> Response:
        return await self._alias(request, False)

    async def _alias(self, request: Request, there: bool) -> Response:
        alias = request.path_params["alias"]
        arguments = (_reference(request), query_kind(request), alias, there)
        found = await run_in_threadpool(self._keeping.set_alias, *arguments)
        return JSONResponse(found.to_json())

    async def tombstones(self, request: Request) -> Response:
        return await _answer(self._keeping.tombstones, request.query_params.get("name"))

    async def clear(self, request: Request) -> Response:
        body = await read_body(request)
        keep_days = _days(body.get("keep_days"))
        dry_run = required(body, "dry_run", bool)
        by = str(body.get("by", ""))[:120]
        return await _answer(self._keeping.clear, keep_days, dry_run, by)

    async def quotas(self, _request: Request) -> Response:
        return await _answer(self._keeping.quotas)

    async def set_quota(self, request: Request) -> Response:
        num_bytes = required(await read_body(request), "num_bytes", int)
        between(num_bytes, "num_bytes", 0, 2**62)
        return await _answer(self._keeping.set_quota, request.path_params["project"], num_bytes)

    async def drop_quota(self, request: Request) -> Response:
        return await _answer(self._keeping.set_quota, request.path_params["project"], None)

    async def snapshot(self, request: Request) -> Response:
        name = required(await read_body(request), "name", str)
        return await _answer(self._keeping.snapshot, name)


async def _answer(function: Callable[..., Any], *arguments: Any) -> Response:
    return JSONResponse(await run_in_threadpool(function, *arguments))


def _reference(request: Request) -> str:
    reference: str = request.path_params["reference"]
    return reference


def _below(request: Request) -> bool:
    return request.query_params.get("with_descendants") == "true"


def _days(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and 0 <= value <= _MOST_DAYS:
        return float(value)
    raise SpecError(f"keep_days={value!r:.80} is no number of days", where="keep_days",
                    next_step=f"Give a number from 0 to {_MOST_DAYS}.")  # fmt: skip
