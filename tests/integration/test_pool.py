"""The local pool: how many slots it has, and whose cores they compute on."""

from __future__ import annotations

import os

import pytest
from live_workspace import StartWorkspace, wait_until

from workbench.core.errors import ResourceError
from workbench.pool.attempt_zygote import threads_per_slot
from workbench.pool.providers.local import wished_slots


def test_a_slot_has_its_share_of_the_cores(start_workspace: StartWorkspace) -> None:
    own = start_workspace(slots=1)
    wait_until(lambda: own.named("wb-zygote"), "the zygote is up")
    (zygote,) = own.named("wb-zygote")
    assert zygote.environ()["OMP_NUM_THREADS"] == str(threads_per_slot(1)) == str(os.cpu_count())


@pytest.mark.parametrize("wished", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_slots_is_refused(monkeypatch: pytest.MonkeyPatch, wished: str) -> None:
    monkeypatch.setenv("WORKBENCH_SLOTS", wished)
    with pytest.raises(ResourceError, match="is no number of slots"):
        wished_slots()


def test_without_a_wish_there_is_a_slot_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_SLOTS", raising=False)
    assert wished_slots().least == os.cpu_count()
