"""The daemon's services while the database server is away: they wait, and nothing ends for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.catalog.database import open_database
from workbench.catalog.database_faults import DatabaseAwayError
from workbench.daemon import service as module
from workbench.daemon.service import Service
from workbench.daemon.settings import Settings


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(module, "_DATABASE_AGAIN_SECONDS", 0.01)
    database = open_database(tmp_path)
    yield Service(tmp_path, database, Settings())
    database.close()


class Absence:
    """A step of starting that finds the database away some times, then comes through."""

    def __init__(self, num_times: int) -> None:
        self.num_times, self.num_tries = num_times, 0

    def __call__(self) -> None:
        self.num_tries += 1
        if self.num_tries <= self.num_times:
            raise DatabaseAwayError("The database does not answer")


def test_a_step_of_starting_is_done_again_until_the_database_answers(service: Service) -> None:
    step = Absence(num_times=3)
    assert service._done_when_possible(step)
    assert step.num_tries == 4


def test_a_daemon_that_closes_does_not_wait_for_the_database(service: Service) -> None:
    step = Absence(num_times=1_000_000)
    service._closing.set()
    assert not service._done_when_possible(step)
    assert step.num_tries == 0


def test_another_fault_while_starting_is_not_tried_again(service: Service) -> None:
    with pytest.raises(ZeroDivisionError):
        service._done_when_possible(lambda: 1 // 0)  # type: ignore[arg-type,return-value]


def test_a_daemon_whose_database_is_away_does_not_take_itself_for_idle(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.pool_state = "running"
    assert not service._is_busy()
    monkeypatch.setattr(service.store, "num_unfinished", Absence(num_times=1))
    assert service._is_busy()
