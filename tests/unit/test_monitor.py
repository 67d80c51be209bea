"""Drift that is there is found and explained; sameness raises no alarm; hostile text stays text."""

import json
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_classifier import LABELS, build_model

from workbench.core.artifact import Draft, seal
from workbench.core.errors import DataError, RunPaused, SpecError
from workbench.core.laws import FolderRun, StageLaws
from workbench.data.records import SCHEMA, write_records
from workbench.monitor import drift as module
from workbench.monitor.domain_classifier import tell_apart
from workbench.monitor.drift import MonitorSpec
from workbench.monitor.shift_tests import category_shift, number_shift
from workbench.monitor.verdict import Finding, decide
from workbench.tasks.predictions import with_predictions

TRAIN = [
    "the",
    "train",
    "was",
    "late",
    "again",
    "and",
    "nobody",
    "told",
    "us",
    "why",
    "it",
    "stood",
]
PRICE = ["tariff", "refund", "price", "parcel", "customs", "fee"]
HOSTILE = "<script>alert(1)</script> <svg onload=alert(2)>"


def texts(num_texts, seed, new_words=0.0):
    """Draw texts word by word; ``new_words`` is the chance that a word is about prices."""
    random = np.random.default_rng(seed)
    return [
        " ".join(
            random.choice(PRICE if random.random() < new_words else TRAIN)
            for _ in range(random.integers(4, 12))
        )
        for _ in range(num_texts)
    ]


def dataset(folder, name, given_texts, languages=None, scores=None):
    records = [
        {
            "id": f"{n:05d}", "text": text, "source": name, "provenance": f"{name}#{n}",
            "language": languages[n] if languages else None,
        }
        for n, text in enumerate(given_texts)
    ]  # fmt: skip
    table = pa.Table.from_pylist(records, schema=SCHEMA)
    draft = Draft("dataset", name, folder / "staging" / name)
    write_records(draft, table if scores is None else with_predictions(table, LABELS, scores))
    return seal(draft, folder / "artifacts")


def monitored(folder, reference, live, model=None, **more):
    """Run the monitor; return report.json, the page and the artifact."""
    spec = MonitorSpec(
        reference=reference.reference, live=live.reference, model=model and model.reference, **more
    )
    inputs = {a.reference: a for a in (reference, live, model) if a is not None}
    artifact = FolderRun(folder / "run", inputs).run(spec)["report"]
    report = json.loads((artifact.path / "report.json").read_text())
    return report, (artifact.path / "report.html").read_text(), artifact


def tags_of(page):
    tags = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.add(tag)
    parser.feed(page)
    return tags


class TestMonitorLaws(StageLaws):
    def example(self, folder):
        reference = dataset(folder, "before", texts(60, 1))
        live = dataset(folder, "now", texts(40, 2, new_words=0.3))
        model = build_model(folder)
        spec = MonitorSpec(
            reference=reference.reference, live=live.reference, model=model.reference, sample=50
        )
        return spec, {a.reference: a for a in (reference, live, model)}


def test_planted_drift_is_found_and_its_words_are_named(tmp_path):
    report, page, artifact = monitored(
        tmp_path, dataset(tmp_path, "before", texts(400, 1)),
        dataset(tmp_path, "now", texts(300, 2, new_words=0.15)),
    )  # fmt: skip
    verdict = report["verdict"]
    assert verdict["drift"]
    assert verdict["action"] == "look"
    assert "more frequent now" in verdict["why"][0]
    named = {word["word"] for word in report["words"] if word["weight"] > 0}
    assert named == set(PRICE)
    assert all(w["live_share"] > w["reference_share"] for w in report["words"] if w["weight"] > 0)
    assert artifact.summary["drift"] is True
    assert "⚠ Drift found" in page


def test_texts_of_the_same_source_raise_no_alarm(tmp_path):
    report, page, _ = monitored(
        tmp_path, dataset(tmp_path, "before", texts(400, 1)),
        dataset(tmp_path, "now", texts(300, 2)),
    )  # fmt: skip
    assert report["verdict"]["drift"] is False
    assert report["verdict"]["why"] == []
    assert report["verdict"]["action"] == "none"
    assert "✓ No drift found" in page


def test_false_alarms_keep_to_their_rate():
    alarms = [
        tell_apart(texts(80, 2 * seed), texts(60, 2 * seed + 1), seed=seed).p < 0.1
        for seed in range(60)
    ]
    assert sum(alarms) <= 13  # 6 expected at most; more than 13 has a chance of 1 in 300


def test_longer_texts_are_found_by_length(tmp_path):
    longer = [f"{a} {b}" for a, b in zip(texts(200, 2), texts(200, 3), strict=True)]
    before, now = dataset(tmp_path, "before", texts(200, 1)), dataset(tmp_path, "now", longer)
    report, _, _ = monitored(tmp_path, before, now)
    found = {test["test"] for test in report["tests"] if test["drift"]}
    assert "text length" in found
    assert any("Text lengths have changed" in why for why in report["verdict"]["why"])


def test_another_mix_of_languages_is_found_and_told(tmp_path):
    before = dataset(tmp_path, "before", texts(200, 1), ["en"] * 180 + ["de"] * 20)
    now = dataset(tmp_path, "now", texts(200, 2), ["en"] * 120 + ["de"] * 60 + [None] * 20)
    report, page, _ = monitored(tmp_path, before, now)
    mix = next(test for test in report["tests"] if test["test"] == "language mix")
    assert mix["drift"]
    assert mix["facts"]["live_shares"] == {"en": 0.6, "de": 0.3, "(not known)": 0.1}
    assert "en 60% of texts, 90% before" in report["verdict"]["why"][-1]
    assert "(not known)" in page


def test_what_cannot_be_tested_is_said_with_the_reason(tmp_path):
    report, page, _ = monitored(
        tmp_path, dataset(tmp_path, "before", texts(30, 1)), dataset(tmp_path, "now", texts(30, 2))
    )
    assert report["not_tested"] == {
        "language mix": "the language of one side is not known",
        "predicted labels": "no model was named and the data sets hold no predictions",
        "confidence": "no model was named and the data sets hold no predictions",
    }
    assert "Not tested." in page


def test_other_answers_of_the_model_ask_for_more_than_a_look(tmp_path):
    before = dataset(tmp_path, "before", ["good so", "bad so", "plain so"] * 40)
    now = dataset(tmp_path, "now", ["bad so", "bad so", "plain so"] * 40)
    report, page, _ = monitored(tmp_path, before, now, build_model(tmp_path))
    verdict = report["verdict"]
    assert verdict["action"] == "recalibrate or retrain"
    assert any("negative 67% of texts, 33% before" in why for why in verdict["why"])
    assert "Mix of predicted labels" in page


def test_predictions_that_both_sides_hold_are_compared_without_a_model(tmp_path):
    random = np.random.default_rng(0)
    sure, unsure = (random.dirichlet([a] * 3, 200).astype(np.float32) for a in (0.2, 5.0))
    before = dataset(tmp_path, "before", texts(200, 1), scores=sure)
    now = dataset(tmp_path, "now", texts(200, 2), scores=unsure)
    report, _, _ = monitored(tmp_path, before, now)
    assert {t["test"]: t["drift"] for t in report["tests"]} == {
        "words": False, "text length": False, "mix of predicted labels": False, "confidence": True,
    }  # fmt: skip


def test_too_few_texts_are_refused(tmp_path):
    with pytest.raises(DataError, match="19 texts, too few"):
        monitored(
            tmp_path, dataset(tmp_path, "before", texts(50, 1)),
            dataset(tmp_path, "now", texts(19, 2)),
        )  # fmt: skip


def test_a_spec_that_makes_no_sense_is_refused():
    with pytest.raises(SpecError, match="alpha"):
        MonitorSpec.parse({"reference": "a@1", "live": "b@1", "alpha": 0})


def test_texts_without_any_word_are_compared_too(tmp_path):
    report, _, _ = monitored(
        tmp_path, dataset(tmp_path, "before", [" "] * 30), dataset(tmp_path, "now", [" "] * 30)
    )
    assert report["verdict"]["drift"] is False
    assert report["words"] == []


def test_hostile_texts_words_and_languages_stay_text_in_the_page(tmp_path):
    before = dataset(tmp_path, "before", texts(100, 1), ["en"] * 100)
    now = dataset(tmp_path, "now", [HOSTILE] * 100, ["<script>x</script>"] * 100)
    _, page, _ = monitored(tmp_path, before, now)
    assert not {"script", "img", "a", "link", "iframe"} & tags_of(page)
    assert "&lt;script&gt;alert(1)" in page
    assert "onload=alert" not in page.replace("&lt;svg onload=alert(2)&gt;", "")
    assert "default-src 'none'" in page


def test_a_run_paused_between_parts_asks_the_model_no_part_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 30)
    spec, inputs = TestMonitorLaws().example(tmp_path)
    whole = FolderRun(tmp_path / "whole", inputs).run(spec)["report"]
    with pytest.raises(RunPaused):
        FolderRun(tmp_path / "run", inputs, pause_after=2).run(spec)
    resumed = FolderRun(tmp_path / "run", inputs)
    assert resumed.run(spec)["report"].version == whole.version
    assert resumed.num_written_checkpoints == 1


@given(st.lists(st.sampled_from("abc"), min_size=30, max_size=80))
def test_a_sample_does_not_differ_from_itself(values):
    numbers = np.array([ord(value) for value in values], float)
    assert number_shift(numbers, numbers).p == pytest.approx(1)
    mix = category_shift(values, values)
    assert mix is None or mix.p == pytest.approx(1)


def test_rare_categories_are_tested_as_one():
    before = ["common"] * 90 + [f"rare {n}" for n in range(10)]
    now = ["common"] * 60 + [f"new {n}" for n in range(40)]
    shift = category_shift(before, now)
    assert shift is not None
    assert shift.p < 0.001
    assert shift.distance == pytest.approx(0.3)
    assert len(shift.live_shares) == 13
    assert sum(shift.live_shares.values()) == pytest.approx(1)
    assert category_shift(["only"] * 50, ["only"] * 40 + ["other"]) is None


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["texts", "answers"])), max_size=6),
    st.floats(0.001, 0.49),
)
def test_the_verdict_follows_from_the_adjusted_tests(cases, alpha):
    findings = [
        Finding(f"test {n}", "m", about, p, 0.1, "size", f"why {n}")
        for n, (p, about) in enumerate(cases)
    ]
    result = decide(findings, {}, alpha)
    real = [test for test in result["tests"] if test["p_holm"] < alpha]
    verdict = result["verdict"]
    assert verdict["drift"] == bool(real)
    assert verdict["why"] == [test["sentence"] for test in real]
    assert (verdict["action"] == "recalibrate or retrain") == any(
        test["about"] == "answers" for test in real
    )
    assert (verdict["action"] == "none") == (not real)
