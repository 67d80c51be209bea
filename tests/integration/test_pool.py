"""The local pool: an attempt that was sent is done, has failed, or is known to be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from live_workspace import wait_until

from workbench.core.errors import ResourceError
from workbench.pool.local import LocalPool, default_num_slots


@pytest.fixture(scope="module")
def pool() -> Iterator[LocalPool]:
    own = LocalPool(1)
    own.start()
    yield own
    own.close()


def order(number: int) -> dict[str, object]:
    return {"run_id": f"r{number}", "term": 1}


def test_an_attempt_runs_in_another_process_with_its_share_of_the_cores(pool: LocalPool) -> None:
    wait_until(lambda: pool.slots() == ["0"], "the slot is up")
    assert pool.submit(len, order(1), "0").future.result(timeout=60) == 2
    environment = pool.submit(_environment, order(2), "0").future.result(timeout=60)
    assert environment["pid"] != os.getpid()
    assert environment["threads"] == str(pool.threads_per_slot)


def _environment(_order: dict[str, object]) -> dict[str, object]:
    return {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10, 14))
def test_an_attempt_that_is_sent_to_a_dying_worker_is_known_to_be_lost(
    pool: LocalPool, number: int
) -> None:
    wait_until(lambda: pool.slots() == ["0"], "the slot is up")
    pool.kill("0")
    sent = pool.submit(len, order(number), "0")
    wait_until(lambda: pool.has_left(sent.worker), "it is known")
    sent.future.cancel()


@pytest.mark.parametrize("wished", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_slots_is_refused(monkeypatch: pytest.MonkeyPatch, wished: str) -> None:
    monkeypatch.setenv("WORKBENCH_SLOTS", wished)
    with pytest.raises(ResourceError, match="is no number of slots"):
        default_num_slots()


def test_without_a_wish_there_is_a_slot_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_SLOTS", raising=False)
    assert default_num_slots() == os.cpu_count()
