"""Models from outside become artifacts, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch  # noqa: TID253 (weights are written as other programs write them)
from safetensors.torch import load_file, save_file
from tiny_encoder import write_native
from tiny_training import write_encoder

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, StageError
from workbench.core.laws import FolderRun, StageLaws
from workbench.core.registry import load_stage
from workbench.core.spec import Spec
from workbench.daemon.submission import cache_key
from workbench.models.folder import TOKENIZER, WEIGHTS
from workbench.models.import_model import ImportModelSpec
from workbench.models.predictor import load_predictor


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return write_native(tmp_path / "classifier")


def imported(folder: Path, model: Path, **more: str) -> Artifact:
    spec = ImportModelSpec.parse({"model": str(model), "name": "mine", **more})
    return FolderRun(folder / "run", {}).run(spec)["model"]


def test_a_folder_becomes_a_model_that_answers_the_same(classifier: Path, tmp_path: Path) -> None:
    made = imported(tmp_path, classifier)
    assert made.summary["task"] == "classify"
    assert made.summary["parameters"] > 0
    assert made.summary["kind"] == "bert"
    texts = ["i am so happy", "terrible news"]
    told = load_predictor(made.path).logits(texts)
    assert (told == load_predictor(classifier).logits(texts)).all()


def test_weights_in_several_files_become_one(classifier: Path, tmp_path: Path) -> None:
    whole = load_file(classifier / WEIGHTS)
    (classifier / WEIGHTS).unlink()
    index = {}
    for number, name in enumerate(sorted(whole)):
        part = f"model-{number % 2}.safetensors"
        index[name] = part
    for part in ("model-0.safetensors", "model-1.safetensors"):
        save_file({n: whole[n] for n, p in index.items() if p == part}, classifier / part)
    (classifier / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": index}))
    made = imported(tmp_path, classifier)
    found = load_file(made.path / WEIGHTS)
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], whole[name]) for name in whole)
    (classifier / "model-1.safetensors").unlink()
    with pytest.raises(DataError, match=r"model-1.safetensors.*not there"):
        imported(tmp_path / "again", classifier)


def test_a_file_of_weights_takes_its_description_from_a_model_like_it(
    classifier: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "elsewhere" / "trained.safetensors"
    alone.parent.mkdir()
    weights = {name: tensor + 1 for name, tensor in load_file(classifier / WEIGHTS).items()}
    save_file(weights, alone)
    made = imported(tmp_path, alone, like=str(classifier))
    assert torch.equal(
        load_file(made.path / WEIGHTS)["classifier.bias"], weights["classifier.bias"]
    )
    assert (made.path / TOKENIZER).exists()
    with pytest.raises(DataError, match=r"no config\.json"):
        imported(tmp_path / "bare", alone)
    other = write_encoder(tmp_path / "other", num_layers=1)
    with pytest.raises(StageError, match="differ"):
        imported(tmp_path / "unlike", alone, like=str(other))


def test_an_encoder_is_one(tmp_path: Path) -> None:
    made = imported(tmp_path, write_encoder(tmp_path / "encoder", num_layers=1))
    assert made.summary["task"] == "encode"
    assert "labels" not in made.summary


def test_pickles_and_code_are_refused(classifier: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pytorch_model.bin"
    pickled.write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="no file of safetensors") as refused:
        imported(tmp_path, pickled)
    assert "never opened" in refused.value.next_step
    config = json.loads((classifier / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "trap.Trap"}
    (classifier / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="auto_map"):
        imported(tmp_path, classifier)


def test_the_files_are_the_key(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = load_stage("import_model")

    def key() -> str | None:
        return cache_key(definition, ImportModelSpec(model=str(classifier)))

    first = key()
    assert first == key()
    weights = load_file(classifier / WEIGHTS)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, classifier / WEIGHTS)
    assert key() != first
    monkeypatch.chdir(tmp_path)
    assert ImportModelSpec(model="classifier").model == str(classifier)
    assert ImportModelSpec(model="./classifier").model == str(classifier)
    assert ImportModelSpec(model="org/model").model == "org/model"


class TestImportModelLaws(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        source = folder.parent / f"{folder.name}-source"
        if not source.exists():
            write_native(source)
        return ImportModelSpec(model=str(source)), {}

    def test_what_is_imported_does_not_need_its_folder_any_more(self, tmp_path: Path) -> None:
        spec, inputs = self.example(tmp_path)
        made = FolderRun(tmp_path, inputs).run(spec)["model"]
        assert isinstance(spec, ImportModelSpec)
        shutil.rmtree(spec.model)
        assert load_predictor(made.path).predict(["good"]).shape == (1, 3)
