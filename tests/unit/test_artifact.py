"""Artifacts: the same bytes are the same version, and a sealed one is whole or not there."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.artifact import MANIFEST, Artifact, Draft, hash_files, seal
from workbench.core.errors import BugError, DataError

NAMES = st.sampled_from(["a.txt", "b/c.bin", "b/manifest.json", "d e.txt", "中文.txt", ".hidden"])
FILES = st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=5)


def write_draft(folder: Path, files: dict[str, bytes], kind: str = "dataset") -> Draft:
    draft = Draft(kind, "rows", folder)
    for name, content in files.items():
        path = draft.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return draft


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifact")


@given(FILES)
def test_the_same_bytes_are_the_same_version(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("seal")
    first = seal(write_draft(folder / "one", files), folder / "root")
    backwards = dict(reversed(files.items()))
    second = seal(write_draft(folder / "two", backwards), folder / "root")
    assert (first.version, first.path) == (second.version, second.path)
    assert not (folder / "two").exists()
    first.verify()
    sealed = {p.relative_to(first.path).as_posix(): p.read_bytes()
              for p in first.path.rglob("*") if p.is_file()}  # fmt: skip
    del sealed[MANIFEST]
    assert sealed == files


@given(FILES, FILES, st.sampled_from(["dataset", "report"]))
def test_other_bytes_names_or_kinds_are_another_version(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, bytes],
    others: dict[str, bytes],
    kind: str,
) -> None:
    folder = tmp_path_factory.mktemp("seal")
    first = seal(write_draft(folder / "one", files), folder / "root")
    second = seal(write_draft(folder / "two", others, kind), folder / "root")
    assert (first.version == second.version) == (files == others and kind == "dataset")


@given(FILES, st.data())
def test_verify_finds_any_flipped_bit(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("seal")
    artifact = seal(write_draft(folder / "one", files), folder / "root")
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name] or b"\0")
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (artifact.path / name).write_bytes(bytes(content))
    with pytest.raises(DataError, match="is damaged") as caught:
        artifact.verify()
    assert name in caught.value.what


def test_verify_finds_a_missing_and_an_added_file(folder: Path) -> None:
    artifact = seal(write_draft(folder / "one", {"a": b"1", "b": b"2"}), folder / "root")
    (artifact.path / "a").unlink()
    (artifact.path / "c").write_bytes(b"3")
    with pytest.raises(DataError, match="a, c"):
        artifact.verify()


def test_verify_says_so_when_the_manifest_itself_is_gone_or_broken(folder: Path) -> None:
    artifact = seal(write_draft(folder / "one", {"a": b"1"}), folder / "root")
    (artifact.path / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="manifest"):
        artifact.verify()
    (artifact.path / MANIFEST).unlink()
    with pytest.raises(DataError, match="manifest"):
        artifact.verify()


def test_a_deleted_artifact_is_put_back_by_sealing_the_same_bytes(folder: Path) -> None:
    first = seal(write_draft(folder / "one", {"a": b"1"}), folder / "root")
    shutil.rmtree(first.path)
    again = seal(write_draft(folder / "two", {"a": b"1"}), folder / "root")
    assert again.version == first.version
    again.verify()


def test_a_draft_without_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(BugError, match="wrote nothing"):
        seal(Draft("dataset", "rows", folder / "empty"), folder / "root")


def test_a_file_of_the_stage_that_has_the_manifests_name_is_refused_not_lost(folder: Path) -> None:
    draft = write_draft(folder / "one", {"a": b"1", MANIFEST: b"mine"})
    with pytest.raises(BugError, match=r"manifest\.json"):
        seal(draft, folder / "root")
    assert (draft.path / MANIFEST).read_bytes() == b"mine"


def test_sealing_goes_on_where_an_earlier_try_ended_before_the_rename(folder: Path) -> None:
    whole = seal(write_draft(folder / "one", {"a": b"1"}), folder / "root")
    draft = write_draft(folder / "two", {"a": b"1"})
    shutil.copy(whole.path / MANIFEST, draft.path)
    shutil.rmtree(whole.path)
    assert seal(draft, folder / "root").version == whole.version


def test_an_unknown_kind_is_refused(folder: Path) -> None:
    with pytest.raises(BugError, match="no kind of artifact"):
        Draft("picture", "rows", folder / "draft")


def test_an_artifact_survives_json(folder: Path) -> None:
    draft = write_draft(folder / "one", {"a": b"1"})
    draft.describe(rows=3, labels=["a", "b"])
    artifact = seal(draft, folder / "root")
    assert Artifact.from_json(json.loads(json.dumps(artifact.to_json()))) == artifact
    assert artifact.reference == str(artifact) == f"rows@{artifact.version}"


_SEALER = """
import sys
from pathlib import Path
from workbench.core.artifact import Draft, seal
folder = Path(sys.argv[1])
print("go", flush=True)
for number in range(10_000):
    draft = Draft("dataset", "rows", folder / "staging" / str(number))
    for part in range(8):
        (draft.path / f"part-{part}").write_bytes(bytes([part, number % 256, number // 256]) * 999)
    seal(draft, folder / "root")
"""


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_between_any_two_steps_of_sealing_leaves_all_or_nothing(
    folder: Path, seed: int
) -> None:
    print(f"seed {seed}")
    with subprocess.Popen(
        [sys.executable, "-c", _SEALER, str(folder)], stdout=subprocess.PIPE
    ) as sealer:
        assert sealer.stdout is not None
        sealer.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.01, 0.3))
        sealer.send_signal(signal.SIGKILL)
    for path in (folder / "root").glob("dataset/rows/*"):
        manifest = json.loads((path / MANIFEST).read_text())
        assert manifest["files"] == hash_files(path)
        assert len(manifest["files"]) == 8
        Artifact("dataset", "rows", path.name, path).verify()
