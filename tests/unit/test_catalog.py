"""The catalog: what was made is found by version, by the start of one, and by alias."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import Databases

from workbench.catalog.artifacts import (
    alias_history,
    find_artifact,
    insert_artifact,
    list_artifacts,
    move_alias,
)
from workbench.catalog.database import Database
from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError


@pytest.fixture
def database(databases: Databases, tmp_path: Path) -> Iterator[Database]:
    opened = databases.empty(tmp_path)
    yield opened
    opened.close()


def make(root: Path, version: str, *, kind: str = "dataset", name: str = "rows", by: str = "r1",
         **summary: object) -> Artifact:  # fmt: skip
    return Artifact(kind, name, version, root / kind / name / version, summary, ("a@1",), by)


def add(database: Database, root: Path, *artifacts: Artifact) -> None:
    with database.write() as connection:
        for artifact in artifacts:
            insert_artifact(connection, artifact, root)
            move_alias(
                connection,
                artifact.kind,
                artifact.name,
                "latest",
                artifact.version,
                artifact.made_by,
            )


def find(database: Database, root: Path, reference: str, kind: str | None = None) -> Artifact:
    with database.read() as connection:
        return find_artifact(connection, reference, root, kind)


def test_an_artifact_comes_back_as_it_went_in(database: Database, tmp_path: Path) -> None:
    made = make(tmp_path, "0123456789ab", rows=3, note="é 中文")
    add(database, tmp_path, made)
    assert find(database, tmp_path, made.reference) == made


def test_a_fact_that_is_no_number_does_not_make_the_artifact_unreadable(
    database: Database, tmp_path: Path
) -> None:
    add(database, tmp_path, make(tmp_path, "0123456789ab", loss=float("nan"), labels=["a"]))
    assert find(database, tmp_path, "rows").summary == {"loss": None, "labels": ["a"]}


@pytest.mark.parametrize("reference", ["rows", "rows@latest", "rows@0123456789ab", "rows@012345"])
def test_bare_names_aliases_versions_and_starts_of_versions_are_found(
    database: Database, tmp_path: Path, reference: str
) -> None:
    add(database, tmp_path, make(tmp_path, "0123456789ab"))
    assert find(database, tmp_path, reference).version == "0123456789ab"


def test_too_short_a_start_of_a_version_is_refused(database: Database, tmp_path: Path) -> None:
    add(database, tmp_path, make(tmp_path, "0123456789ab"))
    with pytest.raises(SpecError, match="There is no version 'rows@01234'"):
        find(database, tmp_path, "rows@01234")


def test_a_start_that_fits_two_versions_is_refused(database: Database, tmp_path: Path) -> None:
    add(database, tmp_path, make(tmp_path, "012345aaaaaa"), make(tmp_path, "012345bbbbbb"))
    with pytest.raises(SpecError, match="more than one"):
        find(database, tmp_path, "rows@012345")


@pytest.mark.parametrize("hostile", ["rows@%", "rows@______", "rows@0123%", "ro%s@latest"])
def test_a_pattern_is_not_taken_for_a_version(
    database: Database, tmp_path: Path, hostile: str
) -> None:
    add(database, tmp_path, make(tmp_path, "0123456789ab"))
    with pytest.raises(SpecError):
        find(database, tmp_path, hostile)


def test_an_unknown_name_is_refused_with_the_nearest_one(
    database: Database, tmp_path: Path
) -> None:
    add(database, tmp_path, make(tmp_path, "0123456789ab", name="comments"))
    with pytest.raises(SpecError) as caught:
        find(database, tmp_path, "coments")
    assert caught.value.next_step == "Did you mean 'comments'?"


def test_the_kind_that_a_field_reads_is_the_kind_that_is_found(
    database: Database, tmp_path: Path
) -> None:
    data, model = make(tmp_path, "aaaaaaaaaaaa"), make(tmp_path, "bbbbbbbbbbbb", kind="model")
    add(database, tmp_path, data, model)
    assert find(database, tmp_path, "rows@latest", "model") == model
    assert find(database, tmp_path, "rows@latest", "dataset") == data
    with pytest.raises(SpecError, match="There is no report"):
        find(database, tmp_path, "rows@latest", "report")


def test_the_first_commit_of_the_same_content_wins(database: Database, tmp_path: Path) -> None:
    add(database, tmp_path, make(tmp_path, "aaaaaaaaaaaa", by="r1", rows=1))
    add(database, tmp_path, make(tmp_path, "aaaaaaaaaaaa", by="r2", rows=2))
    found = find(database, tmp_path, "rows")
    assert (found.made_by, found.summary) == ("r1", {"rows": 1})


def test_aliases_move_forth_and_back_and_their_log_keeps_every_move(
    database: Database, tmp_path: Path
) -> None:
    first, second = make(tmp_path, "aaaaaaaaaaaa"), make(tmp_path, "bbbbbbbbbbbb")
    add(database, tmp_path, first, second, first, first)
    assert find(database, tmp_path, "rows@latest") == first
    with database.read() as connection:
        moves = [move["version"] for move in alias_history(connection, "dataset", "rows")]
    assert moves == ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "aaaaaaaaaaaa"]


def test_the_newest_artifacts_are_listed_first(database: Database, tmp_path: Path) -> None:
    first, second = make(tmp_path, "aaaaaaaaaaaa"), make(tmp_path, "bbbbbbbbbbbb", kind="model")
    add(database, tmp_path, first)
    add(database, tmp_path, second)
    with database.read() as connection:
        assert list_artifacts(connection, tmp_path) == [second, first]
        assert list_artifacts(connection, tmp_path, "dataset") == [first]


def test_a_transaction_that_raises_leaves_nothing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        insert_artifact(connection, make(tmp_path, "aaaaaaaaaaaa"), tmp_path)
        raise ZeroDivisionError
    with database.read() as connection:
        assert list_artifacts(connection, tmp_path) == []
