"""Sizes are read and written as people do, and a project's use is what its artifacts take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import Databases
from hypothesis import given
from hypothesis import strategies as st

from workbench.catalog.quotas import Use, check_project, every_use, set_quota, use_of
from workbench.core.artifact import Artifact
from workbench.core.errors import ResourceError, SpecError
from workbench.core.sizes import format_bytes, parse_bytes
from workbench.queue.store import RunStore
from workbench.queue.submissions import Submission


@pytest.fixture
def store(databases: Databases, tmp_path: Path) -> Iterator[RunStore]:
    database = databases.empty(tmp_path)
    yield RunStore(database, tmp_path / "artifacts")
    database.close()


def make(store: RunStore, version: str, num_bytes: int, name: str = "rows") -> Artifact:
    path = store.artifact_root / "dataset" / name / version
    path.mkdir(parents=True, exist_ok=True)
    return Artifact("dataset", name, version, path, num_bytes=num_bytes)


def commit(store: RunStore, run_id: str, *made: Artifact, project: str = "default") -> None:
    store.submit(Submission(run_id, "count", "{}", None, project=project))
    store.start(run_id, ["0"])
    store.commit(run_id, 1, {f"output {n}": artifact for n, artifact in enumerate(made)})


def limit(store: RunStore, project: str, num_bytes: int | None) -> None:
    with store.database.write() as connection:
        set_quota(connection, project, num_bytes)


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("0", 0), ("12", 12), ("20GB", 20 * 10**9), ("1.5 GiB", 3 * 2**29), ("500 mb", 5 * 10**8),
     (" 7b ", 7)],
)  # fmt: skip
def test_a_size_is_read(text: str, num_bytes: int) -> None:
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "20 parsecs", "1GB2", "9" * 40 + "TB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (3_210, "3.21 kB"), (999_600, "1 MB"),
     (20 * 10**9, "20 GB"), (123_456_789, "123 MB"), (5 * 10**15, "5000 TB")],
)  # fmt: skip
def test_a_size_is_written(num_bytes: int, text: str) -> None:
    assert format_bytes(num_bytes) == text


@given(st.integers(0, 2**60))
def test_a_size_that_is_written_reads_as_nearly_itself(num_bytes: int) -> None:
    assert abs(parse_bytes(format_bytes(num_bytes)) - num_bytes) <= num_bytes * 0.01


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "ü", "x" * 121])
def test_what_is_no_name_of_a_project_is_refused(name: str) -> None:
    with pytest.raises(SpecError):
        check_project(name)


def test_the_same_version_counts_once_against_who_made_it_first(store: RunStore) -> None:
    shared = make(store, "aaaaaaaaaaaa", 100)
    commit(store, "r1", shared, project="first")
    commit(store, "r2", shared, make(store, "bbbbbbbbbbbb", 7), project="second")
    with store.database.read() as connection:
        assert every_use(connection) == [Use("first", 100, 1, None), Use("second", 7, 1, None)]


def test_a_commit_over_the_quota_fails_its_run_and_keeps_its_parts(store: RunStore) -> None:
    limit(store, "default", 150)
    commit(store, "r1", make(store, "aaaaaaaaaaaa", 100, name="big"))
    store.submit(Submission("r2", "count", "{}", "key"))
    store.start("r2", ["0"])
    store.add_checkpoint("r2", 1, "part", "part.1")
    with pytest.raises(
        ResourceError, match=r"has no room for 51 B more: 100 B of 150 B are taken"
    ) as caught:
        store.commit("r2", 1, {"rows": make(store, "bbbbbbbbbbbb", 51)})
    assert "big@aaaaaaaaaaaa (100 B)" in caught.value.where
    assert "workbench gc" in caught.value.next_step
    run = store.run("r2")
    assert (run["state"], run["error"]) == ("failed", caught.value.to_json())
    with store.database.read() as connection:
        assert use_of(connection, "default") == Use("default", 100, 1, 150)
    limit(store, "default", 151)
    store.ask("r2", "resume")
    assert store.start("r2", ["0"])["checkpoints"] == {"part": "part.1"}
    assert store.commit("r2", 2, {"rows": make(store, "bbbbbbbbbbbb", 51)})["state"] == "succeeded"


def test_what_is_there_already_and_what_is_empty_needs_no_room(store: RunStore) -> None:
    known = make(store, "aaaaaaaaaaaa", 100)
    commit(store, "r1", known)
    limit(store, "default", 10)
    commit(store, "r2", known, make(store, "cccccccccccc", 0))
    assert store.run("r2")["state"] == "succeeded"


def test_a_lifted_limit_limits_nothing(store: RunStore) -> None:
    limit(store, "default", 1)
    limit(store, "default", None)
    commit(store, "r1", make(store, "aaaaaaaaaaaa", 100))


def test_a_child_belongs_to_the_project_of_its_parent(store: RunStore) -> None:
    store.submit(Submission("r1", "nest", "{}", None, coordinator=True, project="team"))
    store.start("r1", [])
    child = store.submit(Submission("r2", "count", "{}", None, parent_run_id="r1"))
    assert child["project"] == "team"


def test_files_that_were_cleared_away_before_the_commit_are_not_recorded(store: RunStore) -> None:
    artifact = make(store, "aaaaaaaaaaaa", 100)
    artifact.path.rmdir()
    with pytest.raises(ResourceError, match="cleared away"):
        commit(store, "r1", artifact)
    assert store.run("r1")["state"] == "running", "the attempt is lost, and the run starts again"
