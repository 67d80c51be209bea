"""One JupyterLab and one Chromium for all browser tests; skipped loudly where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from laboratory import FLAGS, Laboratory, chromium, running_laboratory


@pytest.fixture(scope="module")
def laboratory(
    browser: Any,  # first: without one, no JupyterLab is started either
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Laboratory]:
    with running_laboratory(tmp_path_factory.mktemp("laboratory")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = chromium()
    if executable is None:
        pytest.skip("NO BROWSER TEST WAS RUN: Chromium is not installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1320, "height": 1700})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context.new_page()
    context.close()
