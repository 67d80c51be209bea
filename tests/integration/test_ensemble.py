"""Each subset trains a model of its own, as a run of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from gangs import integrate_rows
from live_workspace import LiveWorkspace, StartWorkspace
from tiny_training import write_encoder

from workbench.data.split.stage import SplitSpec
from workbench.models.predictor import load_predictor
from workbench.train.ensemble import EnsembleSpec

pytestmark = pytest.mark.slow


@pytest.fixture
def own(start_workspace: StartWorkspace, tmp_path: Path) -> LiveWorkspace:
    found = start_workspace(slots=2)
    integrate_rows(found, tmp_path)
    return found


@pytest.mark.parametrize("how", ["predictions", "weights", "distil"])
def test_members_are_trained_beside_each_other_and_combined(
    own: LiveWorkspace, tmp_path: Path, how: str
) -> None:
    split = own.submit(SplitSpec(dataset="rows", parts={"one": 0.5, "two": 0.5})).wait(60)
    subsets = [split.outputs()[name].reference for name in ("one", "two")]
    training = {"batch_size": 16, "learning_rate": 3e-3, "max_tokens": 24, "precision": "float32"}
    spec = EnsembleSpec.parse({
        "subsets": subsets, "how": how, "name": "both",
        "parameters": {**training, "model": str(write_encoder(tmp_path / "encoder")), "epochs": 3},
        "student": {"num_layers": 2, "vocabulary": "teacher", "batch_size": 16, "epochs": 2},
    })  # fmt: skip
    run = own.submit(spec).wait(120)
    model = run.outputs()["model"]
    assert (model.name, model.summary["members"], model.summary["combined"]) == ("both", 2, how)
    assert load_predictor(model.path).labels == ["negative", "positive"]
    children = own.client.get("/runs", parent=run.run_id)
    assert [child["stage"] for child in children].count("train") == 2
