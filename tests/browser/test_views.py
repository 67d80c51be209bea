"""The views in a real JupyterLab: filled, run, watched, and read again without a kernel."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import Any

import pytest
from laboratory import TOKEN, WAIT_MS, Laboratory, NotebookPage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAP = "<img src=x onerror=\"document.title='trapped'\">"
ROWS = f"""id,comment,sentiment
1,"What a good day, everybody was so kind to me!",positive
2,"{TRAP.replace('"', '""')} and they never answered my letter at all",negative
3,"排队两个小时，结果告诉我卖完了，真是太让人失望了",negative
4,"CafÃ© reopened and the queue is worth it, go early",positive
5,"First!!!",positive
"""


@pytest.fixture(scope="module")
def data(laboratory: Laboratory) -> Laboratory:
    folder = laboratory.folder / "my"
    folder.mkdir()
    (folder / "comments.csv").write_text(ROWS)
    return laboratory


def expect(found: Any) -> Any:
    from playwright.sync_api import expect

    return expect(found)


def shows(found: Any, text: str | re.Pattern[str]) -> None:
    expect(found).to_contain_text(text, timeout=WAIT_MS)


def test_files_become_a_form_a_run_and_a_record(data: Laboratory, page: Any) -> None:
    data.write_notebook(
        "tour.ipynb",
        [
            'import workbench as wb\nwb.open("my/*.csv")',
            "ws = wb.Workspace()\nws.runs()[0].watch()",
            "from widgets.rows import RowsView\n"
            'raw = ws.artifact("comments@latest")\n'
            "cleaned = ws.do(wb.CleanSpec(dataset=raw.reference))\n"
            'RowsView(raw, cleaned["dataset"], cleaned["ledger"])',
        ],
    )
    notebook = NotebookPage(page, data, "tour.ipynb")
    notebook.run_cell(0)
    studio = notebook.view(0)
    fill_and_break_the_form(studio, page)
    run_the_form(studio)
    notebook.run_cell(1)
    shows(notebook.cell(1), re.compile(r"✓ (Succeeded|Found)"))
    expect(notebook.cell(1).locator("section.wb")).to_have_count(0)  # the record, not the widget
    notebook.run_cell(2)
    rows = notebook.view(2)
    shows(rows, "Before")
    assert "Café" in rows.inner_text() and "CafÃ©" in rows.inner_text()
    show_dropped_rows(rows)
    assert "trapped" not in page.title() and notebook.problems == []
    page.keyboard.press("Control+S")  # from within the view, where the focus is
    wait_until_saved(data, "tour.ipynb", "comments@")
    forget_kernels(data)
    page.reload()
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=WAIT_MS)
    shows(notebook.cell(1), "comments@")
    assert "trapped" not in page.title()


def fill_and_break_the_form(studio: Any, page: Any) -> None:
    expect(studio.locator('[data-field="sources.0.text_column"]')).to_have_value(
        "comment", timeout=WAIT_MS
    )
    studio.locator("summary", has_text="more fields").click()
    limit = studio.locator('[data-field="sources.0.limit"]')
    limit.fill("-5")
    shows(studio, "-5 is less than the least allowed, 0")
    expect(limit).to_have_attribute("aria-invalid", "true")
    run = studio.get_by_role("button", name="Run", exact=True)
    expect(run).to_be_disabled()
    limit.fill("4")
    expect(run).to_be_enabled(timeout=WAIT_MS)
    shows(studio.locator(".copy pre"), '"limit": 4')
    studio.get_by_role("button", name="Copy", exact=True).click()
    shows(studio, "Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("workbench run integrate --sources ") and '"limit": 4' in copied
    studio.get_by_role("button", name="default 0, go back to it for Limit").click()
    expect(limit).to_have_value("0", timeout=WAIT_MS)


def run_the_form(studio: Any) -> None:
    studio.get_by_role("button", name="Run", exact=True).click()
    shows(studio.locator(".strip"), "Succeeded")
    shows(studio.locator(".run"), "5 → 5")
    shows(studio.locator(".recent"), "succeeded")


def show_dropped_rows(rows: Any) -> None:
    assert "onerror" in rows.inner_text() or rows.get_by_role("radio", name="random").count()
    rows.get_by_role("radio", name=re.compile("random")).click()
    shows(rows, "onerror=")
    assert rows.locator("img").count() == 0
    rows.get_by_role("radio", name=re.compile("dropped")).click()
    shows(rows, re.compile("dropped: |There are no dropped rows"))


def wait_until_saved(laboratory: Laboratory, name: str, text: str) -> None:
    deadline = time.monotonic() + WAIT_MS / 1000
    while text not in (laboratory.folder / name).read_text():
        assert time.monotonic() < deadline, f"{name} was not saved"
        time.sleep(0.2)


def forget_kernels(laboratory: Laboratory) -> None:
    """End every session, as a server does that was restarted."""
    address = f"{laboratory.url}/api/sessions?token={TOKEN}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        sessions = json.loads(answer.read())
    for session in sessions:
        where = f"{laboratory.url}/api/sessions/{session['id']}?token={TOKEN}"
        urllib.request.urlopen(urllib.request.Request(where, method="DELETE"), timeout=30).close()


def test_a_form_holds_on_narrow_dark_busy_and_without_a_mouse(data: Laboratory, page: Any) -> None:
    data.set_theme("JupyterLab Dark")
    data.write_notebook(
        "form.ipynb",
        ['import workbench as wb\nwb.form("train")', "import time\ntime.sleep(8)"],
    )
    page.set_viewport_size({"width": 900, "height": 1200})
    notebook = NotebookPage(page, data, "form.ipynb")
    notebook.run_cell(0)
    form = notebook.view(0)
    wide = form.evaluate("f => [...f.querySelectorAll('*')].filter("
                         "e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 &&"
                         " getComputedStyle(e).overflowX === 'visible').length")  # fmt: skip
    assert wide == 0
    assert_contrast(form)
    walk_by_keyboard(form, page)
    notebook.run_cell(1)
    seed = form.locator('[data-field="priority"]')
    seed.fill("7")
    # ipykernel holds messages back while a cell runs: that is told, and nothing typed is lost.
    expect(seed).to_have_value("7")
    shows(form, "The kernel is busy")
    shows(form.locator(".copy pre"), "-p priority 7")
    expect(seed).to_have_value("7")
    data.set_theme("JupyterLab Light")


def walk_by_keyboard(form: Any, page: Any) -> None:
    form.locator("[data-field]").first.focus()
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('.wb') ? "
                                  "(document.activeElement.dataset.field ||"
                                  " document.activeElement.textContent) : ''"))  # fmt: skip
        if "Copy" in reached or "" in reached:
            break
    fields = form.evaluate("f => [...f.querySelectorAll('[data-field]')].filter(e => "
                           "e.offsetParent).map(e => e.dataset.field)")  # fmt: skip
    assert set(fields[1:]) <= reached
    copy_as = form.get_by_role("radiogroup", name="Copy as")
    copy_as.get_by_role("radio", name="CLI").focus()
    page.keyboard.press("ArrowRight")
    expect(copy_as.get_by_role("radio", name="papermill")).to_have_attribute("aria-checked", "true")
    shows(form.locator(".copy pre"), "papermill notebooks/train.ipynb")


def assert_contrast(view: Any) -> None:
    """Check that all text stands out from what is behind it (WCAG AA, 4.5 to 1)."""
    faint = view.evaluate(
        """root => {
        const paper = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        const rgb = (colour) => { paper.clearRect(0, 0, 1, 1); paper.fillStyle = colour;
          paper.fillRect(0, 0, 1, 1); return [...paper.getImageData(0, 0, 1, 1).data]; };
        const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const weights = [.2126, .7152, .0722];
        const light = (colour) => weights.reduce((s, w, i) => s + w * linear(colour[i] / 255), 0);
        const behind = (e) => { for (; e; e = e.parentElement) {
          const colour = rgb(getComputedStyle(e).backgroundColor);
          if (colour[3] > 250) return colour; }
          return [255, 255, 255]; };
        return [...root.querySelectorAll('*')].filter(e => e.offsetParent && !e.disabled &&
            [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
          const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
          return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.textContent.slice(0, 40)];
        }).filter(([ratio]) => ratio < 4.5); }"""
    )
    assert faint == []
