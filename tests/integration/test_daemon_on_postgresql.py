"""A whole workspace whose catalog and queue are on a PostgreSQL server that comes and goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace, diary_lines, wait_until
from postgresql_server import PASSWORD, Server, postgresql_server
from workbench_example_stages import CountSpec, FailSpec, NestSpec, NothingSpec

from workbench.catalog.artifacts import find_artifact
from workbench.catalog.database import open_database
from workbench.core.daemon_process import running_daemon
from workbench.core.errors import DataError, ResourceError
from workbench.runs import Run
from workbench.workspace import Workspace

NUM_PARTS = 15


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Offer a server of this module's own: its tests stop it."""
    with postgresql_server() as own:
        yield own


@pytest.fixture(scope="module")
def own(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorkspace]:
    """Offer one workspace to all tests here; its daemon and its server do not live through all."""
    server.execute("create database team")
    root = tmp_path_factory.mktemp("team") / "workspace"
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "WORKBENCH_WORKSPACE": str(root),
            "WORKBENCH_DATABASE": server.url(database="team"),
            "WORKBENCH_SLOTS": "2",
            "OMP_NUM_THREADS": "1",
        }.items():
            environment.setenv(name, value)
        workspace = LiveWorkspace(root)
        try:
            yield workspace.up()
        finally:
            workspace.down()


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


def slow(diary: Path, tag: str) -> CountSpec:
    return CountSpec(tag=tag, parts=NUM_PARTS, seconds=0.15, diary=str(diary))


def wait_for_lines(diary: Path, num_lines: int) -> None:
    wait_until(lambda: len(diary_lines(diary)) >= num_lines, "it is in the middle", 60)


def states_of(run: Run) -> list[str]:
    return [e["payload"]["state"] for e in run.events() if e["kind"] == "state"]


def check_that_no_secret_is_told(own: LiveWorkspace) -> None:
    """Look for the password wherever the workspace writes, and in what its processes inherit."""
    for path in own.root.rglob("*"):
        if path.is_file() and path.name != "daemon.json":
            assert PASSWORD.encode() not in path.read_bytes(), path
    assert PASSWORD not in json.dumps(own.status())
    for process in own.processes():
        if process.pid != own.daemon().pid:
            assert "WORKBENCH_DATABASE" not in process.environ()


def test_runs_go_through_their_whole_lives(own: LiveWorkspace, diary: Path) -> None:
    made = own.do(NothingSpec(tag="first"))
    again = own.submit(NothingSpec(tag="first"))
    assert (again.state, again.record()["cached"]) == ("succeeded", True)
    assert own.artifact("nothing@latest") == made
    failed = own.submit(FailSpec(how="data")).wait(60)
    with pytest.raises(DataError, match="The table is not there"):
        failed.outputs()
    run = own.submit(slow(diary, "paused"))
    wait_for_lines(diary, 3)
    run.pause()
    wait_until(lambda: run.state == "paused", "it is paused", 60)
    run.resume()
    wait_for_lines(diary, 6)
    run.cancel().wait(60)
    assert run.state == "cancelled"
    run.resume().wait(60)
    assert diary_lines(diary) == [str(number) for number in range(NUM_PARTS)]
    assert states_of(run)[-2:] == ["running", "succeeded"]
    family = own.submit(NestSpec(depth=1)).wait(90)
    assert (family.state, len(own.run_records(parent=family.run_id))) == ("succeeded", 1)
    assert not (own.root / "catalog.sqlite").exists()
    check_that_no_secret_is_told(own)


def test_a_killed_daemons_runs_go_on_with_the_next_one(own: LiveWorkspace, diary: Path) -> None:
    run = own.submit(slow(diary, "daemon killed"))
    waiting = [own.submit(CountSpec(tag=f"waits {number}", parts=2)) for number in range(3)]
    wait_for_lines(diary, 3)
    first = own.daemon()
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    for each in (run, *waiting):
        assert each.wait(90).state == "succeeded"
    assert own.daemon().pid != first.pid
    assert run.record()["term"] == 1, "it did not notice"
    assert diary_lines(diary) == [str(number) for number in range(NUM_PARTS)]


def test_a_server_that_goes_and_comes_back_costs_no_run_and_no_part(
    own: LiveWorkspace, server: Server, diary: Path
) -> None:
    run = own.submit(slow(diary, "server away"))
    family = own.submit(NestSpec(depth=1, parts=NUM_PARTS, seconds=0.15))
    wait_for_lines(diary, 3)
    server.stop()
    try:
        with pytest.raises(ResourceError, match="The database does not answer") as caught:
            own.submit(NothingSpec(tag="while it is away"))
        assert "team" in caught.value.where
        assert "server runs and can be reached" in caught.value.next_step
        with pytest.raises(ResourceError, match="The database does not answer"):
            run.wait(10)
        assert PASSWORD not in json.dumps(caught.value.to_json())
        time.sleep(0.5)
        stands_at = diary_lines(diary)
        time.sleep(0.5)
        assert diary_lines(diary) == stands_at, "parts were made that nobody could record"
        assert len(stands_at) < NUM_PARTS
    finally:
        server.start()
    wait_until(lambda: own.status()["pool"] == "running", "nothing holds the queue up", 30)
    for each in (run, family):
        assert each.wait(90).state == "succeeded"
        assert each.record()["term"] == 1, "it had to begin again"
    assert diary_lines(diary) == [str(number) for number in range(NUM_PARTS)]
    assert own.do(NothingSpec(tag="while it is away")).kind == "report"
    check_that_no_secret_is_told(own)


def test_a_backup_is_refused_with_what_to_do_instead_and_that_works(
    own: LiveWorkspace, server: Server, tmp_path: Path
) -> None:
    made = own.do(NothingSpec(tag="saved"))
    with pytest.raises(ResourceError, match="has its own means for a backup") as caught:
        own.backup(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    told = caught.value.next_step
    assert PASSWORD not in told
    dump = told.partition("First: ")[2].partition(". Then")[0]
    shell(server, f"{dump} && cp -r '{own.root}' saved", tmp_path)
    server.execute("create database restored")
    target = f"postgresql://ann@/restored?host={server.folder}"
    shell(server, f"pg_restore --dbname='{target}' catalog.dump", tmp_path)
    saved = tmp_path / "saved"
    (saved / "database.url").unlink()
    restored = open_database(saved, server.url(database="restored"))
    with restored.read() as connection:
        found = find_artifact(connection, made.reference, saved / "artifacts")
    restored.close()
    assert found.path == saved / made.path.relative_to(own.root)
    found.verify()


def shell(server: Server, command: str, folder: Path) -> None:
    """Run a command of a person who has set PGPASSWORD."""
    path = f"{server.programs}:{os.environ['PATH']}"
    variables = {**os.environ, "PGPASSWORD": PASSWORD, "PATH": path}
    done = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_daemon_that_finds_no_server_says_so_and_the_next_one_loses_nothing(
    own: LiveWorkspace, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = own.do(NothingSpec(tag="kept"))
    own.down()
    server.stop()
    try:
        with pytest.raises(ResourceError, match="The database does not answer"):
            Workspace(own.root).status()
        assert running_daemon(own.root) is None
    finally:
        server.start()
    # Somebody else's shell: the workspace knows its server, the client library the password.
    monkeypatch.delenv("WORKBENCH_DATABASE")
    with pytest.raises(ResourceError, match="no password supplied"):
        Workspace(own.root).status()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert own.artifact(made.reference) == made
    assert not (own.root / "catalog.sqlite").exists()
