"""Reading prediction requests: every way in which one can be wrong has its own clear refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from workbench.core.errors import SpecError, WorkbenchError
from workbench.serve.limits import Limits

EXAMPLE = 'Send {"text": "..."} or {"texts": ["...", "..."]} as JSON in UTF-8.'

# A refused body is read on up to this many times the limit, because a client that is still
# sending when the connection closes never sees the answer.
DRAINED_BODIES = 16


class Refused(Exception):
    """A request that is answered with an error: an HTTP status and what the client should know."""

    def __init__(self, status: int, error: WorkbenchError, *, retry_seconds: int = 0) -> None:
        super().__init__(error.what)
        self.status = status
        self.error = error
        self.headers = {"Retry-After": str(retry_seconds)} if retry_seconds else {}


async def read_body(stream: AsyncIterator[bytes], limits: Limits) -> bytes:
    """Gather a body from its chunks.

    Raises:
        Refused: 413 when it is too large, 408 when it does not arrive in time.
    """
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _gather(stream, limits.max_body_bytes)
    except TimeoutError as error:
        late = SpecError(
            f"The request body did not arrive within {limits.body_seconds:g} s",
            where="body",
            next_step="Send the whole body at once.",
        )
        raise Refused(408, late) from error


async def _gather(stream: AsyncIterator[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    num_bytes = 0
    async for chunk in stream:
        num_bytes += len(chunk)
        if num_bytes <= max_bytes:
            body += chunk
        if num_bytes > DRAINED_BODIES * max_bytes:
            break
    if num_bytes > max_bytes:
        next_step = "Send fewer or shorter texts per request."
        what = f"The request body is larger than {max_bytes:,} bytes"
        raise Refused(413, SpecError(what, where="body", next_step=next_step))
    return bytes(body)


def parse_texts(body: bytes, max_texts: int) -> list[str]:
    """Return the texts of a request body, one or more.

    Raises:
        Refused: 422 with what is wrong and where.
    """
    request = _parse_object(body)
    if set(request) == {"text"}:
        return [_check_text(request["text"], "text")]
    if set(request) != {"texts"}:
        given = ", ".join(sorted(request)[:5])[:200] or "nothing"
        raise _wrong(f"The request must hold either text or texts, and holds {given}", "body")
    texts = request["texts"]
    if not isinstance(texts, list) or not texts:
        raise _wrong("texts must be a list with at least one text", "texts")
    if len(texts) > max_texts:
        raise _wrong(f"{len(texts)} texts are too many, {max_texts} at most", "texts",
                     "Split them over several requests.")  # fmt: skip
    return [_check_text(text, f"texts[{place}]") for place, text in enumerate(texts)]


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # wrong encoding, no JSON, nested too deeply
        raise _wrong(f"The body is not JSON in UTF-8: {str(error)[:200]}", "body") from error
    if not isinstance(request, dict):
        raise _wrong(f"The body must be a JSON object, not {type(request).__name__}", "body")
    return request


def _check_text(text: object, where: str) -> str:
    if not isinstance(text, str):
        raise _wrong(f"{where} must be a text, not {type(text).__name__}", where)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can write half of a surrogate pair: "\ud800"
        raise _wrong(f"{where} holds half a character at {error.start}", where) from error
    return text


def _wrong(what: str, where: str, next_step: str = EXAMPLE) -> Refused:
    return Refused(422, SpecError(what, where=where, next_step=next_step))
