"""A batcher that dispatches when idle: one worker thread takes whatever is waiting.

There is no timer. A lone item starts at once; while the thread is busy others gather, so batches
grow with the load by themselves and nobody waits for company that does not come.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from workbench.core.errors import BugError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class QueueFull(Exception):
    """So many items wait that these cannot be taken; nothing of them was."""


class BatcherClosed(Exception):
    """The batcher takes no more items."""


@dataclass(frozen=True)
class Failed:
    """What an item is answered with when the work fails on it alone."""

    error: Exception


class Batcher(Generic[Item, Answer]):
    """Gathers items of concurrent callers into batches for one worker thread.

    ``work`` gets 1 to ``max_batch`` items and returns one answer each, in order; it runs in a
    thread of its own, never twice at a time. All methods are called from one event loop.
    ``on_batch`` is told the size of each finished batch.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Answer]],
        *,
        max_batch: int,
        max_waiting: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._work = work
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._waiting: OrderedDict[asyncio.Future[Answer | Failed], Item] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batcher")
        self._dispatcher: asyncio.Task[None] | None = None
        self._busy_since: float | None = None
        self._closed = False

    @property
    def num_waiting(self) -> int:
        """How many items wait for a batch; those in the batch at work do not count."""
        return len(self._waiting)

    @property
    def busy_seconds(self) -> float:
        """How long the batch at work has been running; 0 when idle."""
        if self._busy_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._busy_since

    async def submit(self, items: Sequence[Item]) -> list[Answer | Failed]:
        """Return one answer per item, in order; ``Failed`` for an item that broke the work.

        A cancelled caller's items leave the queue at once and cost no work.

        Raises:
            QueueFull: not all the items fit; none is taken.
            BatcherClosed: ``close`` was called before.
        """
        if self._closed:
            raise BatcherClosed
        if len(self._waiting) + len(items) > self._max_waiting:
            raise QueueFull
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in items]
        self._waiting.update(zip(futures, items, strict=True))
        if self._waiting and (self._dispatcher is None or self._dispatcher.done()):
            self._dispatcher = loop.create_task(self._dispatch())
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                self._waiting.pop(future, None)

    async def close(self) -> None:
        """Take no more items, answer those that wait, and end the thread."""
        self._closed = True
        if self._dispatcher is not None:
            await self._dispatcher
        self._thread.shutdown()

    async def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            size = min(self._max_batch, len(self._waiting))
            batch = [self._waiting.popitem(last=False) for _ in range(size)]
            items = [item for _, item in batch]
            self._busy_since = loop.time()
            answers = await loop.run_in_executor(self._thread, answer_each, self._work, items)
            self._busy_since = None
            for (future, _), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
            self._on_batch(size)


def answer_each(
    work: Callable[[list[Item]], Sequence[Answer]], items: list[Item]
) -> list[Answer | Failed]:
    """Do the work on all items at once; where that fails, on ever smaller halves.

    One bad item among n costs at most 2·log2(n) extra calls and spoils no other's answer.
    """
    try:
        answers = work(items)
        if len(answers) == len(items):
            return list(answers)
        raise BugError(f"{len(items)} items got {len(answers)} answers")
    except Exception as error:
        if len(items) == 1:
            return [Failed(error)]
    middle = len(items) // 2
    return answer_each(work, items[:middle]) + answer_each(work, items[middle:])
