"""One classifier out of several: by their weights, by their predictions, by a student."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_training import build_records, sentences, write_classifier, write_encoder

from workbench.core.artifact import Artifact, Draft, seal
from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.models.predictor import load_predictor
from workbench.train.combine import CombineSpec
from workbench.train.distil import DistilSpec
from workbench.train.ensemble import EnsembleSpec
from workbench.train.train import TrainSpec

Inputs = dict[str, Artifact]
TEXTS = [text for text, _ in sentences(40, seed=9)]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Return three classifiers of the same beginning, each trained on its own records."""
    folder = tmp_path_factory.mktemp("combine")
    encoder = write_encoder(folder / "encoder")
    inputs = {
        f"part-{n}@latest": build_records(folder, sentences(60, seed=n), f"part-{n}")
        for n in range(3)
    }
    for number in range(3):
        run = FolderRun(folder / f"run-{number}", inputs)
        spec = TrainSpec(
            dataset=f"part-{number}", model=str(encoder), epochs=3, batch_size=16,
            learning_rate=3e-3, max_tokens=24, precision="float32", name=f"member-{number}",
        )  # fmt: skip
        inputs[f"member-{number}@latest"] = run.run(spec)["model"]
    return inputs


def combined(members: Inputs, folder: Path, how: str) -> Artifact:
    spec = CombineSpec.parse({"models": [f"member-{n}" for n in range(3)], "how": how})
    return FolderRun(folder, members).run(spec)["model"]


def probabilities(model: Artifact) -> np.ndarray[Any, Any]:
    logits = load_predictor(model.path).predict(TEXTS)
    each = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(each / each.sum(-1, keepdims=True))


def test_the_mean_of_predictions_is_one_graph_that_answers_with_it(
    members: Inputs, tmp_path: Path
) -> None:
    model = combined(members, tmp_path, "predictions")
    expected = np.mean([probabilities(members[f"member-{n}@latest"]) for n in range(3)], axis=0)
    np.testing.assert_allclose(probabilities(model), expected, atol=1e-4)
    assert {path.name for path in model.path.glob("*.onnx")} == {"model.onnx"}
    assert model.summary["members"] == 3


def test_the_mean_of_weights_is_a_stock_model(members: Inputs, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = combined(members, tmp_path, "weights")
    weights = [
        load_file(members[f"member-{n}@latest"].path / "model.safetensors") for n in range(3)
    ]
    found = load_file(model.path / "model.safetensors")
    for name, values in found.items():
        np.testing.assert_allclose(values, np.mean([w[name] for w in weights], axis=0), atol=1e-6)
    assert AutoModelForSequenceClassification.from_pretrained(model.path).config.num_labels == 2


def test_a_student_learns_the_mean_of_its_teachers(members: Inputs, tmp_path: Path) -> None:
    run = FolderRun(tmp_path, members)
    spec = DistilSpec(
        teacher="member-0", more_teachers=["member-1", "member-2"], datasets=["part-0", "part-1"],
        num_layers=2, vocabulary="teacher", epochs=4, batch_size=16, learning_rate=3e-3,
        soft_share=1.0, precision="float32",
    )  # fmt: skip
    model = run.run(spec)["model"]
    answers = np.load(run.checkpoints()["teacher-scores-mean"] / "logits.npy")
    assert answers.shape == (120, 2)
    np.testing.assert_allclose(np.exp(answers).sum(-1), 1.0, atol=1e-5)
    expected = np.mean([probabilities(members[f"member-{n}@latest"]) for n in range(3)], axis=0)
    agreement = (probabilities(model).argmax(-1) == expected.argmax(-1)).mean()
    assert agreement > 0.85


def test_unlike_models_are_refused_by_name(members: Inputs, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    inputs = dict(members)
    draft = Draft("model", "strange", tmp_path / "staging")
    shutil.rmtree(draft.path, ignore_errors=True)
    write_classifier(draft.path, encoder, ["no", "yes"])
    inputs["strange@latest"] = seal(draft, tmp_path / "artifacts")
    for how in ("weights", "predictions"):
        spec = CombineSpec.parse({"models": ["member-0", "strange"], "how": how})
        with pytest.raises(DataError, match="strange@latest has the labels no, yes"):
            FolderRun(tmp_path / how, inputs).run(spec)
    spec = DistilSpec(teacher="member-0", more_teachers=["strange"], datasets=["part-0"])
    with pytest.raises(DataError, match="strange@latest has other labels"):
        FolderRun(tmp_path / "distil", inputs).run(spec)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": {"epoch": 1}}, "epoch"),
        ({"parameters": {"dataset": "x"}}, "dataset is filled in by the ensemble"),
        ({"student": {"teacher": "x"}}, "teacher is filled in by the ensemble"),
        ({"subsets": ["only-one"]}, "at least 2"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        EnsembleSpec.parse({"subsets": ["a", "b"], **changes})
