"""A bell that any thread may ring and any number of requests may wait for."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Bell:
    """Wakes every waiting coroutine; the waiters look for themselves what has changed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()

    def attach(self) -> None:
        """Bind the bell to the running event loop."""
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """Wake everyone; callable from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # the loop closed between check and call
                self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, seconds: float) -> None:
        """Wait for the next ring, at most this long."""
        rung = self._rung
        with suppress(TimeoutError):
            await asyncio.wait_for(rung.wait(), seconds)

    def _wake(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()
