"""Laws of the queue in the database: whatever is asked in whatever order, no run is ever wrong.

A model in plain Python walks beside the real store; after each step the two must agree.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from databases import Databases, new_folder, temporary_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from workbench.core.artifact import Artifact
from workbench.core.errors import Cause, DataError, ResourceError, SpecError
from workbench.core.workers import MOST_WORKERS, Workers, recorded_workers
from workbench.queue.entitlements import Entitlement, limits_of
from workbench.queue.healing import RULES
from workbench.queue.rows import SupersededError
from workbench.queue.states import (
    ACTIVE,
    TERMINAL,
    RunEvent,
    RunState,
    is_at_rest,
    is_possible,
    next_state,
)
from workbench.queue.store import RunStore
from workbench.queue.submissions import Submission

MOST_LOSSES = RULES[Cause.WORKER_LOST].most
ASKS = st.sampled_from([RunEvent.PAUSE, RunEvent.RESUME, RunEvent.CANCEL])
ENDS = st.integers(1, MOST_WORKERS)
WORKERS = st.tuples(ENDS, ENDS).map(lambda ends: Workers(min(ends), max(ends)))
CACHE_KEYS = st.sampled_from([None, "key-1", "key-2"])


@dataclass
class Expected:
    """What the model knows of a run."""

    run_id: str
    parent: str | None
    cache_key: str | None
    state: RunState = RunState.WAITING
    term: int = 0
    losses: int = 0
    priority: int = 0
    preempted: bool = False
    checkpoints: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def move(self, event: RunEvent) -> None:
        if self.state in TERMINAL and event == RunEvent.RESUME:
            self.losses = 0
        self.state = next_state(self.state, event)

    def can(self, event: RunEvent) -> bool:
        return is_possible(self.state, event)


class QueueLaws(RuleBasedStateMachine):
    """Submits, starts, reports, kills, asks: and compares."""

    runs = Bundle("runs")
    artifacts = Bundle("artifacts")

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self.databases = databases

    @initialize()
    def open(self) -> None:
        self.root = new_folder()
        self.database = self.databases.empty(self.root)
        self.store = RunStore(self.database, self.root / "artifacts")
        self.model: dict[str, Expected] = {}
        self.cache: dict[str, str] = {}  # key -> run that answers
        self.num_versions = 0

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.root)

    # -- people -----------------------------------------------------------------------------------

    @rule(target=runs, cache_key=CACHE_KEYS, coordinator=st.booleans())
    def submit(self, cache_key: str | None, coordinator: bool) -> str:
        return self._submit(None, cache_key, coordinator)

    @rule(target=runs, parent=runs, cache_key=CACHE_KEYS, priority=st.integers(-100, 100))
    def submit_child(self, parent: str, cache_key: str | None, priority: int) -> Any:
        expected = self.model[parent]
        if expected.state in TERMINAL or expected.state == RunState.CANCELLING:
            with pytest.raises(SupersededError):
                self.store.submit(Submission(f"r{len(self.model)}", "count", "{}", cache_key,
                                             parent_run_id=parent))  # fmt: skip
            return multiple()
        return self._submit(parent, cache_key, coordinator=False, priority=priority)

    def _submit(
        self, parent: str | None, cache_key: str | None, coordinator: bool, priority: int = 0
    ) -> str:
        run_id = f"r{len(self.model)}"
        sibling = self._unfinished_twin(parent, cache_key)
        record = self.store.submit(
            Submission(run_id, "count", '{"parts":1}', cache_key, coordinator, parent, priority)
        )
        if sibling is not None:
            assert record["run_id"] == sibling.run_id
            if sibling.state in TERMINAL:
                sibling.move(RunEvent.RESUME)
            self._follow_pause(sibling)
            return sibling.run_id
        # A child is as urgent as its parent, give or take what it was asked for with.
        priority += self.model[parent].priority if parent is not None else 0
        expected = Expected(run_id, parent, cache_key, priority=max(-100, min(100, priority)))
        self.model[run_id] = expected
        if (earlier := self._cached(cache_key)) is not None:
            expected.move(RunEvent.SUCCEED)
            expected.outputs = earlier.outputs
            assert record["cached"]
        self._follow_pause(expected)
        return run_id

    def _follow_pause(self, child: Expected) -> None:
        parent = self.model[child.parent] if child.parent else None
        is_paused = parent is not None and parent.state in (RunState.PAUSING, RunState.PAUSED)
        if is_paused and child.can(RunEvent.PAUSE):
            child.move(RunEvent.PAUSE)

    def _unfinished_twin(self, parent: str | None, cache_key: str | None) -> Expected | None:
        if parent is None or cache_key is None:
            return None
        return next(
            (
                run
                for run in self.model.values()
                if (run.parent, run.cache_key) == (parent, cache_key)
                and run.state != RunState.SUCCEEDED
            ),
            None,
        )

    def _cached(self, cache_key: str | None) -> Expected | None:
        earlier = self.model[self.cache[cache_key]] if cache_key in self.cache else None
        if earlier is None or not all(map(self._is_there, earlier.outputs.values())):
            return None
        return earlier

    def _is_there(self, reference: str) -> bool:
        return self._path(reference.partition("@")[2]).is_dir()

    @rule(run_id=runs)
    def submitting_the_same_run_again_is_submitting_it_once(self, run_id: str) -> None:
        before = self.store.run(run_id)
        assert self.store.submit(Submission(run_id, "other", "{}", "other-key")) == before

    @rule(run_id=runs, event=ASKS)
    def ask(self, run_id: str, event: RunEvent) -> None:
        if not self.model[run_id].can(event):
            with pytest.raises(SpecError, match="Cannot"):
                self.store.ask(run_id, event)
            return
        self.store.ask(run_id, event)
        self.model[run_id].move(event)
        for child in self._descendants(run_id):
            if child.state not in TERMINAL and child.can(event):
                child.move(event)

    @rule(run_id=runs, priority=st.integers(-100, 100))
    def prioritise(self, run_id: str, priority: int) -> None:
        self.store.prioritise(run_id, priority)
        for run in (self.model[run_id], *self._descendants(run_id)):
            run.priority = priority

    def _descendants(self, run_id: str) -> list[Expected]:
        children = [run for run in self.model.values() if run.parent == run_id]
        return children + [d for child in children for d in self._descendants(child.run_id)]

    # -- the dispatcher ---------------------------------------------------------------------------

    @rule(run_id=runs)
    def start(self, run_id: str) -> None:
        run = self.model[run_id]
        if run.state != RunState.WAITING:
            with pytest.raises(SpecError):
                self.store.start(run_id, ["0"])
            return
        record = self.store.start(run_id, ["0"])
        run.move(RunEvent.START)
        run.term += 1
        run.preempted = False
        assert (record["term"], record["checkpoints"]) == (run.term, run.checkpoints)

    @rule(run_id=runs)
    def preempt(self, run_id: str) -> None:
        self.store.preempt(run_id, "gives way")
        if self.model[run_id].state == RunState.RUNNING:
            self.model[run_id].preempted = True

    @rule(run_id=runs, blameless=st.booleans())
    def lose(self, run_id: str, blameless: bool) -> None:
        run = self.model[run_id]
        self.store.lose(run_id, run.term, "worker died", blameless=blameless)
        if run.state not in ACTIVE:
            return
        if not (blameless or run.preempted) and run.state == RunState.RUNNING:
            run.losses += 1
        run.move(RunEvent.LOSE)
        if run.state == RunState.WAITING and run.losses >= MOST_LOSSES:
            run.move(RunEvent.FAIL)

    # -- attempts ---------------------------------------------------------------------------------

    @rule(run_id=runs, values=st.lists(st.integers(), max_size=3))
    def report(self, run_id: str, values: list[int]) -> None:
        run = self.model[run_id]
        events = [
            {"kind": "progress", "time": 1.0, "payload": {"done": v, "total": 9}} for v in values
        ]
        if run.state not in ACTIVE:
            with pytest.raises(SupersededError):
                self.store.report(run_id, run.term, events)
            return
        wishes = {RunState.CANCELLING: "cancel", RunState.PAUSING: "pause"}
        usual = "pause" if run.preempted else "run"
        assert self.store.report(run_id, run.term, events) == wishes.get(run.state, usual)
        if values:
            assert self.store.run(run_id)["progress"]["done"] == values[-1]

    @rule(run_id=runs, key=st.sampled_from(["part-0", "part-1"]))
    def checkpoint(self, run_id: str, key: str) -> None:
        run = self.model[run_id]
        folder = f"{key}.{run.term}"
        if run.state not in ACTIVE:
            with pytest.raises(SupersededError):
                self.store.add_checkpoint(run_id, run.term, key, folder)
            return
        if key not in run.checkpoints:
            run.checkpoints[key] = folder
            run.losses = 0
        for _ in range(2):  # the second is a repeated request
            assert self.store.add_checkpoint(run_id, run.term, key, folder) == run.checkpoints[key]

    @rule(run_id=runs, key=st.sampled_from(["part-0", "part-1"]))
    def drop_checkpoint(self, run_id: str, key: str) -> None:
        run = self.model[run_id]
        if run.state in ACTIVE:
            self.store.drop_checkpoint(run_id, run.term, key)
            run.checkpoints.pop(key, None)

    @rule(target=artifacts, run_id=runs, number=st.integers(0, 2), has_changed=st.booleans())
    def commit(self, run_id: str, number: int, has_changed: bool) -> Any:
        run = self.model[run_id]
        artifact = self._artifact(f"{number:012x}", run_id)
        if run.state not in ACTIVE:
            is_repeated = run.state == RunState.SUCCEEDED and run.term > 0
            if not is_repeated:
                with pytest.raises(SupersededError):
                    self.store.commit(run_id, run.term, {"numbers": artifact})
            return multiple()
        artifact.path.mkdir(parents=True, exist_ok=True)
        key_now = "of what it read now" if has_changed else ""
        first = self.store.commit(run_id, run.term, {"numbers": artifact}, key_now)
        assert self.store.commit(run_id, run.term, {"numbers": artifact}) == first
        run.move(RunEvent.SUCCEED)
        run.outputs = {"numbers": artifact.reference}
        if run.cache_key is not None and not has_changed:
            self.cache[run.cache_key] = run_id
        return artifact.version

    @rule(run_id=runs)
    def fail(self, run_id: str) -> None:
        run = self.model[run_id]
        if run.state not in ACTIVE:
            with pytest.raises(SupersededError):
                self.store.fail(run_id, run.term, DataError("no such table"))
            return
        self.store.fail(run_id, run.term, DataError("no such table"))
        run.move(RunEvent.FAIL)

    @rule(run_id=runs)
    def stop(self, run_id: str) -> None:
        run = self.model[run_id]
        if run.state in ACTIVE:
            self.store.stop(run_id, run.term)
            run.move(RunEvent.STOP)

    @rule(run_id=runs, verb=st.sampled_from(["commit", "checkpoint", "fail", "stop", "report"]))
    def a_superseded_attempt_can_do_nothing(self, run_id: str, verb: str) -> None:
        term = self.model[run_id].term - 1
        before = (self.store.run(run_id), self.store.events(run_id))
        attempt = {
            "commit": lambda: self.store.commit(
                run_id, term, {"numbers": self._artifact("f" * 12, run_id)}
            ),
            "checkpoint": lambda: self.store.add_checkpoint(run_id, term, "part-9", "part-9.0"),
            "fail": lambda: self.store.fail(run_id, term, DataError("late")),
            "stop": lambda: self.store.stop(run_id, term),
            "report": lambda: self.store.report(
                run_id, term, [{"kind": "log", "time": 0.0, "payload": {"message": "late"}}]
            ),
        }[verb]
        with pytest.raises(SupersededError):
            attempt()
        self.store.lose(run_id, term, "died late")
        assert (self.store.run(run_id), self.store.events(run_id)) == before

    @rule(version=consumes(artifacts))
    def an_artifacts_folder_is_deleted(self, version: str) -> None:
        shutil.rmtree(self._path(version), ignore_errors=True)

    def _path(self, version: str) -> Path:
        return self.root / "artifacts" / "dataset" / "numbers" / version

    def _artifact(self, version: str, run_id: str) -> Artifact:
        return Artifact("dataset", "numbers", version, self._path(version), made_by=run_id)

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def every_run_is_as_expected(self) -> None:
        for run in getattr(self, "model", {}).values():
            record = self.store.run(run.run_id)
            assert (record["state"], record["term"]) == (run.state, run.term)
            assert (record["outputs"], record["priority"]) == (run.outputs, run.priority)
            assert (record["ended_at"] is not None) == (run.state in TERMINAL)
            if run.state == RunState.FAILED:
                assert record["error"] is not None
            if run.state not in TERMINAL:
                assert record["error"] is None

    @invariant()
    def every_journal_is_without_a_gap_and_tells_the_state(self) -> None:
        for run in getattr(self, "model", {}).values():
            events = self.store.events(run.run_id)
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            states = [e["payload"]["state"] for e in events if e["kind"] == "state"]
            assert states[-1] == run.state
            middle = len(events) // 2
            assert self.store.events(run.run_id, after=middle) == events[middle:]

    @precondition(lambda self: hasattr(self, "model"))
    @invariant()
    def the_lists_agree_with_the_runs(self) -> None:
        def ids(*states: RunState) -> set[str]:
            return {run.run_id for run in self.model.values() if run.state in states}

        assert {run.run_id for run in self.store.waiting()} == ids(RunState.WAITING)
        assert {run["run_id"] for run in self.store.active()} == ids(*ACTIVE)
        assert self.store.num_unfinished() == len(ids(RunState.WAITING, *ACTIVE))
        newest_first = [run["run_id"] for run in self.store.runs(limit=1_000)]
        assert newest_first == list(reversed(self.model))


def test_the_queue_keeps_its_laws(databases: Databases) -> None:
    how_long = settings(max_examples=databases.num_examples, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(lambda: QueueLaws(databases), settings=how_long)


# -- examples that the laws are made of -----------------------------------------------------------


@pytest.fixture
def store(databases: Databases, tmp_path: Path) -> Iterator[RunStore]:
    database = databases.empty(tmp_path / "workspace")
    yield RunStore(database, tmp_path / "workspace" / "artifacts")
    database.close()


def test_an_unknown_run_is_refused(store: RunStore) -> None:
    with pytest.raises(SpecError, match="There is no run 'r-none'"):
        store.run("r-none")
    with pytest.raises(SpecError, match="There is no run 'r-none'"):
        store.events("r-none")


@given(workers=WORKERS)
def test_a_run_waits_for_as_many_slots_as_it_asked_for(
    databases: Databases, workers: Workers
) -> None:
    with temporary_folder() as root:
        database = databases.empty(root)
        store = RunStore(database, root / "artifacts")
        recorded = store.submit(Submission("r1", "count", "{}", None, workers=workers))
        assert recorded_workers(recorded) == workers
        assert recorded_workers(store.run("r1")) == workers
        (waiting,) = store.waiting()
        database.close()
    assert (waiting.least, waiting.most) == (workers.least, workers.most)


def test_a_coordinator_waits_for_no_slot_whatever_it_asked_for(store: RunStore) -> None:
    store.submit(Submission("r1", "nest", "{}", None, coordinator=True, workers=Workers(2, 8)))
    (waiting,) = store.waiting()
    assert (waiting.least, waiting.most) == (0, 0)


def test_a_run_that_says_nothing_waits_for_one_slot(store: RunStore) -> None:
    store.submit(Submission("r1", "count", "{}", None))
    (waiting,) = store.waiting()
    assert (waiting.least, waiting.most) == (1, 1)


def test_a_run_that_is_preempted_by_force_again_and_again_is_not_given_up(store: RunStore) -> None:
    store.submit(Submission("r1", "count", "{}", None))
    for term in range(1, 3 * MOST_LOSSES):
        store.start("r1", ["0"])
        store.preempt("r1", "gives way")
        store.lose("r1", term, "ended by force")
    assert store.run("r1")["state"] == RunState.WAITING


def test_a_run_that_gets_on_between_its_losses_is_not_given_up(store: RunStore) -> None:
    store.submit(Submission("r1", "count", "{}", None))
    for term in range(1, 3 * MOST_LOSSES):
        store.start("r1", ["0"])
        store.add_checkpoint("r1", term, f"part-{term}", "folder")
        store.lose("r1", term, "worker died")
    assert store.run("r1")["state"] == RunState.WAITING


def test_a_run_that_kills_its_worker_is_given_up_and_resumed_from_a_clean_count(
    store: RunStore,
) -> None:
    store.submit(Submission("r1", "count", "{}", None))
    for term in range(1, MOST_LOSSES + 1):
        store.start("r1", ["0"])
        store.lose("r1", term, "worker died")
    failed = store.run("r1")
    assert (failed["state"], failed["error"]["family"]) == (RunState.FAILED, "resource")
    store.ask("r1", RunEvent.RESUME)
    store.start("r1", ["0"])
    store.lose("r1", MOST_LOSSES + 1, "worker died")
    assert store.run("r1")["state"] == RunState.WAITING


def test_a_killed_rank_lets_its_run_wait_again_and_is_the_error_of_the_last_time(
    store: RunStore,
) -> None:
    store.submit(Submission("r1", "count", "{}", None))
    most = RULES[Cause.RANK_KILLED].most
    for term in range(1, most + 1):
        assert [run.run_id for run in store.waiting()] == ["r1"]
        store.start("r1", ["0", "1"])
        store.fail("r1", term, ResourceError("Rank 1 was killed", cause=Cause.RANK_KILLED))
    failed = store.run("r1")
    assert failed["state"] == RunState.FAILED
    assert failed["error"]["what"] == f"Rank 1 was killed, {most} times with no checkpoint between"
    told = [e["payload"] for e in store.events("r1") if "remedy" in e["payload"]]
    assert [(t["state"], t["cause"]) for t in told] == [("waiting", "Rank 1 was killed")] * 4


def test_a_run_that_is_asked_to_stop_while_it_fails_does_so_and_is_not_to_blame(
    store: RunStore,
) -> None:
    for run_id, event, state in (
        ("r1", RunEvent.PAUSE, RunState.PAUSED), ("r2", RunEvent.CANCEL, RunState.CANCELLED),
    ):  # fmt: skip
        store.submit(Submission(run_id, "count", "{}", None))
        store.start(run_id, ["0"])
        store.ask(run_id, event)
        store.fail(run_id, 1, ResourceError("Rank 1 was killed", cause=Cause.RANK_KILLED))
        assert (store.run(run_id)["state"], store.run(run_id)["error"]) == (state, None)


def test_a_remedy_that_wants_time_keeps_the_run_out_of_the_line_until_then(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.submit(Submission("r1", "count", "{}", None))
    store.start("r1", ["0"])
    store.fail("r1", 1, ResourceError("The database is away", cause=Cause.UNREACHABLE))
    assert store.run("r1")["state"] == RunState.WAITING
    assert store.waiting() == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3)
    assert [run.run_id for run in store.waiting()] == ["r1"]
    monkeypatch.setattr(time, "time", lambda: now - 100_000)  # somebody sets the clock back
    assert [run.run_id for run in store.waiting()] == ["r1"]


def test_a_run_that_meets_a_full_disk_rests_with_who_waits_for_it_until_somebody_resumes_them(
    store: RunStore,
) -> None:
    store.submit(Submission("parent", "nest", "{}", None, coordinator=True))
    store.start("parent", [])
    store.submit(Submission("child", "count", "{}", None, parent_run_id="parent"))
    store.start("child", ["0"])
    store.fail("child", 1, ResourceError("The disk is full", cause=Cause.DISK_FULL))
    child, parent = store.run("child"), store.run("parent")
    assert (child["state"], parent["state"]) == (RunState.PAUSED, RunState.PAUSING)
    assert child["error"]["what"] == parent["error"]["what"] == "The disk is full"
    assert is_at_rest(child)
    store.stop("parent", 1)
    assert is_at_rest(store.run("parent"))
    (told,) = [e["payload"] for e in store.events("child") if "remedy" in e["payload"]]
    assert told["remedy"] == "pauses until there is room and somebody resumes it"
    store.ask("parent", RunEvent.RESUME)
    for run_id in ("child", "parent"):
        run = store.run(run_id)
        assert (run["state"], run["error"]) == (RunState.WAITING, None)


def test_a_run_that_runs_out_of_memory_is_told_how_often_it_has(store: RunStore) -> None:
    store.submit(Submission("r1", "train", "{}", None))
    for term in range(1, RULES[Cause.OUT_OF_MEMORY].most):
        assert store.start("r1", ["0"])["num_shrinks"] == term - 1
        store.fail("r1", term, ResourceError("Too little memory", cause=Cause.OUT_OF_MEMORY))
        assert store.run("r1")["state"] == RunState.WAITING
    begun = store.start("r1", ["0"])
    store.add_checkpoint("r1", begun["term"], "step", "folder")
    store.lose("r1", begun["term"], "worker died")
    assert store.start("r1", ["0"])["num_shrinks"] == 4, "also after it has got on"


@pytest.mark.parametrize(
    ("name", "weight", "most"),
    [("", 1.0, None), ("a b", 1.0, None), ("nlp/ ", 1.0, None), ("nlp", 0.0, None),
     ("nlp", float("nan"), None), ("nlp", 1.0, -1)],
)  # fmt: skip
def test_what_nobody_can_be_entitled_to_is_refused(
    store: RunStore, name: str, weight: float, most: int | None
) -> None:
    with pytest.raises(SpecError):
        store.entitle(Entitlement(name, weight, most))
    assert store.entitlements() == []


def test_what_projects_and_users_are_entitled_to_is_kept(store: RunStore) -> None:
    before = store.revision
    store.entitle(Entitlement("nlp", 2.0, 4))
    store.entitle(Entitlement("nlp", 3.0))
    store.entitle(Entitlement("nlp/ann", most_slots=1))
    assert store.entitlements() == [Entitlement("nlp", 3.0), Entitlement("nlp/ann", 1.0, 1)]
    assert limits_of(store.entitlements()).quotas == {"nlp/ann": 1}
    assert store.revision > before, "who decides looks again"
    store.drop_entitlement("nlp")
    assert store.entitlements() == [Entitlement("nlp/ann", 1.0, 1)]


def test_an_answer_from_the_cache_moves_all_aliases_or_none(store: RunStore) -> None:
    def artifact(name: str, version: str) -> Artifact:
        path = store.artifact_root / "dataset" / name / version
        path.mkdir(parents=True, exist_ok=True)
        return Artifact("dataset", name, version, path)

    def latest() -> list[str]:
        from workbench.catalog.artifacts import find_artifact

        with store.database.read() as connection:
            return [
                find_artifact(connection, name, store.artifact_root).version for name in ("a", "b")
            ]

    old, new = ["0" * 12] * 2, ["1" * 12] * 2
    for run_id, key, versions in (("r1", "k1", old), ("r2", "k2", new)):
        store.submit(Submission(run_id, "split", "{}", key))
        store.start(run_id, ["0"])
        made = {name: artifact(name, v) for name, v in zip("ab", versions, strict=True)}
        store.commit(run_id, 1, made)
    shutil.rmtree(artifact("b", old[1]).path)
    assert store.submit(Submission("r3", "split", "{}", "k1"))["state"] == RunState.WAITING
    assert latest() == new


def test_a_figure_that_is_no_number_does_not_make_the_journal_unreadable(store: RunStore) -> None:
    store.submit(Submission("r1", "train", "{}", None))
    store.start("r1", ["0"])
    payload = {"name": "loss", "value": float("nan"), "step": 1, "more": [float("inf")]}
    progress = {"done": 1, "total": float("inf"), "unit": "rows", "note": ""}
    events = [{"kind": "progress", "payload": progress}, {"kind": "metric", "payload": payload}]
    store.report("r1", 1, [{"time": 1.0, **event} for event in events])
    assert json.dumps(store.run("r1"), allow_nan=False)
    written = store.events("r1")[-1]["payload"]
    assert json.dumps(written, allow_nan=False)
    assert written["value"] is None


def test_a_document_logged_by_mistake_is_cut(store: RunStore) -> None:
    store.submit(Submission("r1", "train", "{}", None))
    store.start("r1", ["0"])
    store.report("r1", 1, [{"kind": "log", "time": 1.0, "payload": {"message": "x" * 10**6}}])
    payload = store.events("r1")[-1]["payload"]
    assert payload["cut"] is True
    assert len(payload["message"]) == 20_000


def test_an_answer_from_the_cache_had_no_attempt_that_could_commit_again(store: RunStore) -> None:
    store.submit(Submission("r1", "count", "{}", "key"))
    store.start("r1", ["0"])
    store.commit("r1", 1, {})
    assert store.submit(Submission("r2", "count", "{}", "key"))["cached"]
    with pytest.raises(SupersededError):
        store.commit("r2", 0, {})
