"""The view of a cleaning in a real JupyterLab: a threshold is moved, a drop taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from laboratory import WAIT_MS, Laboratory, NotebookPage
from test_views import assert_contrast

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAP = "<img src=x onerror=\"document.title='trapped'\">"
ROWS = f"""id,comment
1,"What a good day, everybody was so kind to me!"
2,"{TRAP.replace('"', '""')} and they never answered my letter at all"
3,"CafÃ© reopened and the queue is worth it, go early"
4,"what a good day everybody was so kind to me"
5,First!!!
6,"Two words"
7,"Three words here"
"""
CELL = """import workbench as wb
ws = wb.Workspace()
raw = ws.do(wb.IntegrateSpec(name="comments", sources=[
    {"kind": "csv", "name": "my", "path": "my/comments.csv", "text_column": "comment"}]))["dataset"]
run = ws.submit(wb.CleanSpec(dataset=raw.reference, min_words=3)).wait()
run.view()"""


@pytest.fixture
def cleaning(laboratory: Laboratory, page: Any) -> tuple[NotebookPage, Any]:
    folder = laboratory.folder / "my"
    folder.mkdir(exist_ok=True)
    (folder / "comments.csv").write_text(ROWS)
    laboratory.write_notebook("cleaning.ipynb", [CELL])
    notebook = NotebookPage(page, laboratory, "cleaning.ipynb")
    notebook.run_cell(0)
    return notebook, notebook.view(0)


def shows(found: Any, text: str | re.Pattern[str]) -> None:
    from playwright.sync_api import expect

    expect(found).to_contain_text(text, timeout=WAIT_MS)


def test_a_threshold_is_moved_and_a_drop_taken_back(
    cleaning: tuple[NotebookPage, Any], page: Any
) -> None:
    notebook, view = cleaning
    shows(view, "7 in = 4 kept + 3 in the ledger")
    height = view.bounding_box()["height"]
    move_a_threshold_by_keyboard(view, page)
    assert view.bounding_box()["height"] == pytest.approx(height, abs=2)  # nothing jumped
    run_again(view)
    take_a_drop_back(view)
    assert "trapped" not in page.title() and notebook.problems == []
    assert view.locator("img").count() == 0


@pytest.fixture
def dark(laboratory: Laboratory) -> Iterator[None]:
    laboratory.set_theme("JupyterLab Dark")
    yield
    laboratory.set_theme("JupyterLab Light")


def test_a_cleaning_is_read_in_the_dark_and_in_narrow_notebooks(
    dark: None, cleaning: tuple[NotebookPage, Any], page: Any
) -> None:
    _, view = cleaning
    shows(view, "7 in = 4 kept + 3 in the ledger")
    assert_contrast(view)
    resize(page, 900, 1200)
    assert view.evaluate("view => view.scrollWidth - view.clientWidth") <= 1
    view.get_by_role("button", name="2 rows dropped by too few words").click()
    shows(view.locator(".ledger"), "1–2 of 2")
    view.get_by_role("button", name="Restore all of this rule").click()
    shows(view, "To come back: all of too few words")
    assert_contrast(view)


def resize(page: Any, width: int, height: int) -> None:
    """Resize the window; JupyterLab lays itself out a moment later, and moves what is clicked."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function(
        """width => {
            const { right } = document.querySelector(".jp-NotebookPanel").getBoundingClientRect();
            return right > 0 && right <= width;
        }""",
        arg=width,
    )


def move_a_threshold_by_keyboard(view: Any, page: Any) -> None:
    slider = view.get_by_role("slider", name=re.compile("too few words"))
    slider.focus()
    page.keyboard.press("ArrowLeft")
    shows(view, "One setting moved: 4 → 5 rows")
    shows(view.locator('[data-key="changed"]'), "Two words")
    row = view.locator('tr[data-key="too_few_words"]')
    shows(row, "was 3")
    shows(row, "+1")
    shows(view.locator(".copy pre"), "--min-words 2")
    assert slider.get_attribute("aria-valuetext") == "2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    shows(view, "One setting moved: 4 → 5 rows")


def run_again(view: Any) -> None:
    view.get_by_role("button", name="Run again with these").click()
    view.get_by_role("button", name="Show the new cleaning").click(timeout=WAIT_MS)
    shows(view, "7 in = 5 kept + 2 in the ledger")


def take_a_drop_back(view: Any) -> None:
    view.get_by_label("Find a record id or rule").fill("exact")
    shows(view.locator(".ledger"), "1–1 of 1")
    shows(view.locator(".ledger"), "Jaccard 1.00")
    shows(view.locator(".ledger"), "kept instead")
    view.get_by_role("button", name=re.compile("^Restore record")).click()
    shows(view, "To come back: 1 single record")
    shows(view.locator(".copy pre"), "workbench run undo --original comments@")
    view.get_by_role("button", name="Undo these").click()
    shows(view.locator(".child"), "Succeeded")
    shows(view.locator(".child"), "1 restored")
