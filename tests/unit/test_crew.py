"""Calling the other workers of a run, however the answer falls between two looks at them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster  # noqa: TID253 - a cluster of its own

from workbench.pool.crew import Crew

_LOOK_SECONDS = 0.003


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Yield the address of a worker in this process whose client is the current one."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
        as cluster,
        Client(cluster),
    ):  # fmt: skip
        yield cluster.workers[0].address


def answer_after(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def run_out_of_time(seconds: float) -> None:
    time.sleep(seconds)
    raise TimeoutError("the page did not answer")


def test_an_answer_just_after_a_look_is_the_answer(address: str) -> None:
    crew = Crew({"1": address}, look_seconds=_LOOK_SECONDS)
    for number in range(150):
        seconds = number % 10 * _LOOK_SECONDS / 4
        assert crew.call("1", f"answer-{number}", answer_after, seconds) == seconds


@pytest.mark.parametrize("looks", [0, 1, 5])
def test_a_timeout_of_the_function_itself_is_told_as_its_own(address: str, looks: int) -> None:
    crew = Crew({"1": address}, look_seconds=_LOOK_SECONDS)
    with pytest.raises(TimeoutError, match="the page did not answer"):
        crew.call("1", f"own-{looks}", run_out_of_time, looks * _LOOK_SECONDS)
