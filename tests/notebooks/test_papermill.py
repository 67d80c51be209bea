"""Plain papermill on a stage notebook, against a workspace that really runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace

from workbench.core.registry import load_stage
from workbench.data.transform.shards import open_shards
from workbench.pipeline.files import notebooks_folder, sample_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def comments(workspace: LiveWorkspace) -> str:
    """Have the sample's pages as a data set in the shared workspace."""
    spec = load_stage("integrate").spec.parse(
        {
            "name": "pages",
            "sources": [
                {
                    "kind": "html",
                    "name": "pages",
                    "path": str(sample_folder() / "pages" / "*.html"),
                    "record_selector": "li.comment",
                    "text_selector": "p.text",
                    "label_attribute": "data-sentiment",
                }
            ],
        }
    )
    made = workspace.do(spec).dataset
    assert made.summary["rows"] == 180
    return "pages@latest"


def papermill(
    output: Path, workspace: LiveWorkspace, stage: str = "sample", *more: str, **parameters: str
) -> subprocess.CompletedProcess[str]:
    options = [word for pair in parameters.items() for word in ("-p", *pair)]
    notebook = str(notebooks_folder() / f"{stage}.ipynb")
    return subprocess.run(
        [sys.executable, "-m", "papermill", notebook, str(output), *options, *more,
         "-p", "workspace", str(workspace.root)],
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip


def test_papermill_runs_a_stage_notebook_with_parameters(
    workspace: LiveWorkspace, comments: str, tmp_path: Path
) -> None:
    output = tmp_path / "out.ipynb"
    done = papermill(output, workspace, dataset=comments, size="40", name="forty")
    assert done.returncode == 0, done.stderr
    assert workspace.artifact("forty@latest", "dataset").summary["rows"] == 40
    shown = json.loads(output.read_text())["cells"][-1]["outputs"]
    assert any("forty@" in str(result) for result in shown)


def test_papermill_takes_a_range_of_workers(
    workspace: LiveWorkspace, comments: str, tmp_path: Path
) -> None:
    done = papermill(
        tmp_path / "out.ipynb", workspace, dataset=comments, size="41", name="ranged", workers="..2"
    )
    assert done.returncode == 0, done.stderr
    made = workspace.artifact("ranged@latest", "dataset")
    record = workspace.run(made.made_by).record()
    assert (record["least_workers"], record["workers"]) == (1, 2)


def test_papermill_refuses_what_is_no_number_of_workers(
    workspace: LiveWorkspace, comments: str, tmp_path: Path
) -> None:
    done = papermill(
        tmp_path / "out.ipynb", workspace, dataset=comments, size="42", name="no", workers="2..1"
    )
    assert done.returncode != 0
    assert "'2..1' workers end below where they begin" in done.stderr
    assert "Perhaps 1..2 is meant" in done.stderr


def test_an_unknown_parameter_is_refused_with_the_nearest_right_name(
    workspace: LiveWorkspace, comments: str, tmp_path: Path
) -> None:
    done = papermill(tmp_path / "out.ipynb", workspace, dataset=comments, sise="40")
    assert done.returncode != 0
    assert "SampleSpec has no parameter 'sise'" in done.stderr
    assert "Did you mean 'size'?" in done.stderr


def test_papermill_transforms_records_into_shards(
    workspace: LiveWorkspace, comments: str, tmp_path: Path
) -> None:
    done = papermill(
        tmp_path / "out.ipynb", workspace, "transform", "-y", "features: [tfidf]",
        dataset=comments, tokens="none", name="weighed",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shards = open_shards(workspace.artifact("weighed@latest", "dataset"))
    assert len(shards) == 180
    assert "tfidf_values" in shards.tables[0].column_names
