"""A search as it goes on, in optuna-dashboard and in the notebook's own view."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

import pytest
from live_workspace import LiveWorkspace, wait_until
from workbench_example_stages import CountSpec

from widgets.study import StudyView
from workbench.core.errors import SpecError
from workbench.runs import Run
from workbench.tune.options import TuneSpec

pytestmark = pytest.mark.slow


def searching(workspace: LiveWorkspace, **changes: Any) -> Run:
    spec = TuneSpec.parse({
        "stage": "climb", "space": {"height": None}, "objectives": [{"metric": "reached"}],
        "trials": 6, "parameters": {"seconds": 0.2}, "sampler": "random", "at_once": 2,
        "pruner": "asha", "name": "climbs", **changes,
    })  # fmt: skip
    return workspace.submit(spec)


class Browser:
    """Asks with cookies, as a browser does."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.ProxyHandler({})
        )

    def get(self, url: str, data: bytes | None = None) -> tuple[int, str]:
        try:
            with self._opener.open(urllib.request.Request(url, data=data), timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def test_a_search_is_seen_in_optuna_dashboard_while_it_goes_on(workspace: LiveWorkspace) -> None:
    run = searching(workspace)
    wait_until(lambda: _trials(run), "it tries", 60)
    browser = Browser()
    with run.dashboard() as dashboard:
        base = dashboard.url.split("/dashboard")[0]
        assert Browser().get(f"{base}/api/studies")[0] == 401
        assert Browser().get(f"{base}/api/studies?token=guess")[0] == 401
        status, page = browser.get(dashboard.url)
        assert (status, "<html" in page.lower()) == (200, True)
        assert _summaries(browser, base) == ["study"]
        run.wait(120)
        status, told = browser.get(f"{base}/api/studies/0")
        assert status == 200
        assert len(json.loads(told)["trials"]) >= 6
        status, why = browser.get(f"{base}/api/studies", data=b'{"study_name": "mine"}')
        assert (status, why) == (403, "A study is written by its search alone.")
    with run.dashboard() as after:  # from the artifact, once the search is over
        base = after.url.split("/dashboard")[0]
        browser.get(after.url)
        assert _summaries(browser, base) == ["study"]


def _trials(run: Run) -> list[dict[str, Any]]:
    try:
        return run.study().rows()
    except SpecError:
        return []


def _summaries(browser: Browser, base: str) -> list[str]:
    _, told = browser.get(f"{base}/api/studies")
    return [study["study_name"] for study in json.loads(told)["study_summaries"]]


def test_what_is_no_search_has_no_study(workspace: LiveWorkspace) -> None:
    run = workspace.submit(CountSpec(tag="no search", parts=1)).wait(60)
    with pytest.raises(SpecError, match="has no study"):
        run.dashboard()


def test_a_search_is_watched_in_a_notebook(workspace: LiveWorkspace) -> None:
    run = searching(workspace, seed=3)
    view = StudyView(run)
    try:
        wait_until(lambda: view.content()["study"]["trials"], "a trial is seen", 60)
        assert view.content()["dashboard"].startswith("http://127.0.0.1:")
        assert view.content()["study"]["names"] == ["Trial", "reached", "height", "State"]
        run.wait(120)
        wait_until(lambda: view.content()["run"]["is_over"], "its end is seen")
        wait_until(lambda: "completed" in view.content()["study"]["headline"], "all is seen")
        study = view.content()["study"]
        best = max(row["values"][0] for row in _trials(run) if row["state"] == "complete")
        assert study["trials"][0]["word"] == "completed"
        assert study["best"].startswith("reached")
        assert f"{best:.3g}"[:4] in study["best"]
        (chart,) = study["charts"]
        assert chart["name"] == "best reached by trial"
        assert Browser().get(view.content()["dashboard"])[0] == 200
        assert "Trials" in view.record()
        assert "<script" not in view.record()
    finally:
        view.close()
