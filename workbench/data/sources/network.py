"""Which failures of a network pass by themselves, whatever library tells of them."""

from __future__ import annotations

from workbench.core.errors import Cause

# By name: each protocol has its own library, which is loaded only where it is used.
_PASSING = {
    "ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError", "RemoteProtocolError",  # httpx
    "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
    "ClientConnectorError", "ServerDisconnectedError", "ServerTimeoutError",  # botocore, aiohttp
}  # fmt: skip
_PASSING_STATUSES = {429, 500, 502, 503, 504}


def cause_of(error: BaseException) -> Cause | None:
    """Return ``UNREACHABLE`` if an error is of a server or network that may be back soon.

    What has brought the error about counts, too. A name that no host has is a mistake, not this.
    """
    seen: BaseException | None = error
    while seen is not None:
        status = getattr(getattr(seen, "response", None), "status_code", None)
        is_passing = isinstance(seen, ConnectionError | TimeoutError)
        if is_passing or type(seen).__name__ in _PASSING or status in _PASSING_STATUSES:
            return Cause.UNREACHABLE
        seen = seen.__cause__ or seen.__context__
    return None
