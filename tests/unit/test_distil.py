"""Distillation: a stock student with fewer layers and words that answers as its teacher does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import (
    build_records,
    sentences,
    texts_of,
    write_classifier,
    write_encoder,
    write_tokenizer,
)
from tokenizers import Tokenizer

from workbench.core.artifact import Artifact, Draft, seal
from workbench.core.errors import DataError, RunPaused, SpecError, StageError
from workbench.core.laws import FolderRun
from workbench.models.folder import labels_of
from workbench.models.predictor import load_predictor
from workbench.train.distil import DistilSpec
from workbench.train.student import make_student
from workbench.train.train import TrainSpec
from workbench.train.vocabulary import prune_vocabulary

Inputs = dict[str, Artifact]
TEXTS = texts_of(sentences(120, seed=5))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Offer a trained teacher, a transfer set without labels, and a set to check on."""
    folder = tmp_path_factory.mktemp("distil")
    sets = {
        "train@latest": build_records(folder, sentences(200), "train"),
        "free@latest": build_records(folder, [(t, None) for t in TEXTS], "free", None),
        "check@latest": build_records(folder, sentences(60, seed=1), "check"),
    }
    spec = TrainSpec(
        name="teacher", dataset="train", model=str(write_encoder(folder / "encoder")), epochs=3,
        batch_size=16, learning_rate=3e-3, max_tokens=24, precision="float32",
    )  # fmt: skip
    return {**sets, "teacher@latest": FolderRun(folder / "run", sets).run(spec)["model"]}


def spec_for(**changes: Any) -> DistilSpec:
    values: dict[str, Any] = {
        "teacher": "teacher", "datasets": ["free", "train"], "num_layers": 2, "epochs": 2,
        "batch_size": 16, "learning_rate": 2e-3, "precision": "float32", "most_words": 250,
    }  # fmt: skip
    return DistilSpec(**{**values, **changes})


def test_a_student_answers_as_its_teacher_and_is_a_stock_model(
    inputs: Inputs, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    run = FolderRun(tmp_path, inputs, num_workers=2)
    student = run.run(spec_for(validation="check"))["model"]
    teacher = inputs["teacher@latest"]
    assert student.summary["layers"] == 2
    assert student.summary["parameters"] < 0.75 * teacher.summary["parameters"]
    assert student.summary["labels"] == teacher.summary["labels"]
    answers = [
        load_predictor(model.path).predict(TEXTS).argmax(axis=1) for model in (teacher, student)
    ]
    assert (answers[0] == answers[1]).mean() > 0.95
    stock = AutoModelForSequenceClassification.from_pretrained(student.path)
    assert stock.config.num_hidden_layers == 2
    assert stock.config.vocab_size == student.summary["vocabulary"]
    tokenizer = AutoTokenizer.from_pretrained(student.path)
    own = Tokenizer.from_file(str(student.path / "tokenizer.json"))
    assert [tokenizer(text)["input_ids"] for text in TEXTS] == [own.encode(t).ids for t in TEXTS]
    assert "teacher-scores" in run.checkpoints()


def test_a_paused_distillation_keeps_the_teachers_answers_and_ends_equal(
    inputs: Inputs, tmp_path: Path
) -> None:
    spec = spec_for(checkpoint_seconds=0)
    paused = FolderRun(tmp_path / "paused", inputs, pause_after=2)
    with pytest.raises(RunPaused):
        paused.run(spec)
    resumed_run = FolderRun(tmp_path / "paused", inputs)
    resumed = resumed_run.run(spec)["model"]
    notes = {facts["note"] for kind, facts in resumed_run.events if kind == "progress"}
    assert "the teacher answers" not in notes
    assert resumed.version == FolderRun(tmp_path / "calm", inputs).run(spec)["model"].version


def test_labels_of_another_scheme_do_not_disturb(inputs: Inputs, tmp_path: Path) -> None:
    other = build_records(tmp_path, [(t, "hateful") for t in TEXTS], "other", "hateful|not")
    run = FolderRun(tmp_path / "run", {**inputs, "other@latest": other})
    student = run.run(spec_for(datasets=["other"], epochs=1, vocabulary="teacher"))["model"]
    assert student.summary["labels"] == ["negative", "positive"]


def test_a_student_with_more_layers_than_its_teacher_is_refused(
    inputs: Inputs, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="3 layers, the student shall have 5"):
        make_student(inputs["teacher@latest"].path, tmp_path / "student", 5, None)


def test_a_teacher_whose_weights_are_not_as_it_says_is_refused(
    inputs: Inputs, tmp_path: Path
) -> None:
    odd = Path(shutil.copytree(inputs["teacher@latest"].path, tmp_path / "odd"))
    config = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(StageError, match="weights of 3 layers, its configuration says 4"):
        make_student(odd, tmp_path / "student", 2, None)


def test_an_empty_transfer_set_is_named(inputs: Inputs, tmp_path: Path) -> None:
    nothing = build_records(tmp_path, [], "nothing")
    run = FolderRun(tmp_path / "run", {**inputs, "nothing@latest": nothing})
    with pytest.raises(DataError, match="no records"):
        run.run(spec_for(datasets=["nothing"]))


def test_an_untrained_student_with_all_layers_and_seen_words_is_its_teacher(
    tmp_path: Path,
) -> None:
    teacher = write_classifier(tmp_path / "teacher", write_encoder(tmp_path / "encoder"))
    content = json.loads((teacher / "tokenizer.json").read_text())
    vocabulary = prune_vocabulary(content, _counts(teacher, TEXTS), most=10_000)
    make_student(teacher, tmp_path / "student", 3, vocabulary)
    assert labels_of(tmp_path / "student") == labels_of(teacher)
    expected = load_predictor(teacher).predict(TEXTS)
    actual = load_predictor(tmp_path / "student").predict(TEXTS)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


# --- vocabulary ------------------------------------------------------------------------------


def _counts(folder: Path, texts: list[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = np.concatenate([encoding.ids for encoding in tokenizer.encode_batch(texts)])
    return np.bincount(ids.astype(np.int64), minlength=tokenizer.get_vocab_size())


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, texts_of(sentences(400)))
    return folder


@given(
    seen=st.lists(st.sampled_from(" ".join(TEXTS).split()), min_size=1, max_size=12), data=st.data()
)
def test_words_that_were_seen_are_cut_as_before(
    tokenizer_folder: Path, seen: list[str], data: st.DataObject
) -> None:
    content = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    full = Tokenizer.from_str(json.dumps({**content, "padding": None, "truncation": None}))
    pruned = prune_vocabulary(content, _counts(tokenizer_folder, seen), most=10_000)
    small = Tokenizer.from_str(json.dumps(pruned.tokenizer))
    text = " ".join(data.draw(st.lists(st.sampled_from(seen), min_size=1)))
    old, new = full.encode(text), small.encode(text)
    assert new.tokens == old.tokens
    assert [int(pruned.kept[number]) for number in new.ids] == old.ids
    assert small.get_vocab_size() == len(pruned.kept) < full.get_vocab_size()


def test_unseen_words_fall_apart_into_characters_and_are_not_lost(tokenizer_folder: Path) -> None:
    content = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    pruned = prune_vocabulary(content, _counts(tokenizer_folder, ["rain"]), most=1)
    small = Tokenizer.from_str(json.dumps(pruned.tokenizer))
    assert small.encode("film").tokens == ["[CLS]", "f", "##i", "##l", "##m", "[SEP]"]
    assert small.token_to_id("[PAD]") == 0


def test_a_vocabulary_that_is_no_wordpiece_is_refused() -> None:
    with pytest.raises(SpecError, match="this one is BPE"):
        prune_vocabulary({"model": {"type": "BPE"}}, np.zeros(3, np.int64), most=10)


def test_a_teacher_artifact_may_come_from_anywhere(inputs: Inputs, tmp_path: Path) -> None:
    draft = Draft("model", "empty", tmp_path / "staging")
    (draft.path / "note.txt").write_text("no model")
    empty = seal(draft, tmp_path / "artifacts")
    run = FolderRun(tmp_path / "run", {**inputs, "empty@latest": empty})
    with pytest.raises(DataError, match="no classifier"):
        run.run(spec_for(teacher="empty"))
