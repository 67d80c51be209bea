"""A disk that is full: a named error, the former state as it was, and the same again with room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kept_workspace import KeptWorkspace, address_of

from workbench.catalog.folder_store import FolderStore
from workbench.catalog.local_cache import LocalCache
from workbench.catalog.object_store import ObjectStore
from workbench.core.artifact import Draft
from workbench.core.errors import ResourceError
from workbench.daemon.backup import write_backup
from workbench.daemon.restore import restore_backup
from workbench.data.duplicates.columns import create_column, load_column

KINDS = ["backup", "backup.tar"]
_SIZE = 2_000_000


class SmallDisk:
    """A file system of two megabytes, which can be filled and widened."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fill(self) -> None:
        with (self.root / "filler").open("wb", buffering=0) as stream:
            for size in (65_536, 1):
                try:
                    while True:
                        stream.write(bytes(size))
                except OSError:
                    continue

    def clear(self) -> None:
        (self.root / "filler").unlink()

    def widen(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", self.root], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    root = tmp_path / "disk"
    root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(root)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        pytest.skip(f"a small disk cannot be mounted here: {reason}")
    try:
        yield SmallDisk(root)
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)


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


def references_after_restore(source: Path, target: Path) -> set[str]:
    restore_backup(source, target, quiet)
    restored = KeptWorkspace(target)
    restored.check_all_or_nothing()
    found = restored.references()
    restored.close()
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_artifact_is_committed_when_there_is_room_again(disk: SmallDisk) -> None:
    store = FolderStore(disk.root / "artifacts", disk.root / "trash")
    first = Draft("dataset", "rows", disk.root / "staging" / "first")
    (first.path / "rows.txt").write_text("a")
    made = store.commit(first)
    second = Draft("dataset", "rows", disk.root / "staging" / "second")
    (second.path / "rows.txt").write_text("b")
    disk.fill()
    with pytest.raises(ResourceError, match="The disk is full") as caught:
        store.commit(second)
    assert str(disk.root) in caught.value.where
    assert "Make room" in caught.value.next_step
    made.verify()
    assert [stored.address.version for stored in store.find()] == [made.version]
    disk.clear()
    again = store.commit(second)
    again.verify()
    assert len(list(store.find())) == 2


@pytest.mark.parametrize("name", KINDS)
def test_a_backup_that_finds_no_room_leaves_the_one_before(
    kept: KeptWorkspace, disk: SmallDisk, tmp_path: Path, name: str
) -> None:
    first = kept.make("rows", "a")
    target = disk.root / name
    back_up(kept, target)
    second = kept.make("long", os.urandom(_SIZE // 2).hex())
    with pytest.raises(ResourceError, match="The disk is full") as caught:
        back_up(kept, target)
    assert str(target) in caught.value.where
    assert "make the backup again" in caught.value.next_step
    assert os.statvfs(disk.root).f_bavail > 0, "what could not be finished takes no room"
    assert references_after_restore(target, tmp_path / "before") == {first.reference}
    disk.widen()
    back_up(kept, target)
    both = {first.reference, second.reference}
    assert references_after_restore(target, tmp_path / "after") == both


@pytest.mark.parametrize("name", KINDS)
def test_a_first_backup_that_finds_no_room_is_begun_anew(
    kept: KeptWorkspace, disk: SmallDisk, tmp_path: Path, name: str
) -> None:
    made = kept.make("rows", "a")
    disk.fill()
    with pytest.raises(ResourceError, match="The disk is full"):
        back_up(kept, disk.root / name)
    disk.clear()
    back_up(kept, disk.root / name)
    assert references_after_restore(disk.root / name, tmp_path / "anew") == {made.reference}


def test_a_workspace_without_room_for_the_copy_of_its_catalog_says_so(
    disk: SmallDisk, tmp_path: Path
) -> None:
    full = KeptWorkspace(disk.root / "workspace")
    try:
        made = full.make("rows", "a")
        disk.fill()
        with pytest.raises(ResourceError, match="The disk is full") as caught:
            full.keeping.snapshot("now")
        assert str(full.root / "snapshots") in caught.value.where
        assert list((full.root / "snapshots").iterdir()) == []
        disk.clear()
        back_up(full, tmp_path / "backup")
        assert references_after_restore(tmp_path / "backup", tmp_path / "anew") == {made.reference}
    finally:
        full.close()


@pytest.mark.parametrize("name", KINDS)
def test_a_restore_that_finds_no_room_leaves_nothing_and_blames_no_backup(
    kept: KeptWorkspace, disk: SmallDisk, tmp_path: Path, name: str
) -> None:
    made = kept.make("long", os.urandom(_SIZE).hex())
    back_up(kept, tmp_path / name)
    with pytest.raises(ResourceError, match="The disk is full") as caught:
        restore_backup(tmp_path / name, disk.root / "anew", quiet)
    assert str(disk.root) in caught.value.where
    assert "Make room" in caught.value.next_step
    assert tree(disk.root) == {}
    disk.widen()
    assert references_after_restore(tmp_path / name, disk.root / "anew") == {made.reference}


def test_places_that_cannot_be_written_are_named(kept: KeptWorkspace, tmp_path: Path) -> None:
    kept.make("rows", "a")
    back_up(kept, tmp_path / "backup")
    (tmp_path / "file").write_text("in the way")
    for name in KINDS:
        with pytest.raises(ResourceError, match="cannot be written") as caught:
            back_up(kept, tmp_path / "file" / name)
        assert str(tmp_path / "file") in caught.value.where
    with pytest.raises(ResourceError, match="cannot be written") as caught:
        restore_backup(tmp_path / "backup", tmp_path / "file" / "anew", quiet)
    assert str(tmp_path / "file") in caught.value.where


def test_no_room_for_a_local_copy_is_not_the_fault_of_the_object_store(
    disk: SmallDisk, tmp_path: Path
) -> None:
    url = f"file://{tmp_path / 'store'}"
    draft = Draft("dataset", "rows", tmp_path / "draft")
    (draft.path / "rows.txt").write_text("a" * 10_000)
    made = ObjectStore(url, LocalCache(tmp_path / "writer", _SIZE)).commit(draft)
    reader = ObjectStore(url, LocalCache(disk.root / "cache", _SIZE))
    disk.fill()
    with pytest.raises(ResourceError, match="The disk is full") as caught:
        reader.localise(address_of(made))
    assert str(disk.root) in caught.value.where
    disk.clear()
    assert (reader.localise(address_of(made)) / "rows.txt").read_text() == "a" * 10_000


def test_a_column_that_finds_no_room_is_refused_before_it_is_filled(disk: SmallDisk) -> None:
    with pytest.raises(OSError, match="No space left"):
        create_column(disk.root / "column.npy", np.int64, _SIZE)
    (disk.root / "column.npy").unlink()
    create_column(disk.root / "column.npy", np.int64, _SIZE // 16)[:] = 7
    assert load_column(disk.root / "column.npy", np.int64).sum() == 7 * (_SIZE // 16)
