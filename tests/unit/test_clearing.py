"""Clearing away: only what nobody needs goes, and a dry run touches nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import Databases
from hypothesis import given
from hypothesis import strategies as st
from kept_workspace import KeptWorkspace, make_old

from workbench.daemon.scratch import is_abandoned, is_over, leftovers
from workbench.queue.needs import Scratch
from workbench.queue.states import ACTIVE, TERMINAL, RunEvent, RunState
from workbench.queue.submissions import Submission

STATES = st.sampled_from(list(RunState))


@pytest.fixture
def kept(databases: Databases, tmp_path: Path) -> Iterator[KeptWorkspace]:
    root = tmp_path / "workspace"
    workspace = KeptWorkspace(root, database=databases.empty(root))
    yield workspace
    workspace.close()


def clear(
    kept: KeptWorkspace, keep_days: float = 30, *, dry_run: bool = False
) -> list[tuple[str, str]]:
    cleared = kept.keeping.clear(keep_days, dry_run, "somebody")
    return [(item["what"], item["name"]) for item in cleared]


def everything(root: Path) -> set[str]:
    """Return every file of the workspace but those of the database."""
    files = (path.relative_to(root).as_posix() for path in root.rglob("*"))
    return {name for name in files if not name.startswith("catalog.sqlite")}


# -- versions -------------------------------------------------------------------------------------


def test_old_versions_that_nothing_needs_go_and_the_newest_stays(kept: KeptWorkspace) -> None:
    versions = [kept.make("rows", text) for text in "abcd"]
    kept.age(40, *versions[:3])
    kept.keeping.pin(versions[0].reference, None, pinned=True)
    child = kept.make("child", "x", versions[1])
    expected = [("superseded version", versions[2].reference)]
    assert clear(kept, dry_run=True) == expected
    assert clear(kept) == expected
    assert kept.references() == {
        versions[0].reference, versions[1].reference, versions[3].reference, child.reference
    }  # fmt: skip
    kept.check_all_or_nothing()
    (grave,) = kept.keeping.tombstones("rows")
    assert grave["reason"].startswith("cleared away: older than 30 days")
    assert clear(kept) == []


def test_young_versions_stay(kept: KeptWorkspace) -> None:
    versions = [kept.make("rows", text) for text in "ab"]
    kept.age(3, *versions)
    assert clear(kept, keep_days=4) == []
    assert clear(kept, keep_days=2) == [("superseded version", versions[0].reference)]


# -- files that the catalog does not name ---------------------------------------------------------


def test_files_of_a_dead_attempt_go(kept: KeptWorkspace) -> None:
    rows = kept.make("rows", "a")
    orphan = kept.seal("rows", "sealed, and then the worker was killed")
    expected = [("orphan", f"dataset/rows/{orphan.version}")]
    assert clear(kept, dry_run=True) == expected
    assert orphan.path.is_dir()
    assert clear(kept) == expected
    assert kept.stored() == {rows.reference}
    kept.check_all_or_nothing()


def test_files_that_a_live_attempt_may_be_about_to_commit_stay(kept: KeptWorkspace) -> None:
    run_id = kept.submit()
    kept.runs.start(run_id, ["0"])
    sealed = kept.seal("rows", "sealed, and about to be committed")
    assert clear(kept) == []
    kept.runs.commit(run_id, 1, {"dataset": sealed})
    kept.check_all_or_nothing()


def test_files_older_than_every_live_attempt_go(kept: KeptWorkspace) -> None:
    orphan = kept.seal("rows", "of an attempt that is long dead")
    make_old(orphan.path, days=0.5)
    kept.runs.start(kept.submit(), ["0"])
    assert clear(kept) == [("orphan", f"dataset/rows/{orphan.version}")]


def test_sealing_what_lies_there_as_an_orphan_makes_it_young_again(kept: KeptWorkspace) -> None:
    orphan = kept.seal("rows", "sealed twice")
    make_old(orphan.path, days=0.5)
    run_id = kept.submit()
    kept.runs.start(run_id, ["0"])
    sealed = kept.seal("rows", "sealed twice")
    assert clear(kept) == []
    kept.runs.commit(run_id, 1, {"dataset": sealed})


@given(st.floats(0, 1e6), st.one_of(st.none(), st.floats(0, 1e6)), st.floats(0, 1e6))
def test_what_changed_after_the_oldest_live_attempt_began_is_abandoned_only_after_a_day(
    changed_at: float, oldest: float | None, now: float
) -> None:
    if is_abandoned(changed_at, oldest, now):
        assert oldest is None or changed_at < oldest or now - changed_at > 86_400


# -- scratch --------------------------------------------------------------------------------------


def scratch(kept: KeptWorkspace, run_id: str, *names: str) -> Path:
    folder = kept.root / "runs" / run_id
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "file").write_bytes(bytes(100))
    return folder


def test_scratch_of_succeeded_runs_goes_and_that_of_failed_ones_after_some_days(
    kept: KeptWorkspace,
) -> None:
    kept.make("rows", "a")
    kept.runs.ask(kept.submit(), RunEvent.CANCEL)
    for run_id in ("r1", "r2"):
        scratch(kept, run_id, "checkpoints/part.1")
    with kept.database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO checkpoints (run_id, key, term, folder) VALUES ('r2','part',1,'part.1')"
        )
    assert clear(kept) == [("scratch of a run", "r1")]
    kept.age(31)
    assert clear(kept, dry_run=True) == [("scratch of a run", "r2")]
    assert clear(kept) == [("scratch of a run", "r2")]
    assert list((kept.root / "runs").iterdir()) == []
    kept.runs.ask("r2", RunEvent.RESUME)
    assert kept.runs.start("r2", ["0"])["checkpoints"] == {}, "resumed, it begins anew"


def test_of_a_run_that_waits_only_what_counts_no_more_goes(kept: KeptWorkspace) -> None:
    run_id = kept.submit()
    kept.runs.start(run_id, ["0"])
    kept.runs.add_checkpoint(run_id, 1, "kept/deep", "kept/deep.1")
    names = ("checkpoints/kept/deep.1", "checkpoints/forgotten.1", "partial-1", "staging-1", "mine")
    folder = scratch(kept, run_id, *names)
    assert clear(kept) == [], "it runs"
    kept.runs.lose(run_id, 1, "worker died")
    gone = ["partial-1", "staging-1", "checkpoints/forgotten.1"]
    assert clear(kept) == [("part of a dead attempt", f"{run_id}/{name}") for name in gone]
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("file")}
    assert left == {"checkpoints/kept/deep.1/file", "mine/file"}


def test_a_folder_that_is_no_run_of_this_workspace_is_not_touched(kept: KeptWorkspace) -> None:
    scratch(kept, "somebody-elses", "partial-1")
    assert clear(kept, keep_days=0) == []


@given(STATES, st.one_of(st.none(), st.floats(0, 1e9)), st.floats(0, 1e9), st.integers(0, 99))
def test_only_what_is_over_goes_whole_and_nothing_of_what_runs(
    state: RunState, ended_at: float | None, now: float, keep_days: int
) -> None:
    found = Scratch(state, ended_at, ("a.1",))
    if is_over(found, now, keep_days):
        assert state in TERMINAL
        assert state == RunState.SUCCEEDED or now - (ended_at or now) > keep_days * 86_400
    parts = leftovers(found, ["partial-1", "a"], ["a.1", "b.1"])
    assert parts == ([] if state in ACTIVE else ["partial-1", "checkpoints/b.1"])


# -- all of it ------------------------------------------------------------------------------------


def test_a_dry_run_touches_nothing_and_foretells_what_goes(kept: KeptWorkspace) -> None:
    old = [kept.make("rows", text) for text in "abc"]
    kept.age(99, *old)
    kept.seal("rows", "orphan")
    scratch(kept, "r1", "checkpoints/part.1")
    (kept.root / "trash" / "left").mkdir(parents=True)
    before = everything(kept.root)
    foretold = clear(kept, dry_run=True)
    assert len(foretold) == 5
    assert everything(kept.root) == before
    assert clear(kept) == foretold
    assert clear(kept) == []
    kept.check_all_or_nothing()
    assert list((kept.root / "trash").iterdir()) == []


def test_what_was_cleared_away_says_how_much_room_that_made(kept: KeptWorkspace) -> None:
    old = kept.make("rows", "a" * 1_234)
    kept.make("rows", "b")
    kept.age(99, old)
    (item,) = kept.keeping.clear(30, True, "somebody")
    assert item["num_bytes"] == 1_234


def test_sizes_that_an_older_workbench_did_not_record_are_measured(kept: KeptWorkspace) -> None:
    rows = kept.make("rows", "a" * 1_000)
    with kept.database.write() as connection:
        connection.exec_driver_sql("UPDATE artifacts SET num_bytes = NULL")
    kept.keeping.start()
    assert kept.find(rows.reference).num_bytes >= 1_000


def test_a_snapshot_that_a_killed_backup_left_goes_after_a_day(tmp_path: Path) -> None:
    kept = KeptWorkspace(tmp_path / "workspace")  # a server makes no snapshots
    path = Path(kept.keeping.snapshot("abc")["path"])
    assert clear(kept) == []
    make_old(path, days=2)
    assert clear(kept) == [("snapshot", "abc.sqlite")]
    assert not path.exists()
    kept.close()


def test_an_unfinished_run_holds_an_old_version(kept: KeptWorkspace) -> None:
    old = kept.make("rows", "a")
    kept.make("rows", "b")
    kept.age(99, old)
    run_id = kept.submit(old)
    assert clear(kept) == []
    kept.runs.ask(run_id, RunEvent.CANCEL)
    assert clear(kept) == [("superseded version", old.reference)]


def test_clearing_while_runs_come_and_go_harms_none(kept: KeptWorkspace) -> None:
    deadline = time.monotonic() + 1.0
    number = 0
    while time.monotonic() < deadline:
        number += 1
        kept.runs.submit(Submission(f"live-{number}", "count", "{}", None))
        kept.runs.start(f"live-{number}", ["0"])
        sealed = kept.seal("rows", str(number))
        clear(kept, keep_days=0)
        kept.runs.commit(f"live-{number}", 1, {"dataset": sealed})
    kept.check_all_or_nothing()
