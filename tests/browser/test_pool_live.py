"""The view of the pool in a real JupyterLab: who works, who waits, and acting on both."""

from __future__ import annotations

from typing import Any

import pytest
from laboratory import WAIT_MS, Laboratory, NotebookPage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_BEGIN = """import os
os.environ["WORKBENCH_SLOTS"] = "1..2"
os.environ["WORKBENCH_GROW_SECONDS"] = "600"
import workbench as wb
from workbench_example_stages import CountSpec
ws = wb.Workspace()
runs = [ws.submit(CountSpec(tag=tag, parts=2000, seconds=0.1)) for tag in "abc"]
ws.watch_pool()"""
_END = """for run in runs:
    run.cancel()
print([run.record()["priority"] for run in runs])"""


def expect(found: Any) -> Any:
    from playwright.sync_api import expect

    return expect(found)


def test_the_pool_is_seen_live_and_acted_on(laboratory: Laboratory, page: Any) -> None:
    laboratory.write_notebook("pool.ipynb", [_BEGIN, _END])
    notebook = NotebookPage(page, laboratory, "pool.ipynb")
    notebook.run_cell(0)
    pool = notebook.view(0)
    expect(pool).to_contain_text(
        "1 of 1 slots busy · up to 2 when they are needed", timeout=WAIT_MS
    )
    expect(pool).to_contain_text("2 wait", timeout=WAIT_MS)
    expect(pool.locator(".slot.is-busy")).to_have_count(1)
    waiting = pool.locator('[data-key="Waiting"] tbody tr')
    expect(waiting).to_have_count(2)
    last = waiting.nth(1).get_attribute("data-key")
    assert last is not None
    pool.get_by_role("button", name=f"Urgent count {last}").click()
    expect(pool.locator('[data-key="Working"] tbody tr')).to_have_attribute(
        "data-key", last, timeout=WAIT_MS
    )  # it has the slot now, and whoever had it waits
    expect(waiting).to_have_count(2)
    outlook = pool.locator('[data-key="outlook"]')
    outlook.get_by_role("button", name="Foretell when runs start and end").click()
    expect(outlook).to_contain_text("What would happen with 1 slot", timeout=WAIT_MS)
    expect(outlook.locator("tbody tr")).to_have_count(3)
    outlook.get_by_role("button", name="One slot more").click()
    expect(outlook).to_contain_text("What would happen with 2 slots", timeout=WAIT_MS)
    outlook.get_by_role("button", name="Close").click()
    expect(outlook.locator("tbody tr")).to_have_count(0, timeout=WAIT_MS)
    pool.get_by_role("button", name=f"Cancel count {last}").click()
    expect(waiting).to_have_count(1, timeout=WAIT_MS)
    notebook.run_cell(1)
    expect(notebook.cell(1)).to_contain_text("[0, 0, 100]", timeout=WAIT_MS)
    expect(pool).to_contain_text("0 of 1 slots busy", timeout=WAIT_MS)
    assert notebook.problems == []
