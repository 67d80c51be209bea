"""Laws that every store of artifacts keeps, for those shipped and for those of a third party.

Use them from a test::

    class TestMyStore(ArtifactStoreLaws):
        def open(self, folder):  # each call as another process would
            return MyStore(...)
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from workbench.catalog.artifact_store import Address, ArtifactStore, Stored, holds, localised
from workbench.core.artifact import MANIFEST, Artifact, Draft
from workbench.core.errors import DataError

_FILES = {"a.txt": b"1", "below/b c.bin": bytes(range(256)) * 40, "中文.txt": b"", ".hidden": b"h"}


class ArtifactStoreLaws:
    """What every ArtifactStore promises; subclass it in a test and give ``open``."""

    def open(self, folder: Path) -> ArtifactStore:
        """Return a new handle on the one store that belongs to this folder, empty at first."""
        raise NotImplementedError

    def test_what_is_committed_is_read_by_others_byte_for_byte(self, tmp_path: Path) -> None:
        made = self.open(tmp_path).commit(_draft(tmp_path, _FILES))
        found = localised(self.open(tmp_path), made)
        found.verify()
        read = {
            p.relative_to(found.path).as_posix(): p.read_bytes()
            for p in found.path.rglob("*")
            if p.is_file()
        }
        del read[MANIFEST]
        assert read == _FILES
        assert made.num_bytes == sum(map(len, _FILES.values()))

    def test_who_commits_can_go_on_with_it_and_the_draft_is_gone(self, tmp_path: Path) -> None:
        draft = _draft(tmp_path, _FILES)
        made = self.open(tmp_path).commit(draft)
        made.verify()
        assert not draft.path.exists()

    def test_the_same_bytes_are_stored_once(self, tmp_path: Path) -> None:
        first = self.open(tmp_path).commit(_draft(tmp_path, _FILES))
        again = self.open(tmp_path).commit(_draft(tmp_path, _FILES))
        assert again.reference == first.reference
        assert [s.address for s in self.open(tmp_path).find()] == [_address(first)]

    def test_writers_of_the_same_bytes_at_once_do_each_other_no_harm(self, tmp_path: Path) -> None:
        drafts = [_draft(tmp_path / str(n), _FILES) for n in range(4)]
        made: list[Artifact] = []
        threads = [
            threading.Thread(target=lambda d=d: made.append(self.open(tmp_path).commit(d)))
            for d in drafts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({artifact.version for artifact in made}) == 1
        assert len(made) == len(drafts)
        localised(self.open(tmp_path), made[0]).verify()
        assert [s.is_whole for s in self.open(tmp_path).find()] == [True]

    def test_what_is_there_is_found_with_its_size(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        made = [store.commit(_draft(tmp_path, {"a": bytes(n)}, f"rows-{n}")) for n in range(1, 4)]
        found = {s.address: s for s in self.open(tmp_path).find()}
        assert set(found) == {_address(artifact) for artifact in made}
        for artifact in made:
            (stored,) = store.find(_address(artifact).path)
            assert stored == found[_address(artifact)]
            assert stored.is_whole
            assert stored.num_bytes >= artifact.num_bytes  # a store may count its manifest too
        assert {s.address for s in store.find("dataset/rows-1")} == {_address(made[0])}
        assert list(store.find("model")) == []

    def test_what_is_removed_is_invisible_at_once_and_leaves_nothing(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        gone, stays = (
            store.commit(_draft(tmp_path, {"a": name.encode()}, name)) for name in ("gone", "stays")
        )
        free = store.remove(_only(store, gone))
        reader = self.open(tmp_path)
        assert not holds(reader, _address(gone))
        with pytest.raises(DataError):
            reader.localise(_address(gone))
        free()
        assert list(self.open(tmp_path).find(_address(gone).path)) == []
        localised(self.open(tmp_path), stays).verify()

    def test_removing_twice_harms_nothing(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        stored = _only(store, store.commit(_draft(tmp_path, _FILES)))
        for _ in range(2):
            store.remove(stored)()
        assert list(store.find()) == []

    def test_what_is_committed_again_between_removal_and_freeing_is_whole(
        self, tmp_path: Path
    ) -> None:
        store = self.open(tmp_path)
        made = store.commit(_draft(tmp_path, _FILES))
        free = store.remove(_only(store, made))
        again = self.open(tmp_path).commit(_draft(tmp_path, _FILES))
        free()
        assert again.reference == made.reference
        localised(self.open(tmp_path), again).verify()

    def test_what_is_not_there_is_said_to_be_missing(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        address = Address("dataset", "rows", "0" * 12)
        assert not holds(store, address)
        with pytest.raises(DataError, match=f"rows@{'0' * 12}"):
            store.localise(address)


def _draft(folder: Path, files: dict[str, bytes], name: str = "rows") -> Draft:
    draft = Draft("dataset", name, folder / "draft" / name)
    for path, content in files.items():
        (draft.path / path).parent.mkdir(parents=True, exist_ok=True)
        (draft.path / path).write_bytes(content)
    return draft


def _address(artifact: Artifact) -> Address:
    return Address(artifact.kind, artifact.name, artifact.version)


def _only(store: ArtifactStore, artifact: Artifact) -> Stored:
    (stored,) = store.find(_address(artifact).path)
    return stored
