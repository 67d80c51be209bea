"""Deleting: refused where something depends on it, whole or gone after a kill, never forgotten."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import Databases
from kept_workspace import KeptWorkspace, address_of

from workbench.catalog.artifacts import alias_history
from workbench.core.errors import SpecError
from workbench.daemon.deployments import DEPLOYMENTS
from workbench.queue.states import RunEvent
from workbench.queue.submissions import Submission


@pytest.fixture
def kept(databases: Databases, tmp_path: Path) -> Iterator[KeptWorkspace]:
    root = tmp_path / "workspace"
    workspace = KeptWorkspace(root, database=databases.empty(root))
    yield workspace
    workspace.close()


def test_what_nothing_depends_on_is_deleted_and_its_tombstone_says_by_whom_and_why(
    kept: KeptWorkspace,
) -> None:
    raw = kept.make("raw", "a b c")
    rows = kept.make("rows", "a", raw)
    done = kept.delete(rows)
    assert [gone["reference"] for gone in done["goes"]] == [rows.reference]
    assert done["num_bytes"] == rows.num_bytes == 1
    assert not rows.path.exists()
    (grave,) = kept.keeping.tombstones("rows")
    assert (grave["reference"], grave["parents"]) == (rows.reference, [raw.reference])
    assert (grave["deleted_by"], grave["reason"]) == ("somebody", "no longer wanted")
    with pytest.raises(SpecError, match=r"deleted on .* by somebody: no longer wanted"):
        kept.find(rows.reference)
    kept.check_all_or_nothing()


def test_what_others_were_made_from_is_refused_and_each_is_named(kept: KeptWorkspace) -> None:
    raw = kept.make("raw", "a b c")
    rows = kept.make("rows", "a b", raw)
    half = kept.make("half", "a", rows)
    with pytest.raises(SpecError, match="2 things depend on it") as caught:
        kept.delete(raw)
    assert {rows.reference, half.reference} <= set(caught.value.where.replace(",", "").split())
    assert f"workbench artifacts delete {raw.reference} --with-descendants" in (
        caught.value.next_step
    )
    assert kept.references() == {raw.reference, rows.reference, half.reference}


def test_asked_to_all_that_was_made_from_it_goes_too(kept: KeptWorkspace) -> None:
    raw = kept.make("raw", "a b c")
    rows = kept.make("rows", "a b", raw)
    kept.make("half", "a", rows)
    other = kept.make("other", "x")
    preview = kept.keeping.preview(raw.reference, None, with_descendants=True)
    assert (preview["num_bytes"], preview["blockers"], preview["descendants"]) == (9, [], [])
    done = kept.delete(raw, with_descendants=True)
    assert (done["goes"], done["num_bytes"]) == (preview["goes"], 9)
    assert kept.references() == {other.reference}
    kept.check_all_or_nothing()


def test_a_preview_says_what_is_in_the_way_and_touches_nothing(kept: KeptWorkspace) -> None:
    raw = kept.make("raw", "a b c")
    rows = kept.make("rows", "a b", raw)
    kept.keeping.pin(raw.reference, None, pinned=True)
    preview = kept.keeping.preview(raw.reference, None, with_descendants=False)
    assert preview["descendants"] == [rows.reference]
    assert preview["blockers"] == [f"{raw.reference} by a pin"]
    assert kept.references() == {raw.reference, rows.reference}


def test_an_alias_a_pin_a_deployment_and_an_unfinished_run_each_hold_a_version(
    kept: KeptWorkspace,
) -> None:
    rows = kept.make("rows", "a")
    kept.keeping.set_alias(rows.reference, None, "gold", there=True)
    kept.keeping.pin(rows.reference, None, pinned=True)
    run_id = kept.submit(rows)
    with kept.database.write() as connection:
        connection.execute(
            sa.insert(DEPLOYMENTS).values(
                name="live", model=rows.reference, port=0, settings="{}", changed_at=0.0
            )
        )
    for with_descendants in (False, True):
        with pytest.raises(SpecError, match="4 things depend on it") as caught:
            kept.delete(rows, with_descendants=with_descendants)
        for cause in ("alias rows@gold", "a pin", f"run {run_id}", "deployment live"):
            assert cause in caught.value.where
    kept.keeping.set_alias(rows.reference, None, "gold", there=False)
    kept.keeping.pin(rows.reference, None, pinned=False)
    kept.runs.ask(run_id, RunEvent.CANCEL)
    with kept.database.write() as connection:
        connection.execute(sa.delete(DEPLOYMENTS))
    kept.delete(rows)
    assert kept.references() == set()


def test_what_the_finished_child_of_a_run_made_is_held_until_that_run_is_over(
    kept: KeptWorkspace,
) -> None:
    kept.runs.submit(Submission("pipeline", "nest", "{}", None, coordinator=True))
    kept.runs.start("pipeline", [])
    child = kept.submit(parent_run_id="pipeline")
    kept.runs.start(child, ["0"])
    made = kept.seal("rows", "a")
    kept.runs.commit(child, 1, {"dataset": made})
    with pytest.raises(SpecError, match="1 thing depends on it") as caught:
        kept.delete(made)
    assert "run pipeline, which is not over" in caught.value.where
    kept.runs.ask("pipeline", RunEvent.CANCEL)
    kept.runs.stop("pipeline", 1)
    kept.delete(made)


def test_latest_falls_back_to_the_version_before_and_the_log_is_only_appended_to(
    kept: KeptWorkspace,
) -> None:
    first, second = kept.make("rows", "a"), kept.make("rows", "b")
    with kept.database.read() as connection:
        before = alias_history(connection, "dataset", "rows")
    kept.delete(second)
    assert kept.find("rows@latest") == first
    kept.delete(first)
    with pytest.raises(SpecError, match="There is no"):
        kept.find("rows@latest")
    with kept.database.read() as connection:
        after = alias_history(connection, "dataset", "rows")
    assert after[: len(before)] == before
    assert [move["version"] for move in after[len(before) :]] == [first.version, ""]


def test_an_alias_of_ones_own_is_found_and_taken_away(kept: KeptWorkspace) -> None:
    first, second = kept.make("rows", "a"), kept.make("rows", "b")
    kept.keeping.set_alias(first.reference, None, "gold", there=True)
    assert kept.find("rows@gold") == first
    kept.keeping.set_alias(second.reference, None, "gold", there=False)  # it points elsewhere
    assert kept.find("rows@gold") == first
    kept.keeping.set_alias(first.reference, None, "gold", there=False)
    with pytest.raises(SpecError, match="There is no version 'rows@gold'"):
        kept.find("rows@gold")
    for taken in ("latest", "deployed.x"):
        with pytest.raises(SpecError, match="by the workbench itself"):
            kept.keeping.set_alias(first.reference, None, taken, there=True)


def test_a_deleted_result_is_not_answered_from_the_cache_but_made_again(
    kept: KeptWorkspace,
) -> None:
    rows = kept.make("rows", "a", cache_key="key")
    assert kept.runs.submit(Submission("again", "count", "{}", "key"))["cached"]
    kept.delete(rows)
    assert not kept.runs.submit(Submission("anew", "count", "{}", "key"))["cached"]
    kept.runs.start("anew", ["0"])
    kept.runs.commit("anew", 1, {"dataset": kept.seal("rows", "a")})
    assert kept.find(rows.reference).path == rows.path
    kept.check_all_or_nothing()
    assert len(kept.keeping.tombstones("rows")) == 1, "that it was deleted once is not forgotten"


def test_deleting_twice_is_deleting_once(kept: KeptWorkspace) -> None:
    first, second = kept.make("rows", "a"), kept.make("rows", "b")
    kept.delete(second)
    answer = kept.delete(second)  # a client that did not get the answer asks again
    assert [gone["reference"] for gone in answer["goes"]] == [second.reference]
    assert kept.references() == {first.reference}
    assert len(kept.keeping.tombstones("rows")) == 1


@pytest.mark.parametrize("reference", ["rows@latest", "rows", "rows@012345"])
def test_only_an_exact_version_is_deleted(kept: KeptWorkspace, reference: str) -> None:
    kept.make("rows", "a")
    with pytest.raises(SpecError, match="no exact version"):
        kept.keeping.delete(reference, "dataset", False, "", "")


def test_what_never_was_is_not_deleted(kept: KeptWorkspace) -> None:
    with pytest.raises(SpecError, match="There is no dataset rows@000000000000"):
        kept.keeping.delete("rows@000000000000", "dataset", False, "", "")


# -- kills ----------------------------------------------------------------------------------------


def test_a_kill_after_the_facts_and_before_the_files_is_made_good_by_the_next_start(
    kept: KeptWorkspace,
) -> None:
    rows = kept.make("rows", "a")
    with kept.database.write() as connection:  # the first step of a deletion, and no more
        (row,) = connection.execute(sa.text("SELECT * FROM artifacts")).all()
        kept.keeping.deleter.bury(connection, [row], "somebody", "killed here")
    kept.close()
    anew = kept.anew()
    assert anew.references() == set()
    anew.keeping.start()
    anew.check_all_or_nothing()
    assert not rows.path.exists()
    anew.close()


def test_a_kill_after_the_files_left_their_place_is_made_good_by_the_next_start(
    kept: KeptWorkspace,
) -> None:
    rows = kept.make("rows", "a")
    with kept.database.write() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM artifacts")).all()
        kept.keeping.deleter.bury(connection, [row], "somebody", "killed here")
    kept.keeping.deleter.take_away(address_of(rows))  # and the room is not freed, nor this noted
    kept.close()
    anew = kept.anew()
    anew.keeping.start()
    anew.check_all_or_nothing()
    anew.keeping.clear(30, False, "somebody")
    assert list((kept.root / "trash").iterdir()) == []
    anew.close()


def test_what_is_made_again_before_an_unfinished_deletion_goes_on_is_kept(
    kept: KeptWorkspace,
) -> None:
    rows = kept.make("rows", "a")
    with kept.database.write() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM artifacts")).all()
        kept.keeping.deleter.bury(connection, [row], "somebody", "killed here")
    again = kept.make("rows", "a")
    kept.keeping.start()
    assert again.reference == rows.reference
    kept.check_all_or_nothing()
    kept.find(rows.reference).verify()


_DELETER = """
import sys
from pathlib import Path
from databases import Databases
from kept_workspace import KeptWorkspace
kept = KeptWorkspace(Path(sys.argv[1]))
print("go", flush=True)
for number in range(10_000):
    raw = kept.make("raw", f"{number} " * 2_000)
    rows = kept.make("rows", f"{number}, cleaned " * 2_000, raw)
    if number % 3 == 0:
        kept.delete(raw, with_descendants=True)
    elif number % 3 == 1:
        kept.delete(rows)
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_of_making_and_deleting_leaves_each_whole_or_gone(
    tmp_path: Path,
) -> None:
    root = tmp_path / "workspace"
    for seed in range(6):
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _DELETER, str(root)],
            stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)},
        ) as deleter:  # fmt: skip
            assert deleter.stdout is not None
            assert deleter.stdout.readline() == b"go\n"
            time.sleep(random.Random(seed).uniform(0.01, 0.5))
            deleter.send_signal(signal.SIGKILL)
        kept = KeptWorkspace(root)
        kept.start()
        kept.keeping.clear(30, False, "somebody")  # what the killed attempt itself had sealed
        kept.check_all_or_nothing()
        kept.close()
    kept = KeptWorkspace(root)
    assert len(kept.keeping.tombstones(None)) > 5, "deletions did happen"
    kept.close()
