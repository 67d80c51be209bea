"""Make ``docs/images/cleaning.png``: the view of a cleaning of the shipped sample.

Run ``python tests/browser/pictures.py`` after a change of the view, and look at the picture.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from laboratory import FLAGS, WAIT_MS, NotebookPage, chromium, running_laboratory
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "workbench/demo/sample"
CLEAN = f"""import workbench as wb
ws = wb.Workspace()
news = {{"kind": "csv", "name": "news", "path": "{SAMPLE}/news.csv", "text_column": "comment"}}
pages = {{"kind": "html", "name": "pages", "path": "{SAMPLE}/pages/*.html",
         "record_selector": "li.comment", "text_selector": "p.text"}}
posts = {{"kind": "sql", "name": "posts", "url": "sqlite:///{SAMPLE}/posts.sqlite",
         "query": "SELECT * FROM posts ORDER BY id", "text_column": "body"}}
raw = ws.do(wb.IntegrateSpec(name="comments", sources=[news, pages, posts]))["dataset"]
run = ws.submit(wb.CleanSpec(dataset=raw.reference, languages=["en", "zh"], min_words=2)).wait()"""


def main() -> None:
    """Clean the sample in a JupyterLab, move two thresholds, and take the picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS)
        with running_laboratory(Path(folder)) as laboratory:
            laboratory.write_notebook("cleaning.ipynb", [CLEAN, "run.view()"])
            size = {"width": 1340, "height": 2200}
            page = browser.new_context(viewport=size, device_scale_factor=1.25).new_page()
            notebook = NotebookPage(page, laboratory, "cleaning.ipynb")
            notebook.run_cell(0)
            notebook.run_cell(1)
            picture(notebook.view(1), page)
        browser.close()


def picture(view: Any, page: Any) -> None:
    """Move two thresholds and choose what shall come back; take the picture."""
    expect(view).to_contain_text("in the ledger", timeout=WAIT_MS)
    view.get_by_label(re.compile("too few words: words")).first.fill("5")
    view.get_by_label(re.compile("^Languages to keep")).fill("en, zh, fr, de")
    expect(view).to_contain_text("2 settings moved", timeout=WAIT_MS)
    view.get_by_role("button", name=re.compile("rows dropped by near duplicate")).click()
    expect(view).to_contain_text("Jaccard", timeout=WAIT_MS)
    view.get_by_role("button", name=re.compile("^Restore record")).first.click()
    expect(view).to_contain_text("To come back", timeout=WAIT_MS)
    expect(view).not_to_contain_text("reading …", timeout=WAIT_MS)
    view.get_by_role("radio", name="clean").click()
    page.mouse.move(1, 1)
    page.wait_for_timeout(500)
    view.screenshot(path=ROOT / "docs/images/cleaning.png")


if __name__ == "__main__":
    main()
