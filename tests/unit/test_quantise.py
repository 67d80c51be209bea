"""Quantisation: small, without torch, and never silently wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_training import build_records, sentences, texts_of, write_classifier, write_encoder

from workbench.compress.quantise import QuantiseSpec
from workbench.core.artifact import Artifact, Draft, seal
from workbench.core.errors import StageError
from workbench.core.laws import FolderRun
from workbench.models.predictor import load_predictor
from workbench.train.distil import DistilSpec
from workbench.train.train import TrainSpec

Inputs = dict[str, Artifact]
TEXTS = texts_of(sentences(80, seed=7))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Offer a teacher, a student of it, and texts."""
    folder = tmp_path_factory.mktemp("quantise")
    found = {"train@latest": build_records(folder, sentences(200), "train")}
    train = TrainSpec(
        dataset="train", name="teacher", model=str(write_encoder(folder / "encoder")), epochs=3,
        batch_size=16, learning_rate=3e-3, max_tokens=24, precision="float32",
    )  # fmt: skip
    found["teacher@latest"] = FolderRun(folder / "train", found).run(train)["model"]
    distil = DistilSpec(
        teacher="teacher", datasets=["train"], num_layers=2, epochs=1, batch_size=16,
        learning_rate=2e-3, precision="float32",
    )  # fmt: skip
    found["student@latest"] = FolderRun(folder / "distil", found).run(distil)["model"]
    return found


def test_student_and_its_integers_answer_alike(inputs: Inputs, tmp_path: Path) -> None:
    run = FolderRun(tmp_path, inputs)
    spec = QuantiseSpec(model="student", dataset="train")
    assert QuantiseSpec.model_validate_json(spec.canonical_json()) == spec
    small = run.run(spec)["model"]
    assert small.name == "student-int8"
    assert small.summary["agreement"] >= 0.98
    assert small.summary["texts_checked"] == 200
    assert small.summary["parameters"] == inputs["student@latest"].summary["parameters"]
    assert sorted(path.name for path in small.path.iterdir()) == [
        "config.json", "manifest.json", "model.int8.onnx", "tokenizer.json",
        "tokenizer_config.json", "workbench.json",
    ]  # fmt: skip
    exact = load_predictor(inputs["student@latest"].path)
    integers = load_predictor(small.path)
    assert integers.labels == exact.labels
    assert integers.max_tokens == exact.max_tokens
    np.testing.assert_allclose(integers.predict(TEXTS), exact.predict(TEXTS), atol=0.1)
    # The exported graph is kept: a second attempt quantises it again, to the same bytes.
    again = FolderRun(tmp_path, inputs).run(QuantiseSpec(model="student", name="again"))["model"]
    assert again.version == small.version


def test_integers_that_answer_otherwise_are_an_error(inputs: Inputs, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    draft = Draft("model", "odd", tmp_path / "staging")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "workbench.json"):
        shutil.copyfile(inputs["student@latest"].path / name, draft.path / name)
    weights = load_file(draft.path / "model.safetensors")
    # One weight so large that all others of its matrix become zero in 8 bits.
    weights["bert.embeddings.word_embeddings.weight"][1, 0] = 1e5
    save_file(weights, draft.path / "model.safetensors", metadata={"format": "pt"})
    odd = seal(draft, tmp_path / "artifacts")
    run = FolderRun(tmp_path / "run", {**inputs, "odd@latest": odd})
    with pytest.raises(StageError, match="another label"):
        run.run(QuantiseSpec(model="odd", dataset="train", per_channel=False))


@pytest.mark.slow
def test_the_same_model_is_exported_to_the_same_bytes(tmp_path: Path) -> None:
    from workbench.models.onnx_export import export_onnx

    folder = write_classifier(tmp_path / "model", write_encoder(tmp_path / "encoder"))
    for name in ("first.onnx", "second.onnx"):
        export_onnx(folder, tmp_path / name)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
