"""What a request asks for, against the pool that is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workbench_example_stages import NothingSpec

from workbench.catalog.database import open_database
from workbench.core import known_hashes
from workbench.core.artifact import hash_file
from workbench.core.errors import ResourceError, SpecError
from workbench.core.known_hashes import hash_file_once
from workbench.core.workers import Workers
from workbench.daemon.submission import key_now, make_submission
from workbench.queue.store import RunStore
from workbench.workspace import Workspace


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    database = open_database(tmp_path)
    yield RunStore(database, tmp_path / "artifacts")
    database.close()


def asked(**given: Any) -> dict[str, Any]:
    return {"run_id": "r1", "stage": "nothing", "spec": {}, **given}


@pytest.mark.parametrize(
    ("given", "workers", "note"),
    [
        ({}, Workers(1, 1), ""),
        ({"workers": 3}, Workers(3, 3), ""),
        ({"workers": "3..8"}, Workers(3, 8), ""),
        # More than there are: cut when it is placed.
        ({"workers": 8}, Workers(8, 8),
         "The pool has 3 workers at most: the run gets those instead of 8"),
    ],
)  # fmt: skip
def test_a_wish_that_the_pool_can_meet_or_cut_is_taken(
    store: RunStore, given: dict[str, Any], workers: Workers, note: str
) -> None:
    submission = make_submission(store, asked(**given), num_slots=3)
    assert (submission.workers, submission.note) == (workers, note)


def test_a_range_that_begins_above_the_pools_size_is_refused_with_what_to_do(
    store: RunStore,
) -> None:
    with pytest.raises(SpecError) as refused:
        make_submission(store, asked(workers="4..8"), num_slots=3)
    assert refused.value.what == "'4..8' needs at least 4 workers, the pool has 3"
    assert refused.value.where == "workers"
    assert refused.value.next_step == (
        "Ask for 3..8, or restart the daemon with WORKBENCH_SLOTS=4 or more."
    )


def test_nonsense_is_refused_before_a_daemon_is_asked_or_started(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'two' is no number of workers"):
        Workspace(tmp_path / "workspace").submit(NothingSpec(), workers="two")
    assert not (tmp_path / "workspace").exists()


def test_a_coordinator_takes_no_slot_so_that_no_range_is_too_wide_for_it(store: RunStore) -> None:
    request = asked(stage="nest", workers="4..8")
    assert make_submission(store, request, num_slots=3).coordinator


def test_a_submitter_of_another_version_is_refused_with_what_to_do(store: RunStore) -> None:
    with pytest.raises(ResourceError, match=r"yours is 0\.0\.0") as refused:
        make_submission(store, asked(version="0.0.0"), num_slots=3)
    assert refused.value.next_step.startswith("workbench down")
    assert make_submission(store, asked(), num_slots=3).run_id == "r1", "a script may not say it"


def test_a_run_whose_file_has_changed_since_does_not_answer_for_later_ones(
    store: RunStore, tmp_path: Path
) -> None:
    path = tmp_path / "news.csv"
    path.write_text("text\none\n")
    source = {"kind": "csv", "name": "news", "path": str(path)}
    request = asked(stage="integrate", spec={"sources": [source]})
    submission = make_submission(store, request, num_slots=1)
    store.submit(submission)
    assert key_now(store, "r1") == submission.cache_key
    path.write_text("text\ntwo\n")
    assert key_now(store, "r1") not in ("", submission.cache_key)
    path.write_text("text\none\n")
    assert key_now(store, "r1") == submission.cache_key
    path.unlink()
    assert key_now(store, "r1") == "none"


def test_nothing_from_outside_leaves_the_key_as_it_was(store: RunStore) -> None:
    store.submit(make_submission(store, asked(), num_slots=1))
    assert key_now(store, "r1") == ""


def test_a_file_is_hashed_again_only_if_it_was_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "news.csv"
    path.write_text("one")
    num_read: list[Path] = []

    def counted(read: Path) -> str:
        num_read.append(read)
        return hash_file(read)

    monkeypatch.setattr(known_hashes, "hash_file", counted)
    monkeypatch.setattr(known_hashes, "_SETTLED_SECONDS", 0.0)
    first = [hash_file_once(path) for _ in range(3)]
    assert first == [hash_file(path)] * 3
    assert len(num_read) == 1
    path.write_text("two")
    assert hash_file_once(path) == hash_file(path) != first[0]
    monkeypatch.setattr(known_hashes, "_SETTLED_SECONDS", 60.0)
    path.write_text("three")
    assert [hash_file_once(path) for _ in range(2)] == [hash_file(path)] * 2
    assert len(num_read) == 4, "what was touched a moment ago is not relied on"
