"""A bell that any thread may ring and any number of requests may wait for."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Bell:
    """Wakes every waiting coroutine; the waiters look for themselves what has changed.

    A waiter listens before it looks: what rings between its look and its wait wakes it too.
    """

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

    def listen(self) -> asyncio.Event:
        """Return what the next ring sets; hand it to ``wait``."""
        return self._rung

    async def wait(self, rung: asyncio.Event, seconds: float) -> None:
        """Wait for the first ring since ``listen``, at most this long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(rung.wait(), seconds)

    def _wake(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()
