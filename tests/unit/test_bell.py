"""The bell: who listened before the ring is woken by it, however late the wait begins."""

from __future__ import annotations

import asyncio
import threading

from workbench.daemon.bell import Bell


def test_a_ring_between_the_look_and_the_wait_is_heard() -> None:
    async def listen_look_wait() -> bool:
        bell = Bell()
        bell.attach()
        rung = bell.listen()
        bell.ring()
        await asyncio.sleep(0)  # the look
        await bell.wait(rung, 60)
        return rung.is_set()

    assert asyncio.run(asyncio.wait_for(listen_look_wait(), 30))


def test_one_ring_from_a_thread_wakes_every_waiter() -> None:
    async def wait_five_times() -> int:
        bell = Bell()
        bell.attach()
        waiters = [asyncio.create_task(bell.wait(bell.listen(), 60)) for _ in range(5)]
        threading.Timer(0.05, bell.ring).start()
        await asyncio.gather(*waiters)
        return len(waiters)

    assert asyncio.run(asyncio.wait_for(wait_five_times(), 30)) == 5


def test_without_a_ring_the_wait_ends_by_itself() -> None:
    async def wait() -> None:
        bell = Bell()
        bell.attach()
        await bell.wait(bell.listen(), 0.01)

    asyncio.run(asyncio.wait_for(wait(), 30))


def test_a_ring_after_the_loop_has_ended_is_no_error() -> None:
    bell = Bell()

    async def attach() -> None:
        bell.attach()

    asyncio.run(attach())
    bell.ring()
    Bell().ring()  # never attached
