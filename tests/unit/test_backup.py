"""Backup and restore: consistent, incremental, verified by hashes, whole or not there."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kept_workspace import KeptWorkspace

from workbench.catalog.trash import Trash
from workbench.core.errors import DataError, SpecError
from workbench.daemon import backup
from workbench.daemon.backup import BACKUP_FILE, VanishedError, write_backup
from workbench.daemon.restore import restore_backup
from workbench.queue.states import RunEvent

KINDS = ["folder", "file.tar"]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptWorkspace]:
    workspace = KeptWorkspace(tmp_path / "workspace")
    yield workspace
    workspace.close()


def quiet(_done: int, _total: int) -> None:
    """Tell nobody how far it is."""


def back_up(kept: KeptWorkspace, target: Path) -> dict[str, Any]:
    snapshot = Path(kept.keeping.snapshot("now")["path"])
    try:
        return write_backup(kept.root, snapshot, target, quiet)
    finally:
        snapshot.unlink()


def restore(source: Path, target: Path) -> KeptWorkspace:
    restore_backup(source, target, quiet)
    return KeptWorkspace(target)


def dump(workspace: KeptWorkspace) -> list[str]:
    """Return the whole database as SQL."""
    with closing(sqlite3.connect(workspace.root / "catalog.sqlite")) as connection:
        return sorted(connection.iterdump())


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def fill(kept: KeptWorkspace) -> None:
    """Make artifacts, a deletion, and runs in every state that matters."""
    raw = kept.make("raw", "a b c")
    rows = kept.make("rows", "a b", raw, cache_key="key")
    kept.keeping.set_alias(rows.reference, None, "gold", there=True)
    kept.delete(kept.make("rows", "gone"))
    kept.keeping.set_quota("default", 1_000)
    waiting, running, paused = (kept.submit(rows) for _ in range(3))
    kept.runs.ask(paused, RunEvent.PAUSE)
    kept.runs.start(running, ["0"])
    for key in ("first", "second"):
        part = kept.root / "runs" / running / "checkpoints" / f"{key}.1"
        part.mkdir(parents=True)
        (part / "numbers.bin").write_bytes(key.encode() * 99)
        kept.runs.add_checkpoint(running, 1, key, f"{key}.1")
    assert {waiting, running, paused} == {"r4", "r5", "r6"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_restored_is_what_was_saved_and_what_ran_waits(
    kept: KeptWorkspace, tmp_path: Path, kind: str
) -> None:
    fill(kept)
    done = back_up(kept, tmp_path / kind)
    assert (done["num_artifacts"], done["num_copied"]) == (2, 2)
    restored = restore(tmp_path / kind, tmp_path / "anew")
    assert tree(restored.root / "artifacts") == tree(kept.root / "artifacts")
    restored.check_all_or_nothing()
    assert restored.find("rows@gold").parents == kept.find("rows@gold").parents
    assert [g["reason"] for g in restored.keeping.tombstones(None)] == ["no longer wanted"]
    states = {run["run_id"]: run["state"] for run in restored.runs.runs()}
    assert (states["r4"], states["r5"], states["r6"]) == ("waiting", "waiting", "paused")
    order = restored.runs.start("r5", ["0"])
    assert order["checkpoints"] == {"first": "first.1", "second": "second.1"}
    assert tree(restored.root / "runs") == tree(kept.root / "runs")
    restored.close()


def test_a_part_that_is_forgotten_while_it_is_copied_is_left_out_whole(
    kept: KeptWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(kept)
    first = kept.root / "runs" / "r5" / "checkpoints" / "first.1"
    (first / "more.bin").write_bytes(b"more")
    copied: list[str] = []
    add_file = backup._add_file

    def leave_after_one(container: Any, contents: Any, name: str, file: Path) -> None:
        add_file(container, contents, name, file)
        copied.append(name)
        if "first.1" in name:
            Trash(kept.root / "trash").throw(first)()

    monkeypatch.setattr(backup, "_add_file", leave_after_one)
    back_up(kept, tmp_path / "saved")
    assert sum("first.1" in name for name in copied) == 1, "it went after its first file"
    restored = restore(tmp_path / "saved", tmp_path / "anew")
    assert restored.runs.start("r5", ["0"])["checkpoints"] == {"second": "second.1"}
    restored.close()


def test_a_workspace_where_nothing_runs_comes_back_with_the_same_database(
    kept: KeptWorkspace, tmp_path: Path
) -> None:
    kept.make("rows", "a", kept.make("raw", "b"))
    back_up(kept, tmp_path / "backup")
    restored = restore(tmp_path / "backup", tmp_path / "anew")
    assert dump(restored) == dump(kept)
    restored.close()


def test_a_second_backup_copies_only_what_is_new(kept: KeptWorkspace, tmp_path: Path) -> None:
    kept.make("rows", "a")
    back_up(kept, tmp_path / "backup")
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / "backup/artifacts").rglob("*.txt")}
    newer = kept.make("rows", "ab")
    done = back_up(kept, tmp_path / "backup")
    assert (done["num_artifacts"], done["num_copied"]) == (2, 1)
    assert 0 < done["num_bytes_copied"] < 1_000
    assert {p: p.stat().st_mtime_ns for p in first} == first
    restored = restore(tmp_path / "backup", tmp_path / "anew")
    assert restored.find("rows@latest").version == newer.version
    restored.close()


def test_what_was_deleted_since_stays_in_the_folder_but_is_not_restored(
    kept: KeptWorkspace, tmp_path: Path
) -> None:
    gone, stays = kept.make("rows", "a"), kept.make("rows", "b")
    back_up(kept, tmp_path / "backup")
    kept.delete(gone)
    back_up(kept, tmp_path / "backup")
    assert (tmp_path / "backup" / "artifacts" / "dataset" / "rows" / gone.version).is_dir()
    restored = restore(tmp_path / "backup", tmp_path / "anew")
    assert restored.references() == restored.stored() == {stays.reference}
    restored.close()


def test_a_log_of_predictions_is_saved_while_it_is_written(
    kept: KeptWorkspace, tmp_path: Path
) -> None:
    log = kept.root / "deployments" / "live" / "predictions.sqlite"
    log.parent.mkdir(parents=True)
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE predictions (text)")
        connection.execute("INSERT INTO predictions VALUES ('hello')")
        back_up(kept, tmp_path / "backup")
        connection.execute("INSERT INTO predictions VALUES ('again')")
        back_up(kept, tmp_path / "backup")
    assert len(list((tmp_path / "backup" / "files").iterdir())) == 2, "only what counts is kept"
    restore(tmp_path / "backup", tmp_path / "anew").close()
    copy = tmp_path / "anew" / "deployments" / "live" / "predictions.sqlite"
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT text FROM predictions").fetchall() == [
            ("hello",),
            ("again",),
        ]


# -- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_is_not_empty_is_refused_and_left_as_it_was(
    kept: KeptWorkspace, tmp_path: Path, kind: str
) -> None:
    back_up(kept, tmp_path / kind)
    target = tmp_path / "anew"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(SpecError, match="not empty"):
        restore_backup(tmp_path / kind, target, quiet)
    assert tree(target) == {"mine": b"mine"}


def test_an_empty_folder_is_taken(kept: KeptWorkspace, tmp_path: Path) -> None:
    rows = kept.make("rows", "a")
    back_up(kept, tmp_path / "backup")
    (tmp_path / "anew").mkdir()
    restored = restore(tmp_path / "backup", tmp_path / "anew")
    assert restored.references() == {rows.reference}
    restored.close()


def test_a_folder_with_something_else_in_it_is_no_place_for_a_backup(
    kept: KeptWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_text("mine")
    with pytest.raises(SpecError, match="something else"):
        back_up(kept, tmp_path / "other")
    assert tree(tmp_path / "other") == {"mine": b"mine"}


@pytest.mark.parametrize("inside", ["", "backup", "artifacts/backup.tar"])
def test_a_backup_inside_of_its_workspace_is_refused(kept: KeptWorkspace, inside: str) -> None:
    with pytest.raises(SpecError, match="inside of its workspace"):
        back_up(kept, kept.root / inside)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 99}', "no json"])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / BACKUP_FILE).write_text(content)
    (tmp_path / "file.tar").write_text(content)
    for source in ("backup", "file.tar", "nowhere"):
        with pytest.raises(SpecError, match=r"no (complete )?backup"):
            restore_backup(tmp_path / source, tmp_path / "anew", quiet)
    assert not (tmp_path / "anew").exists()
    assert list(tmp_path.glob(".*")) == [], "nothing is left beside it either"


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/passwd/x", "dataset/../x", "a/b"])
def test_a_backup_that_names_something_outside_is_refused(
    kept: KeptWorkspace, tmp_path: Path, name: str
) -> None:
    back_up(kept, tmp_path / "backup")
    path = tmp_path / "backup" / BACKUP_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "artifacts": [name]}))
    with pytest.raises(SpecError, match=r"leads elsewhere|no artifact's"):
        restore_backup(tmp_path / "backup", tmp_path / "anew", quiet)


@pytest.mark.parametrize("what", ["rows.txt", "manifest.json", "catalog.sqlite", "numbers.bin"])
@pytest.mark.parametrize("how", ["flipped", "truncated", "missing"])
def test_any_damage_to_a_backup_is_found_and_nothing_is_restored(
    kept: KeptWorkspace, tmp_path: Path, what: str, how: str
) -> None:
    fill(kept)
    back_up(kept, tmp_path / "backup")
    files = json.loads((tmp_path / "backup" / BACKUP_FILE).read_text())["files"]
    saved = [facts["sha256"] for name, facts in files.items() if name.endswith(what)]
    path = next(iter((tmp_path / "backup").rglob(saved[0] if saved else what)))
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if how == "flipped" else content[: len(content) // 2])
    with pytest.raises(DataError):
        restore_backup(tmp_path / "backup", tmp_path / "anew", quiet)
    assert not (tmp_path / "anew").exists()


def test_a_damaged_artifact_is_not_saved_as_if_it_were_whole(
    kept: KeptWorkspace, tmp_path: Path
) -> None:
    rows = kept.make("rows", "a")
    (rows.path / "rows.txt").write_text("b")
    with pytest.raises(DataError, match="is damaged"):
        back_up(kept, tmp_path / "backup")
    assert not (tmp_path / "backup" / BACKUP_FILE).exists()


def test_an_artifact_that_is_deleted_meanwhile_asks_for_another_try(
    kept: KeptWorkspace, tmp_path: Path
) -> None:
    rows = kept.make("rows", "a")
    snapshot = Path(kept.keeping.snapshot("before")["path"])
    kept.delete(rows)
    with pytest.raises(VanishedError, match="has gone"):
        write_backup(kept.root, snapshot, tmp_path / "backup", quiet)
    assert back_up(kept, tmp_path / "backup")["num_artifacts"] == 0


def test_a_name_that_leads_elsewhere_is_no_name_for_a_snapshot(kept: KeptWorkspace) -> None:
    with pytest.raises(SpecError, match="no name for a snapshot"):
        kept.keeping.snapshot("../x")


# -- kills ----------------------------------------------------------------------------------------

_BACKER = """
import sqlite3, sys
from pathlib import Path
from kept_workspace import KeptWorkspace
from workbench.daemon.backup import write_backup
from workbench.daemon.restore import restore_backup
root, target = Path(sys.argv[1]), Path(sys.argv[2])
kept = KeptWorkspace(root)
for number in range(10_000):
    made = kept.make("rows", f"{number} " * 5_000)
    log = root / "deployments" / "live"
    log.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(log / "predictions.sqlite") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS predictions (text)")
        connection.execute("INSERT INTO predictions VALUES (?)", [str(number)])
    connection.close()
    if number % 4 == 3:
        kept.delete(made)
    snapshot = Path(kept.keeping.snapshot("now")["path"])
    write_backup(root, snapshot, target, lambda done, total: None)
    if number == 0:
        print("go", flush=True)
"""


@pytest.mark.slow
def test_a_backup_killed_at_any_moment_leaves_the_one_before_or_the_new_one(
    tmp_path: Path,
) -> None:
    root, backup = tmp_path / "workspace", tmp_path / "backup"
    for seed in range(5):
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _BACKER, str(root), str(backup)],
            stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)},
        ) as backer:  # fmt: skip
            assert backer.stdout is not None
            assert backer.stdout.readline() == b"go\n"
            time.sleep(random.Random(seed).uniform(0.01, 0.6))
            backer.send_signal(signal.SIGKILL)
        restored = restore(backup, tmp_path / f"anew-{seed}")
        restored.check_all_or_nothing()
        assert restored.references()
        restored.close()
        shutil.rmtree(tmp_path / f"anew-{seed}")
