"""Pipelines on a real daemon: order, cache, one slot, a killed coordinator, a named failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from live_workspace import LiveWorkspace, wait_until

from workbench.core.errors import DataError, SpecError
from workbench.pipeline.files import load_pipeline, sample_folder
from workbench.pipeline.run import PipelineSpec
from workbench.runs import Run

pytestmark = pytest.mark.slow


def pipeline(**changes: Any) -> PipelineSpec:
    """Return the first three steps of the shipped pipeline: integrate, clean, split."""
    whole = load_pipeline("sentiment", changes)
    return PipelineSpec(name="short", steps=whole.steps[:3])


def steps_of(run: Run) -> list[dict[str, Any]]:
    record = run.outputs()["record"]
    found: list[dict[str, Any]] = json.loads((record.path / "pipeline.json").read_text())["steps"]
    return found


def test_a_pipeline_in_a_pool_of_one_slot_ends_and_is_not_done_twice(start_workspace: Any) -> None:
    workspace: LiveWorkspace = start_workspace(slots=1)
    first = steps_of(workspace.submit(pipeline()).wait(timeout=240))
    assert [(step["name"], step["cached"]) for step in first] == [
        ("integrate", False), ("clean", False), ("split", False),
    ]  # fmt: skip
    assert first[0]["rows"] == {"read": 1606, "written": 1606}
    assert set(first[2]["outputs"]) >= {"en-train", "en-validation", "en-test", "zh-train"}

    again = steps_of(workspace.submit(pipeline()).wait(timeout=240))
    assert [step["cached"] for step in again] == [True, True, True]
    assert [step["outputs"] for step in again] == [step["outputs"] for step in first]

    changed = steps_of(workspace.submit(pipeline(languages=["en"])).wait(timeout=240))
    assert [step["cached"] for step in changed] == [True, False, False]


def test_a_killed_coordinator_goes_on_with_what_is_done(fresh_workspace: LiveWorkspace) -> None:
    run = fresh_workspace.submit(pipeline())
    wait_until(
        lambda: any(e["payload"].get("message", "").startswith("integrate") for e in run.events()),
        "the first step is done", 120,
    )  # fmt: skip
    for process in fresh_workspace.coordinators():
        process.kill()
    steps = steps_of(run.wait(timeout=240))
    assert [step["name"] for step in steps] == ["integrate", "clean", "split"]
    stages = [record["stage"] for record in fresh_workspace.run_records(50)]
    executed = [
        record["stage"]
        for record in fresh_workspace.run_records(50)
        if record["stage"] == "integrate" and not record["cached"]
    ]
    assert executed == ["integrate"], stages


def test_what_fails_in_a_notebook_is_told_as_the_stage_told_it(
    workspace: LiveWorkspace, tmp_path: Path
) -> None:
    spec = pipeline(
        sources=[
            {
                "kind": "csv",
                "name": "news",
                "path": str(sample_folder() / "news.csv"),
                "text_column": "coment",
            }
        ]
    )
    failed = workspace.submit(spec).wait(timeout=240)
    with pytest.raises(DataError) as told:
        failed.outputs()
    assert "coment" in told.value.what
    assert "comment" in told.value.next_step


def test_a_step_that_needs_what_no_step_made_is_refused(workspace: LiveWorkspace) -> None:
    spec = pipeline()
    broken = PipelineSpec(name="broken", steps=spec.steps[1:])
    with pytest.raises(SpecError, match=r"needs \$\{integrate\.dataset\}"):
        workspace.submit(broken).wait(timeout=120).outputs()
