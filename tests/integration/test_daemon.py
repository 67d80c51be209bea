"""The daemon at work: runs go through it, are paused, preempted, cancelled, healed, and end."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from workbench_example_stages import (
    CountSpec,
    FailSpec,
    FillSpec,
    NestSpec,
    NothingSpec,
    TwinsSpec,
)

from workbench.core.client import Client, FixedEndpoint
from workbench.core.daemon_process import running_daemon
from workbench.core.errors import (
    BugError,
    DataError,
    ResourceError,
    RunCancelled,
    SpecError,
    StageError,
    WorkbenchError,
)
from workbench.runs import Run
from workbench.workspace import Workspace


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorkspace]:
    """Offer a workspace with a single slot and little patience, shared by this module's tests."""
    root = tmp_path_factory.mktemp("narrow") / "workspace"
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "WORKBENCH_WORKSPACE": str(root),
            "WORKBENCH_SLOTS": "1",
            "WORKBENCH_STOP_SECONDS": "1",
            "OMP_NUM_THREADS": "1",
        }.items():
            environment.setenv(name, value)
        own = LiveWorkspace(root)
        try:
            own.up()
            yield own
        finally:
            own.down()


def wait_for_state(run: Run, *states: str) -> None:
    wait_until(lambda: run.state in states, f"run {run.run_id} is {' or '.join(states)}", 60)


def states_of(run: Run) -> list[str]:
    return [e["payload"]["state"] for e in run.events() if e["kind"] == "state"]


# -- the usual way --------------------------------------------------------------------------------


def test_a_submitted_run_succeeds_and_its_artifact_is_whole(workspace: LiveWorkspace) -> None:
    run = workspace.submit(CountSpec(tag="usual", parts=3)).wait(60)
    numbers = run.outputs().numbers
    numbers.verify()
    assert (numbers.path / "numbers.txt").read_text() == "0\n1\n4\nusual"
    assert states_of(run) == ["waiting", "running", "succeeded"]
    record = run.record()
    assert record["rows"] == {"read": 3, "written": 3}
    assert record["progress"] == {"done": 3, "total": 3, "unit": "parts", "note": ""}
    metrics = [e["payload"]["value"] for e in run.events() if e["kind"] == "metric"]
    assert metrics == [0.0, 1.0, 4.0]


def test_a_finished_run_leaves_no_partial_file(workspace: LiveWorkspace) -> None:
    run = workspace.submit(CountSpec(tag="tidy", parts=3)).wait(60)
    wait_until(
        lambda: not (workspace.root / "runs" / run.run_id).exists(), "its folder is cleared away"
    )


def test_the_same_spec_again_is_answered_from_the_cache(workspace: LiveWorkspace) -> None:
    first = workspace.submit(NothingSpec(tag="cached")).wait(60)
    again = workspace.submit(NothingSpec(tag="cached"))
    assert (again.state, again.record()["cached"]) == ("succeeded", True)
    assert again.outputs() == first.outputs()


def test_latest_names_what_was_made_last(workspace: LiveWorkspace) -> None:
    for tag in ("one", "two"):
        made = workspace.do(NothingSpec(tag=tag))
        assert workspace.artifact("nothing@latest") == made
        assert workspace.artifact(made.reference) == made


def test_two_runs_at_once_share_two_slots(workspace: LiveWorkspace) -> None:
    runs = [workspace.submit(CountSpec(tag=f"at once {n}", seconds=0.1)) for n in range(2)]
    wait_until(lambda: len(workspace.status()["slots_busy"]) == 2, "both slots are busy")
    assert set(workspace.status()["slots_busy"].values()) == {run.run_id for run in runs}
    for run in runs:
        assert run.wait(60).state == "succeeded"


def test_a_wide_run_gets_both_slots(workspace: LiveWorkspace) -> None:
    run = workspace.submit(CountSpec(tag="wide", seconds=0.1), workers=2)
    wait_until(lambda: len(workspace.status()["slots_busy"]) == 2, "both slots are busy")
    run.wait(60)


def test_many_threads_may_use_one_client(workspace: LiveWorkspace) -> None:
    made: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: made.append(workspace.do(NothingSpec(tag=f"t{n}"))))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({artifact.version for artifact in made}) == 8


# -- asked by people ------------------------------------------------------------------------------


def test_a_paused_run_goes_on_with_no_part_done_twice(
    workspace: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    run = workspace.submit(CountSpec(tag="paused", parts=15, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary_lines(diary)) >= 4, "it is in the middle", 60)
    run.pause()
    wait_for_state(run, "paused")
    done = diary_lines(diary)
    assert 4 <= len(done) < 15
    assert run.record()["run_id"] not in workspace.status()["slots_busy"].values()
    time.sleep(0.5)
    assert diary_lines(diary) == done, "a paused run went on"
    made = run.resume().wait(60).outputs().numbers
    assert diary_lines(diary) == [str(number) for number in range(15)]
    assert made.version == workspace.do(CountSpec(tag="paused", parts=15, seconds=0)).version


def test_a_resume_before_the_pause_was_heard_lets_the_run_go_on(narrow: LiveWorkspace) -> None:
    # Parts longer than the daemon's patience: if it still counted, the run would be killed.
    run = narrow.submit(CountSpec(tag="taken back", parts=2, seconds=2.5))
    wait_for_state(run, "running")
    run.pause()
    wait_until(lambda: run.state == "pausing", "it is asked to pause")
    run.resume()
    run.wait(60)
    assert (run.state, run.record()["term"]) == ("succeeded", 1)


def test_a_cancelled_run_stops_and_resume_takes_even_that_back(
    workspace: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    run = workspace.submit(CountSpec(tag="cancelled", parts=15, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary_lines(diary)) >= 3, "it is in the middle", 60)
    run.cancel().wait(60)
    assert run.state == "cancelled"
    with pytest.raises(RunCancelled):
        run.outputs()
    run.resume().wait(60)
    assert run.state == "succeeded"
    assert diary_lines(diary) == [str(number) for number in range(15)]


def test_what_makes_no_sense_is_refused_with_a_reason(workspace: LiveWorkspace) -> None:
    run = workspace.submit(NothingSpec(tag="over")).wait(60)
    for ask in (run.pause, run.resume, run.cancel):
        with pytest.raises(SpecError, match="a run that is succeeded"):
            ask()
    with pytest.raises(SpecError, match="There is no run 'r-none'"):
        workspace.run("r-none")


def test_waiting_with_a_timeout_ends_and_the_run_goes_on(workspace: LiveWorkspace) -> None:
    run = workspace.submit(CountSpec(tag="slow", parts=10, seconds=0.2))
    with pytest.raises(ResourceError, match="is still"):
        run.wait(0.3)
    assert run.wait(60).state == "succeeded"


def test_an_urgent_run_makes_a_lesser_one_give_way_and_it_goes_on_later(
    narrow: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    lesser = narrow.submit(CountSpec(tag="lesser", parts=20, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary_lines(diary)) >= 3, "the lesser is in the middle", 60)
    urgent = narrow.submit(NothingSpec(tag="urgent"), priority=10).wait(60)
    assert urgent.state == "succeeded"
    assert lesser.state in ("waiting", "running")
    assert len(diary_lines(diary)) < 20
    assert lesser.wait(60).state == "succeeded"
    assert diary_lines(diary) == [str(number) for number in range(20)]
    assert lesser.record()["term"] == 2


def test_raising_the_priority_of_a_waiting_run_lets_it_overtake(narrow: LiveWorkspace) -> None:
    first = narrow.submit(CountSpec(tag="first", parts=40, seconds=0.05))
    wait_for_state(first, "running")
    last = narrow.submit(NothingSpec(tag="last"))
    last.prioritise(50).wait(60)
    assert first.state != "succeeded"
    assert first.wait(60).state == "succeeded"


def test_an_equal_run_waits_for_its_turn(narrow: LiveWorkspace) -> None:
    runs = [narrow.submit(CountSpec(tag=f"queue {n}", parts=3)) for n in range(3)]
    for run in runs:
        run.wait(60)
    starts = [run.record()["started_at"] for run in runs]
    ends = [run.record()["ended_at"] for run in runs]
    assert starts == sorted(starts)
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "family", "what"),
    [
        ("spec", SpecError, "The label is not in the scheme"),
        ("data", DataError, "The table is not there"),
        ("memory", ResourceError, "The worker ran out of memory"),
        ("python", StageError, "ZeroDivisionError: a mistake in the stage"),
        ("leave", StageError, "SystemExit"),
        ("empty", BugError, "The stage wrote nothing"),
        ("object in the log", StageError, "cannot be recorded: <object object"),
    ],
)
def test_a_failure_comes_back_as_the_error_of_its_family(
    workspace: LiveWorkspace, how: str, family: type[WorkbenchError], what: str
) -> None:
    run = workspace.submit(FailSpec(how=how)).wait(60)
    assert run.state == "failed"
    with pytest.raises(family, match=what) as caught:
        run.outputs()
    assert type(caught.value) is family
    errors = [e["payload"] for e in run.events() if e["kind"] == "error"]
    assert errors == [caught.value.to_json()]


def test_a_run_that_meets_a_full_disk_pauses_and_whoever_waits_is_told(
    workspace: LiveWorkspace,
) -> None:
    run = workspace.submit(FailSpec(how="disk"))
    for ask in (lambda: run.wait(60), run.outputs):
        with pytest.raises(ResourceError, match="The disk is full"):
            ask()
    assert run.state == "paused"
    run.cancel()
    assert run.wait(60).state == "cancelled"


def test_numbers_of_numpy_are_recorded_as_the_numbers_that_they_are(
    workspace: LiveWorkspace,
) -> None:
    run = workspace.submit(FillSpec(parts=2, kilobytes=512)).wait(60)
    assert run.outputs().numbers.summary == {"megabytes": 1.0}
    assert {"message": "filled", "parts": 2} in [e["payload"] for e in run.events()]


def test_a_failed_run_may_be_resumed(workspace: LiveWorkspace) -> None:
    run = workspace.submit(FailSpec(how="data")).wait(60)
    run.resume().wait(60)
    assert (run.state, run.record()["term"]) == ("failed", 2)


@pytest.mark.slow
def test_a_run_that_kills_its_worker_each_time_is_given_up_and_the_pool_lives_on(
    narrow: LiveWorkspace,
) -> None:
    run = narrow.submit(FailSpec(how="exit")).wait(120)
    with pytest.raises(ResourceError, match="died 5 times"):
        run.outputs()
    assert narrow.do(NothingSpec(tag="after the deaths")).kind == "report"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["hang", "hang in native code"])
def test_a_run_that_does_not_listen_is_ended_by_force(narrow: LiveWorkspace, how: str) -> None:
    run = narrow.submit(FailSpec(how=how))
    wait_for_state(run, "running")
    run.cancel().wait(60)
    assert run.state == "cancelled"
    assert narrow.do(NothingSpec(tag=f"after {how}")).kind == "report"


# -- coordinators ---------------------------------------------------------------------------------


def test_coordinators_in_coordinators_do_not_need_slots(narrow: LiveWorkspace) -> None:
    run = narrow.submit(NestSpec(depth=3)).wait(90)
    assert run.state == "succeeded", run.record()["error"]
    family = [run.run_id]
    for _ in range(4):
        (child,) = narrow.run_records(parent=family[-1])
        family.append(child["run_id"])
    assert narrow.run(family[-1]).record()["stage"] == "count"


def test_equal_children_of_a_run_are_one_run(workspace: LiveWorkspace) -> None:
    made = workspace.submit(TwinsSpec(tag="twins")).wait(60).outputs().report
    first, second = (made.path / "runs.txt").read_text().split()
    assert first == second


def test_pause_and_resume_and_cancel_go_down_the_tree(
    workspace: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    spec = NestSpec(depth=1, parts=15, seconds=0.1, diary=str(diary))
    run = workspace.submit(spec)
    wait_until(lambda: len(diary_lines(diary)) >= 3, "the innermost is in the middle", 60)
    run.pause()
    tree = [run, *_descendants(workspace, run)]
    for member in tree:
        wait_for_state(member, "paused")
    assert workspace.coordinators() == []
    run.resume()
    wait_until(lambda: len(diary_lines(diary)) >= 6, "it goes on", 60)
    run.cancel()
    for member in tree:
        wait_for_state(member, "cancelled")
    assert run.resume().wait(90).state == "succeeded"
    assert diary_lines(diary) == [str(number) for number in range(15)]


def test_a_run_that_is_over_may_have_no_more_children(
    workspace: LiveWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = workspace.submit(NothingSpec(tag="parent")).wait(60)
    monkeypatch.setenv("WORKBENCH_PARENT_RUN", parent.run_id)
    with pytest.raises(SpecError, match="may ask for no more runs"):
        workspace.submit(NothingSpec(tag="late child"))


def _descendants(workspace: Workspace, run: Run) -> list[Run]:
    children = [Run(workspace, r["run_id"]) for r in workspace.run_records(parent=run.run_id)]
    return children + [d for child in children for d in _descendants(workspace, child)]


# -- the daemon itself ----------------------------------------------------------------------------


def test_a_wrong_token_is_refused(workspace: LiveWorkspace) -> None:
    found = running_daemon(workspace.root)
    assert found is not None
    stranger = Client(FixedEndpoint(found["url"], "wrong"))
    with pytest.raises(SpecError, match="token is missing or wrong"):
        stranger.get("/status")
    stranger.close()
    for verb, path in (("GET", "/status"), ("POST", "/shutdown"), ("POST", "/runs")):
        assert _status_without_token(found["url"], verb, path) == 401
    assert workspace.status()["pool"] == "running"


def _status_without_token(url: str, verb: str, path: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, method=verb)) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_daemon_and_its_pool_listen_on_loopback_only(workspace: LiveWorkspace) -> None:
    listening = _listening(workspace)
    assert {pid for pid, _, _ in listening} >= {workspace.daemon().pid}
    assert {address for _, address, _ in listening} == {"127.0.0.1"}


def test_the_pools_own_pages_are_not_served(workspace: LiveWorkspace) -> None:
    for _, _, port in _listening(workspace):
        for path in ("/status", "/info/main/workers.html", "/json/counts.json"):
            assert _status_of(f"http://127.0.0.1:{port}{path}") in (None, 401, 404)


def _listening(workspace: LiveWorkspace) -> set[tuple[int, str, int]]:
    """Return (process, address, port) of every open TCP port of the workspace."""
    found = set()
    for process in workspace.processes():
        with suppress(psutil.NoSuchProcess):  # it ended while we looked
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add((process.pid, connection.laddr.ip, connection.laddr.port))
    return found


def _status_of(url: str) -> int | None:
    """Return the answer's status; None where no HTTP is spoken."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, http.client.HTTPException):  # TLS answers to plain text with its own bytes
        return None


def test_only_the_owner_can_read_the_token(workspace: LiveWorkspace) -> None:
    assert (workspace.root / "daemon.json").stat().st_mode & 0o077 == 0


def test_a_second_daemon_on_the_same_workspace_leaves_quietly(workspace: LiveWorkspace) -> None:
    first = workspace.daemon().pid
    second = subprocess.run(
        [sys.executable, "-m", "workbench.daemon", "--workspace", str(workspace.root)],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "WORKBENCH_WORKSPACE": str(workspace.root)},
    )  # fmt: skip
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert workspace.daemon().pid == first


def test_ten_clients_at_once_start_one_daemon(start_workspace: StartWorkspace) -> None:
    own = start_workspace(slots=1)
    own.down()
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(Workspace(own.root).status()["pid"]))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10
    assert len(set(answers)) == 1


def test_going_down_and_up_again_at_once_loses_nothing(start_workspace: StartWorkspace) -> None:
    own = start_workspace(slots=1)
    run = own.submit(CountSpec(tag="through a restart", parts=20, seconds=0.1))
    wait_for_state(run, "running")
    first = own.daemon().pid
    own.direct_client().post("/shutdown")
    wait_until(lambda: running_daemon(own.root) is None, "the daemon says that it stops")
    assert own.status()["pid"] != first
    assert run.wait(60).state == "succeeded"
    assert run.record()["term"] == 2
    assert any("daemon" in e["payload"].get("cause", "") for e in run.events())


def test_a_daemon_that_is_shut_down_while_its_pool_starts_leaves_nothing(tmp_path: Path) -> None:
    own = LiveWorkspace(tmp_path / "workspace")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WORKBENCH_WORKSPACE", str(own.root))
        environment.setenv("WORKBENCH_SLOTS", "1")
        try:
            assert own.status()["pool"] == "starting"
            own.direct_client().post("/shutdown")
            wait_until(lambda: own.processes() == [], "all processes are gone", 60)
        finally:
            own.down()


def test_an_idle_daemon_stops_and_the_next_request_starts_another(
    start_workspace: StartWorkspace,
) -> None:
    own = start_workspace(slots=1, WORKBENCH_IDLE_MINUTES="0.03")
    made = own.do(NothingSpec(tag="before the rest"))
    wait_until(lambda: own.processes() == [], "the daemon rests", 60)
    assert own.artifact(made.reference) == made


def test_a_killed_worker_loses_no_run(narrow: LiveWorkspace, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    run = narrow.submit(CountSpec(tag="killed", parts=15, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary_lines(diary)) >= 4, "it is in the middle", 60)
    (worker,) = narrow.workers()
    worker.send_signal(signal.SIGKILL)
    assert run.wait(60).state == "succeeded"
    assert len(diary_lines(diary)) <= 16
    assert set(diary_lines(diary)) == {str(number) for number in range(15)}
    assert "worker died" in str(run.events())
