"""The stage laws, and the law that every figure follows from the kept answers."""

import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_classifier import LABELS, build_dataset, build_model, golden_rows

from workbench.core.artifact import Artifact
from workbench.core.errors import RunPaused
from workbench.core.laws import FolderRun, StageLaws
from workbench.tasks import evaluate as module
from workbench.tasks.evaluate import EvaluateSpec
from workbench.tasks.evidence import Question, figures, rescore

label = st.sampled_from(LABELS)
answer = st.sampled_from([*LABELS, None])


def example(folder):
    test = build_dataset(folder, golden_rows(4), name="test")
    train = build_dataset(folder, [(f"{t} really", y) for t, y in golden_rows(6)], name="train")
    models = {"right": build_model(folder, "right"), "wrong": build_model(folder, "wrong", -1.0)}
    spec = EvaluateSpec(
        test=test.reference, train=train.reference, resamples=100, measure_speed=False,
        models={name: model.reference for name, model in models.items()},
    )  # fmt: skip
    return spec, {a.reference: a for a in (test, train, *models.values())}


class TestEvaluateLaws(StageLaws):
    def example(self, folder):
        return example(folder)


@given(st.lists(st.tuples(label, answer, answer), min_size=1, max_size=40))
def test_the_figures_are_a_pure_function_of_the_answers(rows):
    truth, first, second = zip(*rows, strict=True)
    question = Question("macro_recall", LABELS, 100, 0, "baseline")
    given_answers = {"baseline": first, "other": second}
    once = figures(question, truth, given_answers)
    assert once == figures(question, truth, given_answers)
    assert json.loads(json.dumps(once, allow_nan=False)) == once
    for system in once.values():
        assert 0 <= system["low"] <= system["high"] <= 1
        assert sum(map(sum, system["confusion"])) == len(rows)


def test_rescoring_gives_the_same_figures(tmp_path):
    spec, inputs = example(tmp_path)
    report = FolderRun(tmp_path / "run", inputs).run(spec)["report"]
    again = rescore(report)
    assert again["equal"]
    assert again["differences"] == []
    assert set(again["systems"]) == {"baseline", "right", "wrong"}


def test_rescoring_names_every_figure_that_was_touched(tmp_path):
    spec, inputs = example(tmp_path)
    report = FolderRun(tmp_path / "run", inputs).run(spec)["report"]
    path = report.path / "report.json"
    content = json.loads(path.read_text())
    content["systems"][1]["accuracy"] = 0.5
    content["systems"][2]["paired"]["p_holm"] = 0.0
    path.write_text(json.dumps(content))
    touched = {(d["system"], d["figure"]) for d in rescore(report)["differences"]}
    assert touched == {("right", "accuracy"), ("wrong", "paired.p_holm")}


def test_rescoring_finds_an_answer_that_was_changed(tmp_path):
    spec, inputs = example(tmp_path)
    report = FolderRun(tmp_path / "run", inputs).run(spec)["report"]
    table = pq.read_table(report.path / "predictions.parquet")
    column = table.column_names.index("predicted_label:wrong")
    pq.write_table(
        table.set_column(column, "predicted_label:wrong", table["label"]),
        report.path / "predictions.parquet",
    )
    found = rescore(report)
    assert not found["equal"]
    assert {d["system"] for d in found["differences"]} == {"wrong"}


@pytest.mark.parametrize("pause_after", range(1, 10))
def test_a_run_paused_anywhere_ends_equal_and_answers_no_part_twice(
    tmp_path, monkeypatch, pause_after
):
    monkeypatch.setattr(module, "_CHUNK", 5)  # twelve rows: three parts a system
    spec, inputs = example(tmp_path)
    whole = FolderRun(tmp_path / "whole", inputs)
    expected: Artifact = whole.run(spec)["report"]
    with pytest.raises(RunPaused):
        FolderRun(tmp_path / "run", inputs, pause_after=pause_after).run(spec)
    resumed = FolderRun(tmp_path / "run", inputs)
    assert resumed.run(spec)["report"].version == expected.version
    assert resumed.num_written_checkpoints == whole.num_written_checkpoints - pause_after
