"""The other workers of a run, as the worker that leads the run reaches them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_LOOK_SECONDS = 1.0  # how long a death may go unnoticed that Dask does not tell of


class WorkerLost(Exception):
    """The worker died before it had answered, or is there no more."""


class Crew:
    """The workers of a run's other slots; made in the thread of the run's own stage."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self._client = _client() if addresses else None

    @property
    def slots(self) -> list[str]:
        """The slots whose workers can be called."""
        return list(self._addresses)

    def call(self, slot: str, key: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on one worker and return its answer; from any thread.

        Arguments are plain values and functions of modules: text stays where it is.

        Raises:
            WorkerLost: the worker is gone; whether it had begun is not known.
            Exception: whatever the function raised.
        """
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        assert self._client is not None
        if not self._is_there(slot):
            raise WorkerLost(slot)
        future = self._client.submit(
            function, *arguments, key=key, workers=[self._addresses[slot]],
            allow_other_workers=False, pure=False, retries=0,
        )  # fmt: skip
        while True:
            try:
                return future.result(timeout=_LOOK_SECONDS)
            except TimeoutError as error:
                # A function's own TimeoutError ends the future; else it is still at work, unless
                # the order was sent to a dying worker: then it waits for ever.
                if future.done():
                    raise
                if not self._is_there(slot):
                    future.cancel()
                    raise WorkerLost(slot) from error
            except (KilledWorker, FutureCancelledError) as error:
                raise WorkerLost(slot) from error

    def _is_there(self, slot: str) -> bool:
        assert self._client is not None
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        return self._addresses[slot] in known


def _client() -> Any:
    """Return the client of the worker in whose thread this is called."""
    from distributed import get_client

    return get_client()
