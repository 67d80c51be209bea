"""Learning from data sets of unlike labels at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import SCHEME, Row, build_records, sentences, write_encoder

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.models.predictor import load_predictor
from workbench.train.labelled import (
    JointSource,
    class_weights,
    join,
    read_labelled,
    read_scores,
    row_weights,
)
from workbench.train.train import TrainSpec

Inputs = dict[str, Artifact]


def renamed(rows: list[Row], names: dict[str, str]) -> list[Row]:
    return [(text, names[label or ""]) for text, label in rows]


def warmth(rows: list[Row]) -> list[Row]:
    """Return sentences scored by how positive they are, in steps that no label has."""
    return [
        (text, str(50 + (40 if label == "positive" else -40) + number % 7))
        for number, (text, label) in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Return few records with the labels asked for, many with others, and some with unlike ones."""
    folder = tmp_path_factory.mktemp("joint")
    stars = renamed(sentences(200, seed=5), {"negative": "one", "positive": "five"})
    lengths = [(text, ("short", "middle", "long")[min(len(text) // 25, 2)])
               for text, _ in sentences(60, seed=6)]  # fmt: skip
    return {
        "few@latest": build_records(folder, sentences(24), "few"),
        "stars@latest": build_records(folder, stars, "stars", "five|one"),
        "same@latest": build_records(folder, sentences(50, seed=7), "same"),
        "lengths@latest": build_records(folder, lengths, "lengths", "long|middle|short"),
        "warmth@latest": build_records(folder, warmth(sentences(200, seed=8)), "warmth", "number"),
        "check@latest": build_records(folder, sentences(80, seed=1), "check"),
    }


MAPPING = {"one": "negative", "five": "positive"}


def joined(inputs: Inputs, *sources: dict[str, Any]) -> Any:
    main = read_labelled(inputs["few@latest"])
    pairs = [(JointSource(**each), inputs[f"{each['dataset']}@latest"]) for each in sources]
    return join(main, pairs)


def test_mapped_and_equal_labels_join_the_first_head_others_have_their_own(inputs: Inputs) -> None:
    found = joined(
        inputs, {"dataset": "stars", "labels": MAPPING, "weight": 0.5}, {"dataset": "same"},
        {"dataset": "lengths"}, {"dataset": "stars"},
    )  # fmt: skip
    assert found.labels == ["negative", "positive"]
    assert found.others == (3, 2)
    parts = np.split(found.numbers, np.cumsum([24, 200, 50, 60]))
    assert [set(part.tolist()) for part in parts] == [{0, 1}, {0, 1}, {0, 1}, {2, 3, 4}, {5, 6}]
    assert np.unique(found.shares[24:224]).tolist() == [0.5]
    stars = read_labelled(inputs["stars@latest"])
    five = stars.labels.index("five")
    assert (parts[1] == 1).tolist() == (stars.numbers == five).tolist()


def test_scores_have_a_head_of_one_answer_whatever_their_scale(inputs: Inputs) -> None:
    found = joined(inputs, {"dataset": "warmth", "has_scores": True}, {"dataset": "lengths"})
    assert found.others == (1, 3)
    parts = np.split(found.numbers, np.cumsum([24, 200]))
    assert [set(part.tolist()) for part in parts] == [{0, 1}, {2}, {3, 4, 5}]
    targets = found.targets[24:224]
    assert (targets.mean(), targets.std()) == pytest.approx((0.0, 1.0), abs=1e-5)
    raw = [float(label or 0) for _, label in warmth(sentences(200, seed=8))]
    assert np.corrcoef(targets, raw)[0, 1] == pytest.approx(1.0)
    assert not found.targets[:24].any()


@pytest.mark.parametrize("score", ["much", "nan", "inf"])
def test_a_score_that_is_no_number_is_named(score: str, tmp_path: Path) -> None:
    rows: list[Row] = [("cold", "1.5"), ("warm", score)]
    bad = build_records(tmp_path, rows, "bad", "number")
    with pytest.raises(DataError, match=f"{score!r} is no number") as refused:
        read_scores(bad)
    assert "record 1" in str(refused.value.where)


def test_scores_that_are_all_the_same_are_refused(tmp_path: Path) -> None:
    flat = build_records(tmp_path, [("cold", "1"), ("warm", "1.0")], "flat", "number")
    with pytest.raises(DataError, match="one score only: 1"):
        read_scores(flat)
    with pytest.raises(SpecError, match="no names to map"):
        TrainSpec.parse({
            "dataset": "a", "sources": [{"dataset": "b", "has_scores": True, "labels": {"1": "x"}}],
        })  # fmt: skip


def test_labels_are_weighed_within_their_scheme_and_by_their_source(inputs: Inputs) -> None:
    found = joined(inputs, {"dataset": "lengths", "weight": 2.0})
    weights = row_weights(found, "balanced")
    own = class_weights(found.numbers[24:] - 2, 3, "balanced")
    np.testing.assert_allclose(weights[24:], 2.0 * own[found.numbers[24:] - 2], rtol=1e-6)
    assert weights[:24].mean() == pytest.approx(1.0)
    assert weights[24:].mean() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"dataset": "stars", "labels": {"one": "negative"}}, "does not say what 'five' is"),
        ({"dataset": "stars", "labels": {"one": "negativ", "five": "positive"}}, "no label"),
    ],
)
def test_a_mapping_that_is_not_whole_is_named(
    inputs: Inputs, source: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        joined(inputs, source)


def spec_for(encoder: Path, **changes: Any) -> TrainSpec:
    values: dict[str, Any] = {
        "dataset": "few", "validation": "check", "model": str(encoder), "epochs": 4,
        "batch_size": 16, "learning_rate": 3e-3, "max_tokens": 24, "precision": "float32",
    }  # fmt: skip
    return TrainSpec(**{**values, **changes})


@pytest.mark.parametrize(("num_workers", "changes"), [(1, {}), (2, {}), (2, {"strategy": "fsdp"})])
def test_what_others_know_helps_and_their_heads_are_gone_at_the_end(
    inputs: Inputs, tmp_path: Path, num_workers: int, changes: dict[str, Any]
) -> None:
    from transformers import AutoModelForSequenceClassification

    encoder = write_encoder(tmp_path / "encoder")
    sources = [{"dataset": "stars", "labels": MAPPING}, {"dataset": "lengths", "weight": 0.2}]
    alone = FolderRun(tmp_path / "alone", inputs).run(spec_for(encoder))["model"]
    run = FolderRun(tmp_path / "joint", inputs, num_workers=num_workers)
    model = run.run(spec_for(encoder, sources=sources, **changes))["model"]
    assert model.summary["macro_recall"] > alone.summary["macro_recall"] + 0.05
    assert model.summary["labels"] == SCHEME.split("|")
    stock = AutoModelForSequenceClassification.from_pretrained(model.path)
    assert stock.config.num_labels == 2
    predictor = load_predictor(model.path)
    assert predictor.predict(["a fine day"]).shape == (1, 2)
    assert "head-to-cut.json" not in {path.name for path in model.path.iterdir()}


@pytest.mark.parametrize(
    "source", [{"dataset": "stars"}, {"dataset": "warmth", "has_scores": True}]
)
def test_a_head_of_its_own_alone_teaches_the_encoder_only(
    source: dict[str, Any], inputs: Inputs, tmp_path: Path
) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    run = FolderRun(tmp_path / "run", inputs)
    model = run.run(spec_for(encoder, sources=[source], epochs=6))["model"]
    assert model.summary["labels"] == ["negative", "positive"]
    left = FolderRun(tmp_path / "left", inputs).run(
        spec_for(encoder, sources=[source], epochs=6, leave_out=source["dataset"])
    )["model"]
    assert model.summary["macro_recall"] > left.summary["macro_recall"]


def test_what_is_not_there_cannot_be_left_out(inputs: Inputs, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    spec = spec_for(encoder, sources=[{"dataset": "stars"}], leave_out="star")
    with pytest.raises(SpecError, match="'star' is none of the data sets") as caught:
        FolderRun(tmp_path / "run", inputs).run(spec)
    assert "stars" in caught.value.next_step
