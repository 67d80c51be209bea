"""Workers and daemons are killed while texts are cleaned: the same bytes come out."""

from __future__ import annotations

import json
import os
import random
import time

import pytest
from killing import kill_daemon
from live_workspace import LiveWorkspace, StartWorkspace
from workbench_example_stages import PatchworkSpec

import workbench as wb
from workbench.data.clean.spec import CleanSpec
from workbench.runs import Run

# A soak takes more: ``WORKBENCH_KILLS=50``.
NUM_KILLS = int(os.environ.get("WORKBENCH_KILLS") or 6)
OUTPUTS = ("dataset", "ledger", "scores")


@wb.rule
def takes_its_time(text: str, seconds: float = 0.002) -> float:
    """Measure the length, slowly: so that kills fall between, and within, many partitions."""
    import time

    time.sleep(seconds)
    return float(len(text))


def spec_of(number: int, dataset: str) -> CleanSpec:
    """Return the same cleaning under another name, so that it is done and not found done."""
    return CleanSpec(dataset=dataset, name=f"patches-{number}", rules=[takes_its_time])


def contents(run: Run) -> dict[str, object]:
    """Return all that a cleaning made: data as digests, the report without the question."""
    outputs = run.outputs()
    report = json.loads((outputs.report.path / "report.json").read_text())
    made: dict[str, object] = {name: outputs[name].version for name in OUTPUTS}
    return made | {"report": {k: v for k, v in report.items() if k not in ("name", "spec")}}


def statistics(run: Run) -> dict[str, object]:
    return {name: run.outputs()[name].summary for name in ("dataset", "ledger")}


def wait_out(run: Run) -> Run:
    """Wait for a run; one that lost five workers without a finished part asks for a human."""
    while run.wait(120).state == "failed":
        assert "The worker died" in run.record()["error"]["what"], run.record()["error"]
        run.resume()
    return run


def disturb(own: LiveWorkspace, run: Run, chance: random.Random) -> bool:
    """Kill a worker or the daemon at some moment of a run; False: it had ended before."""
    time.sleep(chance.uniform(0.0, 1.0))
    if run.state not in ("waiting", "running"):
        return False
    if chance.random() < 0.3:
        kill_daemon(own)
        assert own.client.get("/status")["pid"] != 0  # asking starts the next one
        return True
    workers = own.workers()
    if workers:
        chance.choice(workers).kill()
    return bool(workers)


@pytest.mark.slow
def test_cleaning_under_kills_gives_the_bytes_and_statistics_of_undisturbed_cleaning(
    start_workspace: StartWorkspace, chance: random.Random
) -> None:
    own = start_workspace(slots=2)
    patches = own.do(PatchworkSpec()).reference
    undisturbed = own.submit(spec_of(0, patches), workers=2).wait(120)
    assert undisturbed.outputs().dataset.summary["dropped"]["near_duplicate"] > 50
    num_kills, disturbed = 0, []
    while num_kills < NUM_KILLS:
        run = own.submit(spec_of(len(disturbed) + 1, patches), workers=chance.choice([1, 2]))
        disturbed.append(run)
        while num_kills < NUM_KILLS and disturb(own, run, chance):
            num_kills += 1
        wait_out(run)
    for run in disturbed:
        assert contents(run) == contents(undisturbed)
        assert statistics(run) == statistics(undisturbed)
        for name in OUTPUTS:
            run.outputs()[name].verify()
    print(f"{num_kills} kills in {len(disturbed)} runs")
