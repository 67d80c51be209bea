"""Who holds the pool, who waits for what and why, and when each run would start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from workbench_example_stages import CountSpec, NothingSpec

from workbench.core.errors import SpecError


def command(workspace: LiveWorkspace, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", "--workspace", str(workspace.root), *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_who_waits_is_told_why_and_until_when(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    diary = tmp_path / "diary"
    long = own.submit(CountSpec(tag="long", parts=200, seconds=0.1, diary=str(diary)))
    wait_until(lambda: diary_lines(diary), "the long one runs")
    wide = own.submit(NothingSpec(tag="wide"), workers=2)
    wait_until(lambda: own.pool()["waiting"], "the wide one waits")
    found = own.pool()
    assert [slot["run_id"] for slot in found["slots"]].count(long.run_id) == 1
    assert found["waiting"] == [
        {
            "run_id": wide.run_id, "stage": "nothing", "least_workers": 2, "workers": 2,
            "priority": 0, "place": 1,
            "submitted_by": found["waiting"][0]["submitted_by"], "project": "default",
            "reason": "next: needs 2 slots at once, 1 free, 0 more coming free",
        }
    ]  # fmt: skip
    # A narrow one behind it borrows the free slot.
    assert own.submit(NothingSpec(tag="narrow")).wait(60).state == "succeeded"
    assert wide.state == "waiting"
    told = command(own, "pool")
    assert long.run_id in told
    assert "needs 2 slots at once" in told
    foretold = {one["run_id"]: one for one in own.forecast()}
    assert foretold[long.run_id]["starts_in"] == 0
    assert foretold[wide.run_id]["starts_in"] >= 1
    assert foretold[long.run_id]["is_guess"], "no run of its stage has ended"
    assert not foretold[wide.run_id]["is_guess"]
    wider = {one["run_id"]: one for one in own.forecast(slots=4)}
    assert wider[wide.run_id]["starts_in"] < 1
    assert "no run of this stage has ended yet" in command(own, "pool", "forecast", "--slots", "4")
    long.cancel()
    assert wide.wait(60).state == "succeeded"
    assert own.pool()["waiting"] == []


def test_a_wide_run_takes_back_what_was_lent(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    first = own.submit(CountSpec(tag="first", parts=20, seconds=0.1))
    wait_until(lambda: first.state == "running", "the first runs")
    wide = own.submit(NothingSpec(tag="wide"), workers=2)
    diary = tmp_path / "diary"
    borrower = own.submit(CountSpec(tag="borrower", parts=100, seconds=0.1, diary=str(diary)))
    wait_until(lambda: diary_lines(diary), "the borrower runs beside the first")
    assert wide.wait(60).state == "succeeded"
    assert len(diary_lines(diary)) < 100
    assert borrower.wait(60).state == "succeeded"
    assert diary_lines(diary) == [str(number) for number in range(100)], "nothing was done twice"
    assert borrower.record()["term"] == 2


def test_a_forecast_of_no_number_of_slots_is_refused(workspace: LiveWorkspace) -> None:
    with pytest.raises(SpecError, match="slots='many' is not a whole number"):
        workspace.client.get("/pool/forecast?slots=many")
