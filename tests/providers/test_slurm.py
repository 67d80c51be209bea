"""A pool of jobs of a real Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from slurm_server import slurm_server
from workbench_example_stages import CountSpec, SpreadSpec

from workbench.core.errors import ResourceError
from workbench.core.spec import Spec
from workbench.pool.addresses import own_address
from workbench.pool.agents import Agents
from workbench.pool.providers.laws import ProviderLaws
from workbench.pool.providers.queue import QueuePool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with slurm_server(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture
def pooled(slurm: dict[str, str], start_workspace: StartWorkspace) -> LiveWorkspace:
    return start_workspace(
        pool=lambda _: QueuePool(hosts="0..2", slots=1, cores=1, memory="500 MB"),
        WORKBENCH_GROW_SECONDS="0.2", WORKBENCH_SHRINK_SECONDS="1.5", **slurm,
    )  # fmt: skip


def jobs(slurm: dict[str, str]) -> list[str]:
    listed = subprocess.run(
        ["squeue", "-h", "-o", "%j %T"], env={**os.environ, **slurm}, capture_output=True,
        check=True, text=True,
    )  # fmt: skip
    return listed.stdout.splitlines()


class TestQueuePool(ProviderLaws):
    # Noticed by the lease of the job's agent alone, after 35 s: as with a host whose cable is out.
    test_a_host_that_dies_is_replaced_and_its_run_goes_on = None  # type: ignore[assignment]

    def long_run(self, tag: str) -> Spec:
        return CountSpec(tag=tag, parts=2000, seconds=0.1)

    def spread_run(self) -> Spec:
        return SpreadSpec(tag="spread", parts=8, seconds=0.05)


def test_each_host_is_a_job_and_goes_with_it(slurm: dict[str, str], pooled: LiveWorkspace) -> None:
    run = pooled.submit(CountSpec(tag="a-job", parts=2000, seconds=0.1))
    wait_until(lambda: run.state == "running", "it works", 60)
    assert jobs(slurm) == ["nlp-workbench RUNNING"]
    run.cancel()
    wait_until(lambda: jobs(slurm) == [], "the job is over", 60)


def test_runs_move_from_a_job_that_is_told_to_end(pooled: LiveWorkspace, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    run = pooled.submit(CountSpec(tag="moves", parts=120, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary_lines(diary)) > 3, "it is in the middle", 60)
    (slot,) = [slot for slot in pooled.pool()["slots"] if slot["run_id"]]
    os.kill(slot["pid"], signal.SIGTERM)  # as Slurm does when the time of a job is over
    wait_until(lambda: run.record()["term"] == 2, "it goes on in another job", 60)
    assert run.wait(60).state == "succeeded"
    assert diary_lines(diary) == [str(n) for n in range(120)], "no part was done twice"


def test_a_queue_that_refuses_is_told_of(
    slurm: dict[str, str], start_workspace: StartWorkspace
) -> None:
    own = start_workspace(pool=lambda _: QueuePool(queue="no-such-queue", hosts=1), **slurm)
    wait_until(lambda: own.pool()["troubles"], "it is told")
    assert "invalid partition specified: no-such-queue" in own.pool()["troubles"][0]


@pytest.mark.filterwarnings("ignore:OAR Job memory")
@pytest.mark.parametrize("system", ["pbs", "sge", "lsf", "oar", "moab", "htcondor"])
def test_the_jobs_of_other_systems_start_the_agent(tmp_path: Path, system: str) -> None:
    options = {"disk": "1 GB"} if system == "htcondor" else {}
    script = QueuePool.parse({"system": system, "slots": 2, "options": options}).script(tmp_path)
    assert "-m workbench.pool.agent" in script
    assert f"--workspace {tmp_path} --slots 2 --leave" in script


def test_options_that_it_does_not_have_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="does not take these options for slurm"):
        QueuePool(options={"no_such_option": 1}).open(tmp_path, Agents())


def test_this_machine_has_an_address_for_the_jobs() -> None:
    assert own_address()
