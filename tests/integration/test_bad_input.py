"""What is wrong is refused where it enters, by the error of the right family: never a traceback."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, wait_until
from workbench_example_stages import CountSpec, FillSpec, NothingSpec

from workbench.core.daemon_process import running_daemon
from workbench.core.errors import ResourceError
from workbench.workspace import Workspace


def ask(
    workspace: LiveWorkspace, verb: str, path: str, body: bytes | None = None
) -> tuple[int, Any]:
    """Send bytes as they are, with the right token; return the status and the JSON answered."""
    found = running_daemon(workspace.root)
    assert found is not None
    parts = urlsplit(found["url"])
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {found['token']}"}
        connection.request(verb, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def submission(**changes: Any) -> bytes:
    good = {"run_id": "r-bad-input", "stage": "nothing", "spec": {"tag": "bad input"}}
    return json.dumps({k: v for k, v in {**good, **changes}.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "must be a JSON object"),
        (b"3", "must be a JSON object"),
        (b"{" + b" " * 16_000_001, "is larger than 16000000 bytes"),
        (submission(run_id=...), "needs 'run_id'"),
        (submission(run_id=7), "needs 'run_id' as a text, got 7"),
        (submission(run_id="../../etc"), "is no run id"),
        (submission(run_id="a/b"), "is no run id"),
        (submission(run_id=""), "is no run id"),
        (submission(run_id="r" * 41), "is no run id"),
        (submission(parent_run_id=["r1"]), "is no run id"),
        (submission(stage=...), "needs 'stage'"),
        (submission(stage={}), "needs 'stage'"),
        (submission(stage="nothin"), "There is no stage 'nothin'"),
        (submission(spec=[]), "needs 'spec' as an object"),
        (submission(spec="tag"), "needs 'spec' as an object"),
        (submission(spec={"tga": "x"}), "NothingSpec has no parameter 'tga'"),
        (submission(spec={"tag": 3}), "valid string"),
        (submission(priority="high"), "needs 'priority' as a whole number"),
        (submission(priority=True), "needs 'priority' as a whole number"),
        (submission(priority=101), "priority=101 is not"),
        (submission(workers=0), "0 is not within 1 to 1024 workers"),
        (submission(workers=1.5), "1.5 is no number of workers"),
        (submission(workers=True), "True is no number of workers"),
        (submission(workers=None), "None is no number of workers"),
        (submission(workers="two"), "'two' is no number of workers"),
        (submission(workers="8..2"), "'8..2' workers end below where they begin"),
        (submission(workers="3..8"), "'3..8' needs at least 3 workers, the pool has 2"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_submission_is_refused_with_what_is_wrong(
    workspace: LiveWorkspace, body: bytes, what: str
) -> None:
    status, answer = ask(workspace, "POST", "/runs", body)
    assert (status, answer["family"]) == (422, "spec")
    assert what in answer["what"]
    assert "r-bad-input" not in str(workspace.run_records(limit=1_000))


def test_the_nearest_right_name_is_told(workspace: LiveWorkspace) -> None:
    _, answer = ask(workspace, "POST", "/runs", submission(stage="nothin"))
    assert answer["next_step"] == "Did you mean 'nothing'?"
    _, answer = ask(workspace, "POST", "/runs", submission(spec={"tga": "x"}))
    assert answer["next_step"] == "Did you mean 'tag'?"


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/status", 405),
        ("GET", "/runs/r-none", 422),
        ("GET", "/runs/%2e%2e%2fetc", 404),
        ("GET", "/runs/r-none/events", 422),
        ("POST", "/runs/r-none/pause", 422),
        ("GET", "/runs?limit=many", 422),
        ("GET", "/runs?limit=1.5", 422),
        ("GET", "/runs/r-none?wait=long", 422),
        ("GET", "/runs/r-none?wait=nan", 422),
        ("GET", "/artifacts?kind=picture", 422),
        ("GET", "/artifacts/none@latest", 422),
        ("GET", "/artifacts/none@latest?kind=picture", 422),
        ("GET", "/artifacts/%00", 422),
        ("GET", "/deployments/none", 422),
        ("DELETE", "/deployments/none", 422),
    ],
)
def test_a_wrong_address_or_query_is_refused_in_json(
    workspace: LiveWorkspace, verb: str, path: str, status: int
) -> None:
    answered, answer = ask(workspace, verb, path)
    assert (answered, answer["family"]) == (status, "spec")
    assert answer["what"]


@pytest.mark.parametrize("priority", ["high", None, 101, -101, 1.5])
def test_a_wrong_priority_is_refused(workspace: LiveWorkspace, priority: Any) -> None:
    run = workspace.submit(NothingSpec(tag="priority"))
    body = json.dumps({"priority": priority}).encode()
    status, answer = ask(workspace, "POST", f"/runs/{run.run_id}/priority", body)
    assert (status, answer["where"]) == (422, "priority")


@pytest.mark.parametrize("limit", [-5, 0])
def test_a_limit_below_one_is_not_no_limit(workspace: LiveWorkspace, limit: int) -> None:
    for tag in "ab":
        workspace.submit(NothingSpec(tag=tag))
    assert len(workspace.run_records(limit=limit)) == 1


@pytest.mark.parametrize(
    ("name", "changes", "where"),
    [
        ("..", {}, "name"),
        ("a b", {}, "name"),
        ("x" * 121, {}, "name"),
        ("fine", {"model": "none@latest"}, "catalog"),
        ("fine", {"port": "http"}, "port"),
        ("fine", {"port": 70_000}, "port"),
        ("fine", {"settings": []}, "settings"),
        ("fine", {"settings": {"num_threads": "many"}}, "num_threads"),
        ("fine", {"settings": {"num_threads": 0}}, "num_threads"),
    ],
)
def test_a_wrong_deployment_is_refused(
    workspace: LiveWorkspace, name: str, changes: dict[str, Any], where: str
) -> None:
    wanted = {"model": "none@latest", "port": 0, "settings": {"num_threads": 1}, **changes}
    path = f"/deployments/{name.replace(' ', '%20')}"
    status, answer = ask(workspace, "PUT", path, json.dumps(wanted).encode())
    assert (status, answer["family"], answer["where"]) == (422, "spec", where)
    assert workspace.deployments() == []


def test_attempts_with_half_a_message_are_refused(workspace: LiveWorkspace) -> None:
    run = workspace.submit(NothingSpec(tag="half a message")).wait(60)
    for verb, body in (("checkpoints", {"key": "a"}), ("report", {}), ("committed", {})):
        path = f"/runs/{run.run_id}/attempts/1/{verb}"
        status, answer = ask(workspace, "POST", path, json.dumps(body).encode())
        assert (status, answer["family"]) == (422, "spec")


def test_a_superseded_attempt_is_told_so(workspace: LiveWorkspace) -> None:
    run = workspace.submit(NothingSpec(tag="superseded")).wait(60)
    path = f"/runs/{run.run_id}/attempts/0/report"
    status, answer = ask(workspace, "POST", path, b'{"events": []}')
    assert status == 409
    assert "no longer owns" in answer["what"]


# -- places where a workspace cannot be ---------------------------------------------------------


@pytest.fixture
def mount_point(tmp_path: Path) -> Iterator[Path]:
    """Offer an empty folder on which a test may mount; unmounted when it ends."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system to fill it or to forbid writing")
    folder = tmp_path / "mounted"
    folder.mkdir()
    yield folder
    while os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount_memory(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")


def test_a_workspace_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written: Not a directory") as caught:
        Workspace(tmp_path / "file" / "workspace").status()
    assert caught.value.where == str(tmp_path / "file" / "workspace")


def test_a_workspace_that_may_not_be_written_is_refused(mount_point: Path) -> None:
    mount_memory(mount_point, "size=1m,ro")
    with pytest.raises(ResourceError, match="cannot be written: Read-only file system") as caught:
        Workspace(mount_point).status()
    assert caught.value.where == str(mount_point)
    assert "WORKBENCH_WORKSPACE" in caught.value.next_step


_ASK_STATUS_ON_A_NETWORK_FILE_SYSTEM = """
set -e
mount -t tmpfs none /proc
printf 'nas:/home %s nfs4 rw 0 0\\n' "$1" > /proc/mounts
exec "$2" -c '
import sys
from workbench import Workspace
from workbench.core.errors import ResourceError
try:
    Workspace(sys.argv[1]).status()
except ResourceError as error:
    print(error)
' "$1"
"""


def test_a_workspace_on_a_network_file_system_is_refused_through_the_client(
    tmp_path: Path,
) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can show a process another list of mounts")
    command = ["unshare", "--mount", "sh", "-c", _ASK_STATUS_ON_A_NETWORK_FILE_SYSTEM, "sh"]
    done = subprocess.run(
        [*command, str(tmp_path), sys.executable],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "WORKBENCH_WORKSPACE": str(tmp_path)},
    )  # fmt: skip
    if "mount" in done.stderr:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")
    assert "network file system (nfs4), where SQLite loses data" in done.stdout, done.stderr
    assert "WORKBENCH_DATABASE to a PostgreSQL URL" in done.stdout
    assert not (tmp_path / "catalog.sqlite").exists()
    wait_until(lambda: LiveWorkspace(tmp_path).processes() == [], "no daemon is left")


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORKBENCH_SLOTS", "many"), ("WORKBENCH_SLOTS", "0"), ("WORKBENCH_IDLE_MINUTES", "soon"),
     ("WORKBENCH_STOP_SECONDS", "-1"), ("WORKBENCH_STOP_SECONDS", "nan")],
)  # fmt: skip
def test_a_wrong_setting_is_told_to_the_client_that_starts_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    for _ in range(2):  # and again at each try, not only the first time
        with pytest.raises(ResourceError, match=f"{name}='{value}' is no"):
            Workspace(tmp_path).status()


def test_after_a_refusal_is_mended_the_daemon_starts(
    start_workspace: StartWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_SLOTS", "none")
    with pytest.raises(ResourceError):
        Workspace(tmp_path / "workspace-0").status()
    own = start_workspace(slots=1)
    assert own.root == tmp_path / "workspace-0"
    assert own.status()["slots"] == 1


# -- a disk that is full -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_disk_that_a_run_fills_is_told_and_the_run_is_resumed_when_there_is_room(
    mount_point: Path, start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    mount_memory(mount_point, "size=24m")
    (tmp_path / "workspace-0").symlink_to(mount_point)
    own = start_workspace(slots=1)
    run = own.submit(FillSpec(parts=8, kilobytes=4_096))
    with pytest.raises(ResourceError, match="The disk is full") as caught:
        run.wait(120)
    assert run.state == "paused"
    assert str(own.root) in caught.value.where
    assert own.artifacts() == []
    assert list((own.root / "artifacts").glob("*/*/*")) == []
    assert 0 < sum(e["kind"] == "checkpoint" for e in run.events()) < 8
    subprocess.run(["mount", "-o", "remount,size=96m", str(mount_point)], check=True)
    made = run.resume().wait(120).outputs().numbers
    made.verify()
    assert (made.path / "sizes.txt").read_text().split() == [str(4_096 * 1_024)] * 8
    parts = [e["payload"]["key"] for e in run.events() if e["kind"] == "checkpoint"]
    assert sorted(parts) == [f"part-{n:03d}" for n in range(8)]  # none was done twice
    own.down()


@pytest.mark.slow
def test_a_disk_that_others_fill_stops_the_queue_with_a_reason_and_loses_no_run(
    mount_point: Path, start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    mount_memory(mount_point, "size=48m")
    (tmp_path / "workspace-0").symlink_to(mount_point)
    own = start_workspace(slots=1)
    diary = tmp_path / "diary"
    run = own.submit(CountSpec(tag="squeezed", parts=40, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary.read_text().split()) > 3 if diary.exists() else False, "it runs")
    _fill(mount_point / "somebody-elses")
    with pytest.raises(ResourceError, match="The disk is full") as caught:
        for number in range(100):  # a page or two may still fit into what is allocated
            own.submit(NothingSpec(tag=f"no room {number}" + "x" * 4_000))
    assert "catalog.sqlite" in caught.value.where
    for worker in own.workers():
        worker.kill()
    wait_until(lambda: "disk is full" in own.status()["pool"], "the status says what holds it up")
    assert own.run_records(), "what is there can still be read"
    (mount_point / "somebody-elses").unlink()
    wait_until(lambda: run.state in ("succeeded", "paused"), "the run ends", 120)
    if run.state == "paused":  # it met the full disk itself; otherwise it was healed
        assert run.record()["error"]["family"] == "resource"
        run.resume().wait(120)
    assert run.state == "succeeded"
    assert set(diary.read_text().split()) == {str(number) for number in range(40)}
    own.down()


@pytest.mark.slow
def test_a_worker_that_dies_of_a_disk_it_has_filled_is_healed_in_the_room_it_took(
    mount_point: Path, start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    mount_memory(mount_point, "size=24m")
    (tmp_path / "workspace-0").symlink_to(mount_point)
    own = start_workspace(slots=1)
    diary = tmp_path / "diary"
    run = own.submit(CountSpec(tag="greedy", parts=20, seconds=0.2, diary=str(diary)))
    wait_until(lambda: len(diary.read_text().split()) > 3 if diary.exists() else False, "it runs")
    begun = own.root / "runs" / run.run_id / "partial-1" / "begun"
    begun.parent.mkdir(exist_ok=True)
    _fill(begun)
    for worker in own.workers():
        worker.kill()
    assert run.wait(120).state == "succeeded"
    assert not begun.exists()
    assert own.status()["pool"] == "running"
    own.down()


@pytest.mark.slow
def test_a_daemon_that_finds_no_room_to_start_says_so(mount_point: Path) -> None:
    mount_memory(mount_point, "size=1m")
    _fill(mount_point / "somebody-elses")
    with pytest.raises(ResourceError, match=r"[Dd]isk is full|No space left") as caught:
        Workspace(mount_point).status()
    assert str(mount_point) in caught.value.where
    wait_until(lambda: LiveWorkspace(mount_point).processes() == [], "no daemon is left")


def _fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4_096))
        except OSError as error:
            assert "No space left" in str(error)
