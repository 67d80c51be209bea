"""A stage of a cell, its profile, and a search with its dashboard, in a real JupyterLab."""

from __future__ import annotations

from typing import Any

import pytest
from laboratory import WAIT_MS, Laboratory, NotebookPage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_STAGE = """import workbench as wb
ws = wb.Workspace()

@wb.stage
def measured(run: wb.RunContext, steps: int = 3) -> wb.Draft:
    "Measure something."
    profile = {"world": 1, "steps": steps, "seconds": {"forward": 3.0, "backward": 1.0},
               "step_seconds": 0.5, "tokens_per_second": 1000.0, "padding_share": 0.1,
               "memory": {"weights": 4_000_000}, "peak_bytes": 8_000_000, "flops_share": 0.4}
    run.log("measured", profile=profile, advice=["Take a larger batch_size."])
    draft = run.save("report", "measured")
    (draft.path / "told.txt").write_text(str(steps))
    return draft

run = ws.submit(measured(steps=4))
run.wait(); run.watch()"""
_SEARCH = """search = ws.submit(wb.TuneSpec(
    stage="climb", space={"height": None}, trials=6, at_once=2, sampler="random", name="climbs",
    objectives=[{"metric": "reached"}], parameters={"seconds": 0.2},
))
search.view()"""
_RAIL = "wb.open('measured')"


def expect(found: Any) -> Any:
    from playwright.sync_api import expect

    return expect(found)


def test_a_search_and_a_stage_of_a_cell_are_seen_and_acted_on(
    laboratory: Laboratory, page: Any
) -> None:
    laboratory.write_notebook("study.ipynb", [_STAGE, _SEARCH, _RAIL])
    notebook = NotebookPage(page, laboratory, "study.ipynb")
    notebook.run_cell(0)
    record = notebook.cell(0)
    expect(record).to_contain_text("measured", timeout=WAIT_MS)
    expect(record).to_contain_text("Take a larger batch_size.", timeout=WAIT_MS)
    expect(record).to_contain_text("forward")
    notebook.run_cell(1)
    study = notebook.view(1)
    expect(study).to_contain_text("6 completed", timeout=WAIT_MS)
    expect(study.get_by_role("img", name="best reached by trial")).to_be_visible()
    rows = study.locator("table tbody tr")
    expect(rows.first).to_contain_text("completed")
    with page.expect_popup() as opened:
        study.get_by_role("link", name="optuna-dashboard").click()
    dashboard = opened.value
    expect(dashboard.locator("body")).to_contain_text("study", timeout=WAIT_MS)
    assert "token" not in dashboard.url
    dashboard.close()
    notebook.run_cell(2)
    studio = notebook.view(2)
    expect(studio).to_contain_text("Measure something.", timeout=WAIT_MS)
    studio.get_by_label("Steps").fill("7")
    expect(studio).to_contain_text("copy it as Python", timeout=WAIT_MS)
    assert notebook.problems == []
