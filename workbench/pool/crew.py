"""The other workers of a run, as the worker that leads the run reaches them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any

_LOOK_SECONDS = 1.0  # how long a death may go unnoticed that Dask does not tell of


class WorkerLost(Exception):
    """The worker died before it had answered, or is there no more."""


class Crew:
    """The workers of a run's other slots; made in the thread of the run's own stage."""

    def __init__(self, addresses: Mapping[str, str], look_seconds: float = _LOOK_SECONDS) -> None:
        self._addresses = dict(addresses)
        self._look_seconds = look_seconds
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
        answer = _fetch(future)
        while not wait([answer], timeout=self._look_seconds).done:
            # An order that was sent to a dying worker, or an answer that died with it, never comes.
            if not self._is_there(slot):
                future.cancel()
                raise WorkerLost(slot)
        try:
            return answer.result()
        except (KilledWorker, FutureCancelledError) as error:
            raise WorkerLost(slot) from error

    def _is_there(self, slot: str) -> bool:
        assert self._client is not None
        # Not by the client's scheduler_info: its own refresh puts a list without workers in there.
        try:
            told = self._client.sync(self._client.scheduler.identity, n_workers=-1)
        except OSError:  # no answer of the scheduler says nothing of the worker
            return True
        return self._addresses[slot] in told["workers"]


def _fetch(future: Any) -> Future[Any]:
    """Wait for what a Dask future brings in a thread of its own, which ends with the future.

    Without a timeout of Dask's: one that ends just as the answer comes looks like a TimeoutError of
    the function, or like a bug of Dask.
    """
    answer: Future[Any] = Future()

    def bring() -> None:
        try:
            answer.set_result(future.result())
        except BaseException as error:  # whatever it is, it is the caller's
            answer.set_exception(error)

    threading.Thread(target=bring, daemon=True).start()
    return answer


def _client() -> Any:
    """Return the client of the worker in whose thread this is called."""
    from distributed import get_client

    return get_client()
