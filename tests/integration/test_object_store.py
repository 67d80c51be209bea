"""Artifacts in an S3 store: killed writers, uploads cut short, bounded copies, live workspaces."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from live_workspace import StartWorkspace
from workbench_example_stages import AdoptSpec, CountSpec, NestSpec

from workbench.catalog.artifact_store import (
    Address,
    check_url,
    holds,
    localised,
    recorded_url,
    settle_url,
)
from workbench.catalog.local_cache import LocalCache
from workbench.catalog.object_store import ObjectStore
from workbench.core.artifact import MANIFEST, Artifact, Draft
from workbench.core.errors import DataError, ResourceError, SpecError
from workbench.workspace import Workspace

BIG = 10**9


def file_system() -> Any:
    import s3fs

    found = s3fs.S3FileSystem()
    found.invalidate_cache()
    return found


def open_store(url: str, cache: Path, limit: int = BIG) -> ObjectStore:
    return ObjectStore(url, LocalCache(cache, limit))


def commit(store: ObjectStore, folder: Path, name: str, content: bytes = b"rows") -> Artifact:
    draft = Draft("dataset", name, folder / "drafts" / name)
    (draft.path / "rows.bin").write_bytes(content)
    return store.commit(draft)


def address_of(artifact: Artifact) -> Address:
    return Address(artifact.kind, artifact.name, artifact.version)


# -- writers that are killed, uploads that are cut short ------------------------------------------

_WRITER = """
import sys
from pathlib import Path
from workbench.catalog.local_cache import LocalCache
from workbench.catalog.object_store import ObjectStore
from workbench.core.artifact import Draft
url, folder = sys.argv[1], Path(sys.argv[2])
store = ObjectStore(url, LocalCache(folder / "cache", 10**9))
list(store.find())  # the first request of a process takes longest
print("go", flush=True)
for number in range(10_000):
    draft = Draft("dataset", "rows", folder / "drafts" / str(number))
    for part in range(40):
        content = bytes([part, number % 256, number // 256]) * 30_000
        (draft.path / f"part-{part}").write_bytes(content)
    store.commit(draft)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_an_artifact_whole_or_invisible(
    bucket: str, tmp_path: Path
) -> None:
    num_unfinished = 0
    for seed in range(15):  # as many as it takes, but for bad luck without end
        if seed >= 4 and num_unfinished:
            break
        folder = tmp_path / f"writer-{seed}"
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, f"{bucket}/{seed}", str(folder)],
            stdout=subprocess.PIPE,
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"go\n"
            time.sleep(random.Random(seed).uniform(0.2, 1.3))
            writer.send_signal(signal.SIGKILL)
        reader = open_store(f"{bucket}/{seed}", tmp_path / f"reader-{seed}")
        for stored in list(reader.find()):
            artifact = Artifact(*stored.address, Path("not here yet"))
            if stored.is_whole:
                found = localised(reader, artifact)
                found.verify()
                assert len(list(found.path.glob("part-*"))) == 40
            else:
                num_unfinished += 1
                others = [s for s in reader.find(stored.address.path) if s.is_whole]
                assert others == []
                with pytest.raises(DataError, match="it is not there"):
                    reader.localise(stored.address)
                reader.remove(stored)()
        assert all(stored.is_whole for stored in reader.find())
    print(f"{num_unfinished} of {seed} kills were in the middle of an upload")
    assert num_unfinished > 0


def test_what_a_killed_writer_left_is_not_in_the_way_of_the_next(
    bucket: str, tmp_path: Path
) -> None:
    store = open_store(bucket, tmp_path / "cache")
    whole = commit(store, tmp_path, "rows")
    (stored,) = store.find()
    (manifest,) = file_system().glob(f"{bucket}/dataset/rows/*/{MANIFEST}")
    file_system().rm(manifest)  # as if the writer had been killed before its last step
    assert not holds(store, address_of(whole))
    again = commit(open_store(bucket, tmp_path / "other"), tmp_path, "rows")
    assert again.version == whole.version
    found = sorted(store.find(), key=lambda s: s.is_whole)
    assert [s.is_whole for s in found] == [False, True]
    assert found[0].upload == stored.upload


@pytest.mark.parametrize("how", ["truncated", "changed", "missing"])
def test_a_file_that_is_not_the_manifests_is_never_handed_out(
    bucket: str, tmp_path: Path, how: str
) -> None:
    made = commit(open_store(bucket, tmp_path / "writer"), tmp_path, "rows", b"0123456789")
    (key,) = file_system().glob(f"{bucket}/dataset/rows/*/*/rows.bin")
    if how == "missing":
        file_system().rm(key)
    else:
        file_system().pipe_file(key, b"01234" if how == "truncated" else b"0123456780")
    reader = open_store(bucket, tmp_path / "reader")
    with pytest.raises(DataError, match=r"missing|truncated or changed") as caught:
        reader.localise(address_of(made))
    assert "rows.bin" in caught.value.where
    assert not (tmp_path / "reader" / address_of(made).path).exists()
    assert list((tmp_path / "reader" / ".partial").iterdir()) == []


@pytest.mark.parametrize(
    "manifest",
    [b"{", b"[]", b'{"kind": "dataset", "files": {}, "upload": "ab"}',
     b'{"kind": "dataset", "files": {"../../x": {"sha256": "0", "bytes": 1}}, "upload": "ab"}',
     b'{"kind": "dataset", "files": {"/etc/x": {"sha256": "0", "bytes": 1}}, "upload": "ab"}',
     b'{"kind": "dataset", "files": {"x": {"sha256": "0", "bytes": 1}}, "upload": "../.."}'],
)  # fmt: skip
def test_a_hostile_manifest_is_refused(bucket: str, tmp_path: Path, manifest: bytes) -> None:
    made = commit(open_store(bucket, tmp_path / "writer"), tmp_path, "rows")
    file_system().pipe_file(f"{bucket}/{address_of(made).path}/{MANIFEST}", manifest)
    with pytest.raises(DataError):
        open_store(bucket, tmp_path / "reader").localise(address_of(made))


def test_a_store_that_does_not_answer_is_the_machines_fault(bucket: str, tmp_path: Path) -> None:
    store = open_store("s3://no-such-bucket/x", tmp_path / "cache")
    with pytest.raises(ResourceError, match="does not do its part") as caught:
        commit(store, tmp_path, "rows")
    assert caught.value.where == "s3://no-such-bucket/x"


# -- local copies ---------------------------------------------------------------------------------


def test_copies_that_nobody_uses_make_room_the_longest_unused_first(
    bucket: str, tmp_path: Path
) -> None:
    writer = open_store(bucket, tmp_path / "writer")
    made = [commit(writer, tmp_path, f"rows-{n}", bytes(10_000)) for n in range(4)]
    cache = tmp_path / "reader"
    for artifact in made:  # a new handle each time: the one before has let go
        open_store(bucket, cache, limit=25_000).localise(address_of(artifact))
        time.sleep(0.01)  # so that the order of use shows in the times of files
    here = [(cache / address_of(artifact).path).is_dir() for artifact in made]
    assert here == [False, False, True, True]


_HOLDER = """
import sys, time
from pathlib import Path
from workbench.catalog.artifact_store import Address
from workbench.catalog.local_cache import LocalCache
from workbench.catalog.object_store import ObjectStore
store = ObjectStore(sys.argv[1], LocalCache(Path(sys.argv[2]), 1))
print(store.localise(Address(*sys.argv[3].split("/"))), flush=True)
time.sleep(600)
"""


def test_a_copy_that_another_process_uses_stays_until_that_process_is_dead(
    bucket: str, tmp_path: Path
) -> None:
    writer = open_store(bucket, tmp_path / "writer")
    used, other, third = (commit(writer, tmp_path, f"rows-{n}", bytes(9_000)) for n in range(3))
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", _HOLDER, bucket, str(cache), address_of(used).path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        path = Path(holder.stdout.readline().strip())
        open_store(bucket, cache, limit=1).localise(address_of(other))
        assert (path / "rows.bin").stat().st_size == 9_000
        holder.kill()
    open_store(bucket, cache, limit=1).localise(address_of(third))
    assert not path.exists()


# -- which store ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["s3://key:secret@bucket/x", "s3://key@bucket", "s3://bucket/x?secret=1", "bucket", "s3:"],
)
def test_a_url_with_credentials_or_without_a_place_is_refused(url: str) -> None:
    with pytest.raises(ResourceError) as caught:
        check_url(url)
    assert "secret" not in caught.value.what


def test_a_scheme_that_nothing_opens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="No installed library"):
        open_store("nosuchscheme://bucket", tmp_path)


def test_where_artifacts_are_kept_is_settled_once(tmp_path: Path) -> None:
    assert settle_url(tmp_path, "", has_artifacts=False) == ""
    with pytest.raises(ResourceError, match="keeps its artifacts in"):
        settle_url(tmp_path, "s3://bucket/a", has_artifacts=True)
    assert settle_url(tmp_path, "s3://bucket/a", has_artifacts=False) == "s3://bucket/a"
    assert settle_url(tmp_path, "", has_artifacts=True) == "s3://bucket/a"
    with pytest.raises(ResourceError, match="s3://bucket/a"):
        settle_url(tmp_path, "s3://bucket/b", has_artifacts=False)
    assert recorded_url(tmp_path) == "s3://bucket/a"


@pytest.mark.slow
def test_a_workspace_on_an_object_store_works_as_any_other(
    bucket: str, start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1, WORKBENCH_ARTIFACTS=f"{bucket}/team", WORKBENCH_CACHE="1GB")
    numbers = own.do(CountSpec(parts=3, tag="remote"))
    numbers.verify()
    assert numbers.path.is_relative_to(own.root / "cache")
    assert not (own.root / "artifacts").exists()
    (key,) = file_system().glob(f"{bucket}/team/dataset/numbers/{numbers.version}/{MANIFEST}")
    assert json.loads(file_system().cat_file(key))["kind"] == "dataset"
    assert own.submit(CountSpec(parts=3, tag="remote")).record()["cached"]
    own.do(NestSpec(depth=0, parts=2, seconds=0))  # a coordinator and its child
    # Another process without a copy, which reads the setting from the workspace itself.
    adopted = own.do(AdoptSpec(folder=str(numbers.path), kind="dataset"))
    assert (adopted.path / "numbers.txt").read_text() == "0\n1\n4\nremote"
    own.delete(adopted.reference)
    assert not file_system().exists(f"{bucket}/team/dataset/adopted/{adopted.version}")
    with pytest.raises(SpecError, match="was deleted"):
        Workspace(own.root).artifact(adopted.reference)
    assert [g["what"] for g in own.gc(dry_run=True)] == []
