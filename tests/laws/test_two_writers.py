"""Laws of one queue behind two doors: two processes that write at once spoil nothing.

Each door is a database object of its own, with its own connections and its own lock, as another
daemon's would be. Both hammer the same runs; afterwards the journal of each run is read as a
history, which must be one that a single writer could have made.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from databases import Databases, temporary_folder

from workbench.catalog.artifacts import alias_history
from workbench.catalog.database import Database, open_database
from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError
from workbench.queue.states import ACTIVE, RunEvent, RunState, is_possible, next_state
from workbench.queue.store import RunStore
from workbench.queue.submissions import Submission
from workbench.queue.tables import ATTEMPTS, CHECKPOINTS, RUNS

NUM_THREADS = 4
NUM_DEEDS = 150  # of each thread
PARENT = "parent"


class Hammer:
    """One thread's share: deeds drawn by chance, on runs that all threads share."""

    def __init__(self, store: RunStore, number: int) -> None:
        self.store, self.number = store, number
        self.chance = random.Random(number)
        self.started: list[tuple[str, int]] = []
        self.committed: list[tuple[str, int]] = []
        self.folders: list[tuple[str, str, str]] = []
        self._num_submitted = 0

    def work(self, begin: threading.Barrier) -> None:
        deeds = (self.submit, self.start, self.lose, self.checkpoint, self.commit, self.report,
                 self.ask, self.fail)  # fmt: skip
        weights = (8, 8, 3, 4, 5, 5, 2, 1)
        begin.wait()
        for deed in self.chance.choices(deeds, weights, k=NUM_DEEDS):
            try:
                deed()
            except SpecError:
                continue  # refused, as it must be when another one was faster

    def submit(self) -> None:
        self._num_submitted += 1
        # Half of the ids, and all keys, are asked for by every thread, at about the same time.
        owner = self.chance.choice([0, self.number])
        run_id = f"r{owner}-{self._num_submitted}"
        key = f"key-{self._num_submitted // 2}"
        self.store.submit(Submission(run_id, "count", "{}", key, parent_run_id=PARENT))

    def start(self) -> None:
        run_id, _term = self._attempt()
        self.started.append((run_id, self.store.start(run_id, ["0"])["term"]))

    def lose(self) -> None:
        self.store.lose(*self._attempt(), "worker died")

    def checkpoint(self) -> None:
        run_id, term = self._attempt()
        key = f"part-{self.chance.randrange(4)}"
        folder = self.store.add_checkpoint(run_id, term, key, f"{key}.{term}.{self.number}")
        self.folders.append((run_id, key, folder))

    def commit(self) -> None:
        run_id, term = self._attempt()
        version = f"{self.chance.randrange(3):012x}"
        path = self.store.artifact_root / "dataset" / "numbers" / version
        self.store.commit(run_id, term, {"numbers": Artifact("dataset", "numbers", version, path)})
        self.committed.append((run_id, term))

    def report(self) -> None:
        run_id, term = self._attempt()
        event = {"kind": "log", "time": 1.0, "payload": {"of_term": term}}
        self.store.report(run_id, term, [event] * self.chance.randrange(3))

    def ask(self) -> None:
        event = self.chance.choice([RunEvent.PAUSE, RunEvent.RESUME, RunEvent.RESUME])
        self.store.ask(self._attempt()[0], event)

    def fail(self) -> None:
        self.store.fail(*self._attempt(), SpecError("no such label"))

    def _attempt(self) -> tuple[str, int]:
        """Draw a run and its newest term, or by mistake the one before."""
        children = self.store.runs(limit=20, parent_run_id=PARENT)
        if not children:
            raise SpecError("There is no run yet")
        unfinished = [run for run in children if run["state"] != RunState.SUCCEEDED]
        run = self.chance.choice(unfinished[:4] or children)
        return run["run_id"], run["term"] - self.chance.choice([0, 0, 0, 1])


@pytest.fixture
def doors(databases: Databases) -> Iterator[tuple[Database, Database]]:
    with temporary_folder() as folder:
        first = databases.empty(folder)
        second = databases.again(folder)
        yield first, second
        first.close()
        second.close()


def test_two_writers_at_once_leave_a_history_that_one_could_have_made(
    doors: tuple[Database, Database],
) -> None:
    stores = [RunStore(door, Path("/artifacts"), is_there=lambda _artifact: True) for door in doors]
    stores[0].submit(Submission(PARENT, "nest", "{}", None, coordinator=True))
    hammers = [Hammer(stores[number % 2], number) for number in range(NUM_THREADS)]
    begin = threading.Barrier(NUM_THREADS)
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        for future in [threads.submit(hammer.work, begin) for hammer in hammers]:
            future.result()

    store = stores[0]
    started = [attempt for hammer in hammers for attempt in hammer.started]
    committed = {attempt for hammer in hammers for attempt in hammer.committed}
    runs = {run["run_id"]: run for run in store.runs(limit=1_000)}
    assert max(Counter(started).values()) == 1, "a term was given twice"
    assert Counter(run_id for run_id, _ in committed) == Counter(
        {r["run_id"]: 1 for r in runs.values() if r["state"] == "succeeded" and not r["cached"]}
    )
    assert len(started) > len(committed) > 9, "too little happened"
    for run_id, run in runs.items():
        terms = [term for started_id, term in started if started_id == run_id]
        assert sorted(terms) == list(range(1, run["term"] + 1))
        check_history(store.events(run_id), run)
    check_tables(doors[1], hammers)


def check_history(events: list[dict[str, Any]], run: dict[str, Any]) -> None:
    """See that a journal has no gap, only possible moves, and no word of a superseded attempt."""
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    state, term = RunState.WAITING, 0
    for event in events:
        payload = event["payload"]
        if event["kind"] == "log":
            assert state in ACTIVE
            assert payload["of_term"] == term
        elif event["kind"] in ("checkpoint", "error"):
            assert state in ACTIVE
        elif event["seq"] > 1:
            wanted = RunState(payload["state"])
            moves = {next_state(state, e) for e in RunEvent if is_possible(state, e)}
            assert wanted in moves, f"{state} became {wanted}"
            is_start = state == RunState.WAITING and wanted == RunState.RUNNING
            state, term = wanted, term + is_start
            assert payload["term"] == term
    assert (state, term) == (run["state"], run["term"])


def check_tables(database: Database, hammers: list[Hammer]) -> None:
    """See that what is checked and then written was not written twice."""
    with database.read() as connection:
        attempts = connection.execute(sa.select(ATTEMPTS.c.run_id, ATTEMPTS.c.outcome)).all()
        counting = {
            (row.run_id, row.key): row.folder for row in connection.execute(sa.select(CHECKPOINTS))
        }
        unfinished = sa.select(RUNS.c.cache_key).where(
            RUNS.c.parent_run_id == PARENT, RUNS.c.state != RunState.SUCCEEDED
        )
        keys = list(connection.scalars(unfinished))
        latest = [move["version"] for move in alias_history(connection, "dataset", "numbers")]
    successes = Counter(run_id for run_id, outcome in attempts if outcome == "succeeded")
    assert set(successes.values()) == {1}
    assert len(keys) == len(set(keys)), "equal children did not become one"
    assert all(one != other for one, other in pairwise(latest))
    for hammer in hammers:
        for run_id, key, folder in hammer.folders:
            assert counting[run_id, key] == folder


def test_a_reader_sees_one_moment_while_another_door_writes(
    doors: tuple[Database, Database],
) -> None:
    writer = RunStore(doors[0], Path("/artifacts"))
    writer.submit(Submission("r1", "count", "{}", None))
    count = sa.select(sa.func.count()).select_from(RUNS)
    with doors[1].read() as connection:
        before = connection.scalar(count)
        writer.submit(Submission("r2", "count", "{}", None))
        assert connection.scalar(count) == before == 1
    with doors[1].read() as connection:
        assert connection.scalar(count) == 2


def test_a_writer_waits_for_the_writer_behind_the_other_door_and_sees_what_it_wrote(
    doors: tuple[Database, Database],
) -> None:
    count = sa.select(sa.func.count()).select_from(RUNS)
    seen: list[Any] = []

    def look() -> None:
        with doors[1].write() as connection:
            seen.append(connection.scalar(count))

    with doors[0].write() as connection:
        other = threading.Thread(target=look)
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert seen == []
        insert_run(connection)
    other.join()
    assert seen == [1]


def insert_run(connection: sa.Connection) -> None:
    values: dict[str, Any] = {"run_id": "r1", "stage": "count", "spec": "{}", "outputs": "{}"}
    values |= dict.fromkeys(("coordinator", "preempted", "cached"), False)
    values |= {"priority": 0, "workers": 1, "state": "waiting", "term": 0, "losses": 0}
    connection.execute(sa.insert(RUNS).values(**values, submitted_by="", submitted_at=0.0))


def test_daemons_that_start_at_once_bring_a_new_database_up_to_date_once(
    fresh_place: Callable[[], Database],
) -> None:
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        opened = list(threads.map(lambda _: fresh_place(), range(NUM_THREADS)))
    for number, database in enumerate(opened):
        store = RunStore(database, Path("/artifacts"))
        store.submit(Submission(f"r{number}", "count", "{}", None))
        assert len(store.runs()) == number + 1
    for database in opened:
        database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Database]:
    if request.param == "sqlite":
        return lambda: open_database(tmp_path)
    server = request.getfixturevalue("postgresql")
    server.execute("drop database if exists fresh", "create database fresh")
    return lambda: open_database(tmp_path, server.url(database="fresh"))
