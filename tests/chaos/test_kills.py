"""Kernels, daemons and workers are killed at random moments: no run is lost, no part done twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from killing import is_gone, kill_daemon
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from tiny_classifier import build_model
from workbench_example_stages import AdoptSpec, CountSpec, NestSpec, NothingSpec

from workbench.runs import Run
from workbench.workspace import Workspace

NUM_KILLS = 6


@dataclass
class WatchedRun:
    """A run, how many parts it has, and the diary in which each part that is done writes a line."""

    run: Run
    parts: int
    diary: Path

    def check(self, undisturbed: str, num_kills: int) -> None:
        """See that the run ended as an undisturbed one does, with no recorded part done again."""
        assert self.run.wait(120).state == "succeeded", self.run.record()["error"]
        counting = self.run
        while counting.record()["stage"] == "nest":  # the innermost run did the work
            # A coordinator that was killed after its child had succeeded asked for it once more.
            children = counting.workspace.run_records(parent=counting.run_id)
            (child,) = [record for record in children if not record["cached"]]
            counting = Run(counting.workspace, child["run_id"])
        assert counting.outputs().numbers.version == undisturbed
        counting.outputs().numbers.verify()
        recorded = [e["payload"]["key"] for e in counting.events() if e["kind"] == "checkpoint"]
        assert recorded == [f"part-{number:03d}" for number in range(self.parts)]
        done = Counter(diary_lines(self.diary))
        assert set(done) == {str(number) for number in range(self.parts)}
        # A part that was done when its attempt died, but not yet recorded, is done once more.
        assert done.total() <= self.parts + num_kills


class Load:
    """Submits counting runs, plain and nested, and knows what each must become."""

    def __init__(self, workspace: LiveWorkspace, folder: Path, parts: int, seconds: float) -> None:
        self.workspace, self.folder, self.parts, self.seconds = workspace, folder, parts, seconds
        self.watched: list[WatchedRun] = []
        self.plain = workspace.do(CountSpec(parts=parts, seconds=0, tag="plain")).version
        self.nested = workspace.do(CountSpec(parts=parts, seconds=0, tag="nested")).version

    def submit(self, depth: int | None = None) -> Run:
        """Submit a counting run, below ``depth`` + 1 coordinators if that is given."""
        diary = self.folder / f"diary-{len(self.watched)}"
        common = {"parts": self.parts, "seconds": self.seconds, "diary": str(diary)}
        spec = (
            CountSpec(tag="plain", **common) if depth is None else NestSpec(depth=depth, **common)
        )
        run = self.workspace.submit(spec)
        self.watched.append(WatchedRun(run, self.parts, diary))
        return run

    def check(self, num_kills: int) -> None:
        """See that every run ended well and that nothing unfinished is in the catalog."""
        for watched in self.watched:
            is_nested = watched.run.record()["stage"] == "nest"
            watched.check(self.nested if is_nested else self.plain, num_kills)
        for artifact in self.workspace.artifacts():
            artifact.verify()
        root = self.workspace.root / "artifacts"
        sealed = {path.relative_to(root).as_posix() for path in root.glob("*/*/*")}
        known = {a.path.relative_to(root).as_posix() for a in self.workspace.artifacts()}
        assert sealed == known


_KERNEL = """
import sys
from workbench_example_stages import CountSpec
from workbench.workspace import Workspace
run = Workspace().submit(CountSpec(parts=15, seconds=0.05, tag=sys.argv[1], diary=sys.argv[2]))
print(run.run_id, flush=True)
run.wait()
"""


@pytest.mark.slow
def test_a_killed_kernel_loses_no_run_that_was_acknowledged(
    workspace: LiveWorkspace,
    tmp_path: Path,
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(workspace.root))
    acknowledged = []
    for number in range(NUM_KILLS):
        diary = tmp_path / f"diary-{number}"
        command = [sys.executable, "-c", _KERNEL, f"kernel {number}", str(diary)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as kernel:
            assert kernel.stdout is not None
            if number % 2:  # half of the kills hit a kernel that waits, half any moment
                acknowledged.append((kernel.stdout.readline().strip(), diary))
            time.sleep(chance.uniform(0.0, 0.8))
            kernel.kill()
            left_to_read = kernel.stdout.read().strip()
            acknowledged += [(left_to_read, diary)] if left_to_read else []
    anew = Workspace(workspace.root)
    for run_id, diary in acknowledged:
        run = anew.run(run_id).wait(60)
        assert (run.state, run.record()["term"]) == ("succeeded", 1)
        assert diary_lines(diary) == [str(n) for n in range(15)]
    assert len(acknowledged) >= NUM_KILLS // 2
    unfinished = [r for r in anew.run_records(limit=1_000) if r["state"] in ("waiting", "running")]
    for record in unfinished:  # submitted, though the kernel died before it heard so
        assert anew.run(record["run_id"]).wait(60).state == "succeeded"


@pytest.mark.slow
def test_a_killed_daemon_loses_no_run_and_redoes_no_recorded_part(
    start_workspace: StartWorkspace, tmp_path: Path, chance: random.Random
) -> None:
    own = start_workspace(slots=2)
    load = Load(own, tmp_path, parts=12, seconds=0.05)
    num_kills = 0
    while num_kills < NUM_KILLS:
        load.submit()
        load.submit(depth=chance.randrange(2))
        time.sleep(chance.uniform(0.0, 1.2))
        kill_daemon(own)
        num_kills += 1
        if chance.random() < 0.5:  # and again, before or while the next one takes its runs back
            assert own.client.get("/status")["pid"] != 0
            time.sleep(chance.uniform(0.0, 2.5))
            kill_daemon(own)
            num_kills += 1
        if chance.random() < 0.5:  # runs also pile up over several daemons
            load.watched[-1].run.wait(120)
    load.check(num_kills)
    own.down()


@pytest.mark.slow
def test_a_killed_worker_loses_no_run_and_redoes_no_recorded_part(
    start_workspace: StartWorkspace, tmp_path: Path, chance: random.Random
) -> None:
    own = start_workspace(slots=2)
    load = Load(own, tmp_path, parts=12, seconds=0.05)
    num_kills = 0
    while num_kills < NUM_KILLS:
        if own.status()["unfinished_runs"] < 3:
            load.submit(depth=chance.choice([None, None, 0, 1]))
        time.sleep(chance.uniform(0.0, 0.5))
        workers = own.workers()
        if workers:
            chance.choice(workers).kill()
            num_kills += 1
    load.check(num_kills)
    assert own.do(NothingSpec(tag="after the kills")).kind == "report"
    wait_until(lambda: own.status()["slots_alive"] == 2, "both slots are back", 60)


@pytest.mark.slow
def test_a_killed_coordinator_is_started_again_and_finds_its_children(
    start_workspace: StartWorkspace, tmp_path: Path, chance: random.Random
) -> None:
    own = start_workspace(slots=1)
    load = Load(own, tmp_path, parts=30, seconds=0.1)
    run = load.submit(depth=1)
    num_kills = 0
    while (num_kills < 4 and run.state == "running") or num_kills == 0:
        time.sleep(chance.uniform(0.2, 0.8))
        coordinators = own.coordinators()
        if coordinators:
            chance.choice(coordinators).kill()
            num_kills += 1
    load.check(num_kills)
    (child,) = own.run_records(parent=run.run_id)
    (grandchild,) = own.run_records(parent=child["run_id"])
    assert grandchild["term"] == 1, "the work itself was never disturbed"


@pytest.mark.slow
def test_a_killed_daemon_takes_its_servers_with_it_and_the_next_brings_them_back(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1)
    model = own.do(AdoptSpec(folder=str(build_model(tmp_path / "model").path)))
    own.client.put("/deployments/tiny", {"model": model.reference})
    wait_until(lambda: own.deployments()[0]["state"] == "live", "the model is live", 60)
    (before,) = own.deployments()
    server = psutil.Process(before["pid"])
    assert server in own.processes()
    kill_daemon(own)
    wait_until(lambda: is_gone(server), "the server has ended")
    wait_until(lambda: own.deployments()[0]["state"] == "live", "the model is live again", 60)
    (after,) = own.deployments()
    assert (after["model"], after["pid"] != before["pid"]) == (model.reference, True)
    own.client.delete("/deployments/tiny")
    assert own.deployments() == []


@pytest.mark.slow
def test_what_a_succeeded_run_left_behind_is_cleared_by_the_next_daemon(
    start_workspace: StartWorkspace,
) -> None:
    own = start_workspace(slots=1)
    done = own.submit(CountSpec(parts=2)).wait(60)
    cancelled = own.submit(CountSpec(parts=200, seconds=0.1, tag="cancelled"))
    wait_until(lambda: cancelled.state == "running", "it runs", 60)
    cancelled.cancel().wait(60)
    folders = {run.run_id: own.root / "runs" / run.run_id for run in (done, cancelled)}
    # As if the worker had died between the commit and the clearing away.
    folders[done.run_id].mkdir(parents=True, exist_ok=True)
    (folders[done.run_id] / "leftover").write_text("")
    kill_daemon(own)
    own.up()
    wait_until(lambda: not folders[done.run_id].exists(), "the leftover is cleared away")
    assert folders[cancelled.run_id].exists(), "a cancelled run may be resumed"
