"""Calling the other workers of a run: what comes back, and what is known when one dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from workbench.core.errors import DataError, StageError
from workbench.pool import crew as module
from workbench.pool.crew import Crew, WorkerLost, helper_process
from workbench.pool.forks import Forks, zygote_at_hand
from workbench.pool.zygote import ZygoteSettings

NOWHERE = Path("/nowhere")  # a workspace whose certificate nobody needs
_PATH = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])


def answer_after(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def run_out_of_time() -> None:
    raise TimeoutError("the page did not answer")


def refuse() -> None:
    raise DataError("Row 7 is broken", where="rows.csv", next_step="Mend it.")


def invite_threads(address: str, slots: list[str]) -> None:
    for slot in slots:
        order = {"address": address, "slot": slot, "workspace": "/nowhere"}
        helper = threading.Thread(
            target=helper_process, args=(order, []), kwargs={"forked": False}, daemon=True
        )
        helper.start()


def test_each_slot_answers_what_it_was_asked() -> None:
    with Crew(["a", "b"], invite_threads, NOWHERE) as crew:
        for number in range(50):
            seconds = number % 3 / 1_000
            assert crew.call(crew.slots[number % 2], answer_after, seconds) == seconds


def test_an_error_of_the_function_is_the_callers() -> None:
    with Crew(["a"], invite_threads, NOWHERE) as crew:
        with pytest.raises(DataError, match="Row 7 is broken") as caught:
            crew.call("a", refuse)
        assert caught.value.next_step == "Mend it."
        with pytest.raises(StageError, match="the page did not answer") as failed:
            crew.call("a", run_out_of_time)
        assert "run_out_of_time" in failed.value.detail
        assert crew.call("a", answer_after, 0) == 0, "it can be called again"


def test_a_crew_without_other_slots_costs_nothing() -> None:
    with Crew([], lambda address, slots: pytest.fail("nobody is to be invited"), NOWHERE) as crew:
        assert crew.slots == []


def test_a_helper_that_dies_is_lost_at_once() -> None:
    forks = Forks(zygote_at_hand(ZygoteSettings("wb-test", environment={"PYTHONPATH": _PATH})))

    def invite(address: str, slots: list[str]) -> None:
        order = {"address": address, "slot": slots[0], "workspace": "/nowhere"}
        forks.start(1, "workbench.pool.crew:helper_process", order, name="wb-helper")

    with Crew(["a"], invite, NOWHERE) as crew:
        pid = crew.call("a", os.getpid)
        killer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
        killer.start()
        begun = time.monotonic()
        with pytest.raises(WorkerLost):
            crew.call("a", time.sleep, 60)
        assert time.monotonic() - begun < 30
    forks.close()


def test_a_helper_that_never_comes_is_lost_and_was_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_INVITE_SECONDS", 0.02)
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.3)
    asked: list[list[str]] = []
    with (
        Crew(["a"], lambda address, slots: asked.append(slots), NOWHERE) as crew,
        pytest.raises(WorkerLost),
    ):
        crew.call("a", answer_after, 0)
    assert len(asked) > 2
    assert asked[0] == ["a"]
