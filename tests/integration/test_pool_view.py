"""Who holds the pool, who waits for what and why, and when each run would start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from workbench_example_stages import CountSpec, NothingSpec, WidthSpec

from workbench.core.errors import SpecError
from workbench.runs import Run


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


def test_a_forecast_heeds_what_a_project_may_have(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    own.set_share("default", most_slots=1)
    diary = tmp_path / "diary"
    long = own.submit(CountSpec(tag="long", parts=200, seconds=0.1, diary=str(diary)))
    wait_until(lambda: diary_lines(diary), "it runs")
    other = own.submit(NothingSpec(tag="other"))
    foretold = {one["run_id"]: one for one in own.forecast()}
    assert foretold[other.run_id]["starts_in"] >= 1, "a slot is free, and not for it"
    own.drop_share("default")
    long.cancel()
    assert other.wait(60).state == "succeeded"


def test_a_forecast_of_no_number_of_slots_is_refused(workspace: LiveWorkspace) -> None:
    with pytest.raises(SpecError, match="slots='many' is not a whole number"):
        workspace.client.get("/pool/forecast?slots=many")


def test_a_run_with_a_range_gets_what_there_is(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=3)
    assert width_of(own, own.submit(WidthSpec(tag="alone"), workers="1..3")) == 3
    diary = tmp_path / "diary"
    long = own.submit(CountSpec(tag="long", parts=400, seconds=0.1, diary=str(diary)))
    wait_until(lambda: diary_lines(diary), "one slot is busy")
    assert width_of(own, own.submit(WidthSpec(tag="beside"), workers="1..3")) == 2
    assert width_of(own, own.submit(WidthSpec(tag="open"), workers="2..")) == 2
    record = json.loads(command(own, "runs", "show", own.runs(1)[0].run_id))
    assert (record["least_workers"], record["workers"]) == (2, 1024)

    exact = own.submit(WidthSpec(tag="exact"), workers="3..3")
    wait_until(lambda: own.pool()["waiting"], "the exact one waits")
    ranged = own.submit(WidthSpec(tag="ranged"), workers="3..8")
    wait_until(lambda: len(own.pool()["waiting"]) == 2, "the ranged one waits behind it")
    assert [(one["least_workers"], one["workers"]) for one in own.pool()["waiting"]] == [
        (3, 3), (3, 8)
    ]  # fmt: skip
    assert "3..8" in command(own, "pool")
    long.cancel()
    assert [width_of(own, run) for run in (exact, ranged)] == [3, 3]


def test_a_range_that_the_pool_can_never_meet_is_refused(workspace: LiveWorkspace) -> None:
    with pytest.raises(SpecError, match=r"'3\.\.8' needs at least 3 workers, the pool has 2"):
        workspace.submit(NothingSpec(tag="never"), workers="3..8")
    made = workspace.submit(WidthSpec(tag="cut"), workers=8)
    assert width_of(workspace, made) == 2, "a plain number is cut to the pool's size"


def width_of(workspace: LiveWorkspace, run: Run) -> int:
    """Wait for a run of ``width`` and return how many workers its stage saw."""
    made = run.wait(60).outputs()["report"]
    return int((workspace.artifact(made.reference).path / "width.txt").read_text())


def test_what_a_user_may_hold_is_set_and_counts_at_once(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    runs = [own.submit(CountSpec(tag=f"{n}", parts=300, seconds=0.1)) for n in range(2)]
    wait_until(lambda: all(run.state == "running" for run in runs), "both work")
    user = own.run_records()[0]["submitted_by"]
    told = command(own, "pool", "share", f"default/{user}", "--weight", "2", "--most", "2")
    assert f"default/{user}" in told
    third = own.submit(CountSpec(tag="third", parts=2))
    wait_until(lambda: own.pool()["waiting"], "the third waits")
    reason = own.pool()["waiting"][0]["reason"]
    assert reason == f"the quota of default/{user} is used up (2 of 2 slots held)"
    urgent = own.submit(CountSpec(tag="urgent", parts=2), priority=5)
    assert urgent.wait(60).state == "succeeded", "in place of a lesser one of the same user"
    gave_way = [r for r in runs if f"gives way to run {urgent.run_id}" in str(r.events())]
    assert len(gave_way) == 1
    for run in runs:
        run.cancel()
    assert third.wait(60).state == "succeeded"
    assert own.shares() == [{"name": f"default/{user}", "weight": 2.0, "most_slots": 2}]
    own.drop_share(f"default/{user}")
    assert own.shares() == []
    with pytest.raises(SpecError, match="makes no sense"):
        own.set_share("default", weight=0)
