"""``workbench demo``: run the sentiment pipeline, then say in one table what came of it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import workbench
from workbench.core.errors import error_from_json
from workbench.demo.page import write_demo_page
from workbench.demo.story import Story, tell
from workbench.pipeline.files import load_pipeline, read_parameters
from workbench.runs import Run
from workbench.workspace import Workspace

_PIPELINE = "sentiment"


def run_demo(parameters: str | None, *, as_json: bool, stream: TextIO) -> int:
    """Run the pipeline, print the table, write the page; return the exit code.

    ``parameters`` is a YAML file that replaces the shipped sample by other data.
    """
    began = time.monotonic()
    given = read_parameters(_existing(parameters)) if parameters else {}
    workspace = Workspace()
    print(f"workspace {workspace.root}", file=sys.stderr)
    run = workspace.submit(load_pipeline(_PIPELINE, given))
    record = _follow(run)
    if record["state"] == "failed":
        raise error_from_json(record["error"])
    if record["state"] != "succeeded":
        print(f"The demo was {record['state']}; go on with: workbench runs resume {run.run_id}")
        return 1
    story = tell(workspace, run, time.monotonic() - began)
    page = workspace.root / "reports" / f"{_PIPELINE}.html"
    write_demo_page(page, story)
    print(as_text(story, page), file=stream)
    if as_json:
        print(json.dumps(story.to_json(), ensure_ascii=False), file=stream)
    return 0


def _existing(file: str) -> Path:
    """Find a parameters file: where it is, or among the shipped pipelines."""
    from workbench.pipeline.files import notebooks_folder

    path = Path(file)
    shipped = notebooks_folder() / "pipelines" / path.name
    return shipped if not path.is_file() and shipped.is_file() else path


def _follow(run: Run) -> dict[str, Any]:
    from workbench.terminal.follow import follow

    return follow(run).record()


def as_text(story: Story, page: Path) -> str:
    """Return the closing table for a terminal."""
    from workbench.terminal.table import format_table

    blocks = [
        f"\nWorkbench {workbench.__version__} · {_PIPELINE} · {story.seconds:.0f} s",
        format_table(["Step", "Rows in → out", "", "Seconds"], story.step_rows(), 0),
        format_table(
            ["System", story.metric_words, "95 % interval", "MB", "ms a text"],
            story.system_rows(),
            0,
        ),
        "\n".join(f"{title:9}{text}" for title, text in story.closing_lines()),
        f"{'Report':9}{page}",
    ]
    return "\n\n".join(blocks)
