"""Models of a notebook cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 (models of a cell use it so)
from tiny_training import build_inputs, sentences, write_encoder
from torch import nn  # noqa: TID253

import workbench as wb
from workbench.compress.quantise import QuantiseSpec
from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, SpecError, StageError
from workbench.core.laws import FolderRun
from workbench.models.checkpoint import open_classifier
from workbench.models.folder import TOKENIZER
from workbench.models.predictor import load_predictor
from workbench.train.train import TrainSpec
from workbench.train.user_model import UserModel

Inputs = dict[str, Artifact]


class Mean(nn.Module):
    """The mean of the words of a text that are words."""

    def forward(self, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = words * mask[..., None]
        return kept.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)


class Bag(nn.Module):
    def __init__(self, num_tokens: int, num_labels: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(num_tokens, width)
        self.mean = Mean()
        self.head = nn.Linear(width, num_labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.mean(self.words(input_ids), attention_mask))
        return logits


@wb.model
def bag_of_words(num_tokens: int, num_labels: int, width: int = 16) -> nn.Module:
    return Bag(num_tokens, num_labels, width)


@wb.model
def first_word(encoder: Any, num_labels: int) -> nn.Module:
    class FirstWord(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.head = nn.Linear(encoder.config.hidden_size, num_labels)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
            logits: torch.Tensor = self.head(hidden.last_hidden_state[:, 0])
            return logits

    return FirstWord()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("own") / "encoder")


@pytest.fixture(scope="module")
def inputs(encoder: Path) -> Inputs:
    return build_inputs(encoder.parent)


def trained(
    encoder: Path, inputs: Inputs, folder: Path, own: UserModel, **changes: Any
) -> Artifact:
    spec = TrainSpec.parse({
        "dataset": "train", "validation": "check", "model": str(encoder), "epochs": 6,
        "batch_size": 16, "learning_rate": 1e-2, "max_tokens": 24, "precision": "float32",
        "own_model": own, **changes,
    })  # fmt: skip
    return FolderRun(folder, inputs, num_workers=2).run(spec)["model"]


@pytest.mark.parametrize("own", [bag_of_words.set(width=24), first_word], ids=lambda own: own.name)
def test_a_cell_s_model_is_trained_and_served_without_its_code(
    own: UserModel, encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    changes = {"learning_rate": 3e-3} if own.has_encoder else {}
    model = trained(encoder, inputs, tmp_path / "one", own, **changes)
    assert model.summary["macro_recall"] > 0.9
    names = {path.name for path in model.path.iterdir()}
    assert {"model.onnx", "model.safetensors", TOKENIZER} <= names
    assert not [name for name in names if name.endswith(".py")]
    rows = sentences(60, seed=1)
    predictor = load_predictor(model.path)
    answers = predictor.predict([text for text, _ in rows]).argmax(1)
    right = [predictor.labels[n] == label for n, (_, label) in zip(answers, rows, strict=True)]
    assert np.mean(right) > 0.85


def test_it_is_quantised_from_its_graph_and_opened_in_no_other_way(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    model = trained(encoder, inputs, tmp_path / "one", bag_of_words)
    again = trained(encoder, inputs, tmp_path / "two", bag_of_words)
    assert again.version == model.version
    run = FolderRun(tmp_path / "small", {"bag@latest": model})
    small = run.run(QuantiseSpec(model="bag", max_drop=0.2))["model"]
    assert load_predictor(small.path).predict(["fine"]).shape == (1, 2)
    with pytest.raises(DataError, match="somebody's own code"):
        open_classifier(model.path)


def test_its_settings_and_classes_travel() -> None:
    wide = bag_of_words.set(width=32)
    assert wide.parameters == {"width": 32}
    assert "class Bag" in wide.source
    assert wide.source.index("class Mean") < wide.source.index("class Bag")
    assert "import torch.nn as nn" in wide.source
    built = wide(num_tokens=11, num_labels=3)
    assert built(torch.ones(2, 4, dtype=torch.int64), torch.ones(2, 4)).shape == (2, 3)


def no_labels(num_tokens: int) -> nn.Module: ...  # type: ignore[empty-body]
def a_bare_setting(num_tokens: int, num_labels: int, width: int) -> nn.Module: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "complaint"),
    [(no_labels, "builds no classifier"), (a_bare_setting, "needs a default for 'width'")],
)
def test_what_builds_no_classifier_is_told_where_it_is_written(
    function: Any, complaint: str
) -> None:
    with pytest.raises(SpecError, match=complaint):
        wb.model(function)


@wb.model
def number(num_tokens: int, num_labels: int) -> Any:
    return num_labels


@wb.model
def one_answer_too_many(num_tokens: int, num_labels: int) -> nn.Module:
    return Bag(num_tokens, num_labels + 1, 8)


@wb.model
def raises(num_tokens: int, num_labels: int) -> nn.Module:
    raise ZeroDivisionError("by nothing")


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        (number, "it returned a int"),
        (one_answer_too_many, r"a tensor of \(2, 3\), not \(2, 2\)"),
        (raises, "ZeroDivisionError: by nothing"),
    ],
    ids=lambda own: getattr(own, "name", ""),
)
def test_what_it_builds_is_tried_before_any_worker_starts(
    own: UserModel, complaint: str, encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=complaint):
        trained(encoder, inputs, tmp_path, own)
    assert not list(tmp_path.glob("fit-attempt-*"))


def test_it_lies_whole_on_each_worker() -> None:
    with pytest.raises(SpecError, match="lies whole on each worker"):
        TrainSpec.parse({"dataset": "a", "own_model": bag_of_words, "strategy": "fsdp"})
