"""What a request gives, checked where it enters: a wrong one is told what is wrong with it."""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

from starlette.requests import Request

from workbench.core.artifact import ARTIFACT_KINDS
from workbench.core.errors import SpecError, nearest_name
from workbench.pool.agents import Report

MOST_BODY_BYTES = 16_000_000
_LONGEST_WAIT_SECONDS = 60.0

Value = TypeVar("Value")


async def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object in the request's body.

    Raises:
        SpecError: it is too large, no JSON, or no object.
    """
    content = await request.body()
    if len(content) > MOST_BODY_BYTES:
        raise SpecError(f"The request is larger than {MOST_BODY_BYTES} bytes", where="body")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"The request is not JSON: {error}", where="body") from error
    if not isinstance(body, dict):
        raise SpecError("The request must be a JSON object", where="body")
    return body


def required(body: dict[str, Any], name: str, kind: type[Value]) -> Value:
    """Return a field that must be there and of this type.

    Raises:
        SpecError: it is not.
    """
    value = body.get(name)
    # To Python a bool is an int, to everybody else it is not.
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise SpecError(f"The request needs {name!r} as {_JSON_NAMES.get(kind, kind.__name__)}, "
                    f"got {value!r:.80}", where=name, next_step=f"Give {name}.")  # fmt: skip


_JSON_NAMES: dict[type, str] = {
    str: "a text", int: "a whole number", float: "a number with a point", dict: "an object",
    list: "a list",
}  # fmt: skip


def between(value: int, name: str, least: int, most: int) -> int:
    """Return a number that lies within its bounds.

    Raises:
        SpecError: it does not.
    """
    if least <= value <= most:
        return value
    raise SpecError(f"{name}={value} is not a whole number from {least} to {most}",
                    where=name, next_step=f"Give {name} between {least} and {most}.")  # fmt: skip


def query_number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Return a whole number of the query, cut to its bounds."""
    text = request.query_params.get(name)
    try:
        number = default if text is None else int(text)
    except ValueError as error:
        raise SpecError(f"{name}={text!r} is not a whole number", where=name) from error
    return min(max(number, least), most)


def query_wait_seconds(request: Request) -> float:
    """Return how long the answer may be held back, at most a minute."""
    return wait_seconds(request.query_params.get("wait", "0"))


def wait_seconds(given: Any) -> float:
    """Return how long the answer may be held back, at most a minute."""
    try:
        seconds = float(given)
    except (ValueError, TypeError):
        seconds = math.nan
    if math.isnan(seconds):
        raise SpecError(f"wait={given!r} is not a number of seconds", where="wait")
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)


def read_report(agent: str, body: dict[str, Any]) -> Report:
    """Return what an agent tells."""
    return Report(
        agent=agent,
        incarnation=required(body, "incarnation", str),
        host=required(body, "host", str),
        pid=required(body, "pid", int),
        num_slots=required(body, "num_slots", int),
        has=required(body, "has", dict),
        version=required(body, "version", str),
        leaving=body.get("leaving", False) is True,
    )


def query_kind(request: Request) -> str | None:
    """Return the kind of artifact that is asked for, None for any."""
    kind = request.query_params.get("kind")
    if kind is not None and kind not in ARTIFACT_KINDS:
        raise SpecError(f"There is no kind of artifact {kind!r}", where="kind",
                        next_step=nearest_name(kind, ARTIFACT_KINDS))  # fmt: skip
    return kind
