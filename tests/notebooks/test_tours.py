"""The tours run whole, as plain papermill runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace

from workbench.pipeline.files import notebooks_folder

TOURS = sorted((notebooks_folder() / "tours").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("tour", TOURS, ids=lambda path: path.stem)
def test_a_tour_runs_from_its_first_cell_to_its_last(
    tour: Path, workspace: LiveWorkspace, tmp_path: Path
) -> None:
    output = tmp_path / "out.ipynb"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "papermill", str(tour), str(output),
             "-p", "workspace", str(workspace.root)],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    finally:  # a tour that has failed has not come to the cell that ends its workspace
        for own in workspace.root.glob("*-tour"):
            LiveWorkspace(own).down()
    assert done.returncode == 0, done.stderr[-3_000:]
    cells = json.loads(output.read_text())["cells"]
    assert all(cell.get("execution_count") for cell in cells if cell["cell_type"] == "code")
    if tour.stem == "data":
        assert workspace.artifact("tour-undone@latest", "dataset").summary["rows"] == 1553
