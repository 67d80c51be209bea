"""Evaluation on small real models: what is counted, refused, timed and shown."""

import json
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_classifier import LABELS, build_dataset, build_model, golden_rows
from tiny_encoder import build_native

from workbench.core.artifact import Draft, seal
from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.core.page import element, figure, foreign_text, probability, ticks, write_page
from workbench.data.records import read_records, write_records
from workbench.tasks.baseline import train_baseline
from workbench.tasks.evaluate import EvaluateSpec
from workbench.tasks.evidence import rescore
from workbench.tasks.latency import speed_report, time_in_turns
from workbench.tasks.predictions import answers, read_predictions, with_predictions

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)> so bad"


def evaluated(folder, rows, *, train=None, models=None, prompt=None, inputs=(), **more):
    """Run an evaluation on small data; return the report artifact and the run."""
    test = build_dataset(folder, rows, name="test")
    train = train or build_dataset(folder, golden_rows(6), name="train")
    models = models or {}
    spec = EvaluateSpec(
        test=test.reference, train=train.reference,
        prompts={"prompt": prompt.reference} if prompt else {},
        models={name: model.reference for name, model in models.items()},
        **{"resamples": 100, "measure_speed": False, **more},
    )  # fmt: skip
    known = [test, train, *models.values(), *([prompt] if prompt else [])]
    run = FolderRun(folder / "run", {a.reference: a for a in known})
    return run.run(spec)["report"], run


def report_of(artifact):
    return json.loads((artifact.path / "report.json").read_text())


def labelled(folder, rows, scores, abstain_below=0.0):
    records = read_records(build_dataset(folder, rows, name="prompted-rows"))
    draft = Draft("dataset", "prompted", folder / "staging" / "prompted")
    write_records(draft, with_predictions(records, LABELS, scores, abstain_below))
    return seal(draft, folder / "artifacts")


def tags_of(page):
    """Return the tags that a browser would see, in order."""
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(page)
    return tags


def test_the_table_holds_every_system_beside_the_baseline(tmp_path):
    models = {"right": build_model(tmp_path), "wrong": build_model(tmp_path, "wrong", -1.0)}
    artifact, run = evaluated(tmp_path, golden_rows(5), models=models)
    report = report_of(artifact)
    assert [(s["name"], s["kind"]) for s in report["systems"]] == [
        ("baseline", "baseline"), ("right", "int8 model"), ("wrong", "int8 model"),
    ]  # fmt: skip
    baseline, right, wrong = report["systems"]
    assert right["value"] == 1.0
    assert right["confusion"] == [[5, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0]]
    assert right["per_label"]["neutral"] == {"recall": 1.0, "precision": 1.0, "f1": 1.0, "rows": 5}
    assert wrong["value"] == 0.0
    assert wrong["per_label"]["neutral"]["precision"] == 0.0
    assert baseline["paired"] is None
    assert wrong["paired"]["against"] == "baseline"
    assert wrong["paired"]["difference"] == pytest.approx(-baseline["value"])
    assert all(system["megabytes"] > 0 for system in report["systems"])
    assert artifact.summary["systems"]["wrong"]["value"] == 0.0
    assert ("rows", {"read": 15, "written": 15}) in run.events


def test_the_kept_answers_are_one_label_and_all_scores_per_system(tmp_path):
    artifact, _ = evaluated(tmp_path, golden_rows(2), models={"right": build_model(tmp_path)})
    table = pq.read_table(artifact.path / "predictions.parquet")
    assert table.column_names == [
        "id", "label", "group",
        *(c for s in ("baseline", "right")
          for c in (f"predicted_label:{s}", *(f"score:{s}:{name}" for name in LABELS))),
    ]  # fmt: skip
    scores = np.stack([table[f"score:right:{name}"].to_numpy() for name in LABELS], axis=1)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert table["predicted_label:right"].to_pylist() == table["label"].to_pylist()


def test_rows_that_cannot_be_judged_are_counted_with_the_reason(tmp_path):
    rows = [*golden_rows(3), ("no label here", None), ("bad", "furious"), ("good", "furious")]
    artifact, run = evaluated(tmp_path, rows)
    report = report_of(artifact)
    assert report["left_out"] == {"no label": 1, "label outside the scheme": 2}
    assert report["rows"] == 9
    assert ("rows", {"read": 12, "written": 9}) in run.events
    assert any("3 test rows cannot be judged" in str(facts) for _, facts in run.events)
    assert (
        "1 with no label, 2 with label outside the scheme"
        in (artifact.path / "report.html").read_text()
    )


def test_texts_of_the_training_set_are_counted_in_the_test_set(tmp_path):
    rows = [("BAD  so", "negative"), ("good unseen", "positive"), ("plain unseen", "neutral")]
    artifact, _ = evaluated(tmp_path, rows)
    assert report_of(artifact)["seen_in_training"] == 1


def test_a_test_set_without_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match="no row with one of the labels"):
        evaluated(tmp_path, [("so", None)])


def test_a_row_that_would_count_twice_is_refused(tmp_path):
    table = read_records(build_dataset(tmp_path, golden_rows(2), name="once"))
    draft = Draft("dataset", "train", tmp_path / "staging" / "twice")
    write_records(draft, pa.concat_tables([table, table]))
    with pytest.raises(DataError, match="6 ids occur more than once"):
        evaluated(tmp_path, golden_rows(2), train=seal(draft, tmp_path / "artifacts"))


def test_another_label_scheme_is_refused(tmp_path):
    table = read_records(build_dataset(tmp_path, golden_rows(2), name="other"))
    column = table.column_names.index("label_scheme")
    draft = Draft("dataset", "other-scheme", tmp_path / "staging" / "other-scheme")
    write_records(draft, table.set_column(column, "label_scheme", pa.array(["bad|good"] * 6)))
    with pytest.raises(DataError, match=r"do not follow one label scheme: bad\|good, negative"):
        evaluated(tmp_path, golden_rows(2), train=seal(draft, tmp_path / "artifacts"))


def test_a_model_of_other_labels_is_refused(tmp_path):
    model = build_model(tmp_path)
    config = json.loads((model.path / "config.json").read_text())
    config["id2label"] = {"0": "no", "1": "yes", "2": "perhaps"}
    (model.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"predicts no\|perhaps\|yes"):
        evaluated(tmp_path, golden_rows(2), models={"m": model})


def test_a_prompt_is_judged_by_its_answers_joined_by_id(tmp_path):
    rows = golden_rows(4)
    scores = np.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]] * 4, np.float32)
    prompt = labelled(tmp_path, rows, scores, abstain_below=0.5)
    artifact, _ = evaluated(tmp_path, rows, prompt=prompt)
    system = report_of(artifact)["systems"][1]
    assert (system["name"], system["abstained"], system["megabytes"]) == ("prompt", 4, None)
    assert system["value"] == pytest.approx(2 / 3)
    assert system["confusion"] == [[4, 0, 0, 0], [0, 0, 0, 4], [0, 0, 4, 0]]
    assert "no answer" in (artifact.path / "report.html").read_text()


def test_a_prompt_that_misses_test_rows_is_refused(tmp_path):
    prompt = labelled(tmp_path, golden_rows(1), np.full((3, 3), 1 / 3, np.float32))
    with pytest.raises(DataError, match="3 of 6 test rows are not in"):
        evaluated(tmp_path, golden_rows(2), prompt=prompt)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"models": {"baseline": "m@1"}}, "cannot be named 'baseline'"),
        ({"models": {"../up": "m@1"}}, "pattern"),
        ({"reference_system": "teacher"}, "'teacher' is not among baseline"),
        ({"metric": "auc"}, "macro_recall"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(values, what):
    with pytest.raises(SpecError, match=what):
        EvaluateSpec.parse({"test": "t@1", "train": "t@2", **values})


@pytest.mark.slow
def test_speed_is_told_against_the_best_full_precision_runtime(tmp_path):
    models = {"teacher": build_native(tmp_path), "student": build_model(tmp_path)}
    artifact, _ = evaluated(
        tmp_path, golden_rows(3), models=models, measure_speed=True, speed_texts=5
    )
    timing = json.loads((artifact.path / "timing.json").read_text())
    assert timing["best_fp32_model"] == "teacher"
    fp32 = timing["fp32_milliseconds_by_runtime"]
    assert set(fp32) == {"ONNX Runtime fp32", "eager torch fp32"}
    assert timing["best_fp32_milliseconds"] == min(fp32.values())
    assert set(timing["systems"]) == {"baseline", "teacher", "student"}
    student = timing["systems"]["student"]
    assert timing["speedup_vs_best_fp32"]["student"] == pytest.approx(
        timing["best_fp32_milliseconds"] / student["milliseconds_per_text"], rel=1e-3
    )
    assert artifact.summary["speed"] == timing
    assert "milliseconds" not in (artifact.path / "report.json").read_text()
    assert [s["kind"] for s in report_of(artifact)["systems"]][1:] == ["fp32 model", "int8 model"]


def test_systems_take_turns_text_by_text():
    calls = []
    systems = {name: lambda texts, name=name: calls.append((name, *texts)) for name in "ab"}
    measured = time_in_turns(systems, ["one", "two"], after_each=lambda _: None)
    assert calls[:4] == [("a", "one"), ("b", "one"), ("b", "two"), ("a", "two")]
    assert len(calls) == 4 * 8
    assert set(measured) == {"a", "b"}


def test_without_a_full_model_no_speed_up_is_told():
    measured = {"baseline": {"milliseconds_per_text": 1.0}}
    timing = speed_report(measured, 5, None)
    assert timing["best_fp32_runtime"] is None
    assert timing["speedup_vs_best_fp32"] == {}


def test_hostile_text_labels_and_names_stay_text_in_the_page(tmp_path):
    rows = [*golden_rows(3), (HOSTILE, "neutral"), ("\x00\x1b[31m bad\u202e", "positive")]
    artifact, _ = evaluated(tmp_path, rows, models={"right": build_model(tmp_path, "other")})
    page = (artifact.path / "report.html").read_text()
    assert not {"script", "img", "a", "link", "iframe"} & set(tags_of(page))
    assert "&lt;script&gt;" in page
    assert "\x00" not in page
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_an_element_cannot_be_made_of_text(tmp_path):
    body = [element("p", HOSTILE, element("b", "<b>"), HOSTILE, title='"><script>')]
    write_page(tmp_path / "page.html", "</title><script>", body)
    page = (tmp_path / "page.html").read_text()
    assert tags_of(page) == [
        "html",
        "head",
        "meta",
        "meta",
        "meta",
        "title",
        "style",
        "body",
        "p",
        "b",
    ]
    assert page.count("&lt;script&gt;") == 3


def test_of_a_very_long_text_the_beginning_and_the_length_are_shown():
    shown = foreign_text("x" * 5000)
    assert shown.text == "x" * 1000 + "… (5,000 characters)"
    assert foreign_text("short").text == "short"


def test_figures_are_written_as_people_read_them():
    assert [figure(v) for v in (0.7084, 1.0, 0.0, None)] == [".708", "1.000", ".000", "–"]
    assert [figure(v, signed=True) for v in (0.011, -0.011, -0.0001)] == ["+.011", "−.011", "+.000"]
    assert [probability(p) for p in (0.05, 0.00002, 0.0)] == [".0500", "2e-05", "< 1e-300"]
    assert ticks(0.52, 0.71) == [0.55, 0.6, 0.65, 0.7]


def test_the_baseline_learns_words_and_gives_probabilities():
    rows = golden_rows(6)
    baseline = train_baseline([text for text, _ in rows], [label for _, label in rows])
    scores = baseline.predict(["so bad", "good", "plain"])
    assert answers(scores, baseline.labels) == ["negative", "positive", "neutral"]
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert baseline.predict([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("texts", "truth", "what"),
    [(["a", "b"], ["x", "x"], "needs two labels"), ([" ", ""], ["x", "y"], "no words")],
)
def test_a_training_set_that_teaches_nothing_is_refused(texts, truth, what):
    with pytest.raises(DataError, match=what):
        train_baseline(texts, truth)


def test_predictions_written_are_read_back_in_any_label_order():
    records = pa.table({"id": ["1", "2"]})
    scores = np.array([[0.7, 0.3], [0.45, 0.55]], np.float32)
    table = with_predictions(records, ["no", "yes"], scores, abstain_below=0.6)
    predicted, back = read_predictions(table, ["yes", "no"], "rows")
    assert predicted == ["no", None]
    np.testing.assert_array_equal(back, scores[:, ::-1])
    assert with_predictions(table, ["no", "yes"], scores).column_names == table.column_names
    with pytest.raises(DataError, match=r"predicts no\|yes"):
        read_predictions(table, ["a", "b"], "rows")
    with pytest.raises(DataError, match="no predictions"):
        read_predictions(records, ["no", "yes"], "rows")


def test_several_prompts_stand_beside_each_other_and_each_group_is_told(tmp_path):
    rows = golden_rows(4)
    truth = [label for _, label in rows]
    right = np.eye(3, dtype=np.float32)[[LABELS.index(label) for label in truth]]
    test = build_dataset(tmp_path, rows, name="test")
    train = build_dataset(tmp_path, golden_rows(6), name="train")
    good, poor = (
        labelled(tmp_path / name, rows, scores)
        for name, scores in (("good", right), ("poor", np.roll(right, 1, axis=1)))
    )
    spec = EvaluateSpec(
        test=test.reference, train=train.reference, resamples=100, measure_speed=False,
        prompts={"plain": good.reference, "odd": poor.reference}, wished_difference=0.1,
    )  # fmt: skip
    run = FolderRun(tmp_path / "run", {a.reference: a for a in (test, train, good, poor)})
    artifact = run.run(spec)["report"]
    systems = {system["name"]: system for system in report_of(artifact)["systems"]}
    assert list(systems) == ["baseline", "plain", "odd"]
    assert (systems["plain"]["value"], systems["odd"]["value"]) == (1.0, 0.0)
    assert systems["plain"]["groups"] == {"tiny": {"rows": len(rows), "value": 1.0}}
    assert systems["odd"]["paired"]["rows_needed"] >= 1
    page = (artifact.path / "report.html").read_text()
    assert "Each group" in page
    assert "rows needed" in page
    assert rescore(artifact)["equal"]


@pytest.mark.parametrize("names", [{"baseline": "a@1"}, {"student": "a@1"}])
def test_a_name_stands_for_one_system(names):
    with pytest.raises(SpecError, match="choose another name"):
        EvaluateSpec.parse(
            {"test": "t@1", "train": "t@1", "prompts": names, "models": {"student": "m@1"}}
        )
