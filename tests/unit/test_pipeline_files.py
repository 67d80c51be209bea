"""Pipeline files: parameters, placeholders, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import SpecError
from workbench.core.registry import load_stage
from workbench.pipeline.files import (
    load_pipeline,
    notebooks_folder,
    read_parameters,
    sample_folder,
    shipped_pipelines,
    substitute,
)


def write(folder: Path, content: object, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_placeholder_takes_the_type_of_what_it_stands_for(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {
            "parameters": {"epochs": 2, "names": ["a", "b"], "where": "${folder}/x.csv"},
            "steps": [
                {
                    "notebook": "train",
                    "parameters": {
                        "epochs": "${epochs}",
                        "names": "${names}",
                        "path": "${where}",
                        "text": "${epochs} of ${names}",
                        "dataset": "${split.train}",
                    },
                }
            ],
        },
    )
    step = load_pipeline(file, {"epochs": 5}).steps[0]
    assert step.parameters == {
        "epochs": 5,
        "names": ["a", "b"],
        "path": f"{tmp_path}/x.csv",
        "text": "5 of ['a', 'b']",
        "dataset": "${split.train}",  # known once that step is done
    }


def test_a_step_takes_a_number_or_a_range_of_workers(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "parameters: {slots: 2..8}\n"
        "steps:\n"
        "  - {notebook: train, workers: 2}\n"
        "  - {notebook: distil, workers: ..8}\n"
        '  - {notebook: score, workers: "${slots}"}\n'
    )
    assert [step.workers for step in load_pipeline(file, {}).steps] == [2, "1..8", "2..8"]


def test_a_mistyped_parameter_is_refused_with_the_nearest_right_one() -> None:
    with pytest.raises(SpecError) as refused:
        load_pipeline("sentiment", {"teacher_epoch": 2})
    assert refused.value.next_step == "Did you mean 'teacher_epochs'?"


def test_a_file_that_is_not_there_is_named_with_the_nearest_shipped_one() -> None:
    with pytest.raises(SpecError) as refused:
        load_pipeline("sentimnt", {})
    assert refused.value.next_step == "Did you mean 'sentiment'?"


def test_a_parameter_that_stands_for_itself_is_refused(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {
            "parameters": {"a": "${b}", "b": "x${a}"},
            "steps": [{"notebook": "train", "parameters": {"name": "${a}"}}],
        },
    )
    with pytest.raises(SpecError, match="stands for itself"):
        load_pipeline(file, {})


def test_an_unknown_placeholder_is_refused(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {
            "parameters": {"epochs": 1},
            "steps": [{"notebook": "train", "parameters": {"epochs": "${epoch}"}}],
        },
    )
    with pytest.raises(SpecError) as refused:
        load_pipeline(file, {})
    assert refused.value.next_step == "Did you mean 'epochs'?"


@pytest.mark.parametrize("text", ["- a list", "just text", "a: [unclosed", ""])
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"bad\.yaml"):
        read_parameters(path)


PLAIN = st.none() | st.booleans() | st.integers() | st.text("ab $}{", max_size=8)


@given(st.recursive(PLAIN, lambda part: st.lists(part) | st.dictionaries(st.text("ab"), part)))
def test_values_without_placeholders_are_left_as_they_are(value: object) -> None:
    def refuse(name: str) -> object:
        raise AssertionError(name)

    if "${" not in repr(value):
        assert substitute(value, refuse) == value


@pytest.mark.parametrize("path", shipped_pipelines(), ids=lambda path: path.stem)
def test_every_parameter_of_a_shipped_pipeline_is_one_of_its_stages(path: Path) -> None:
    for step in load_pipeline(path, {}).steps:
        known = set(load_stage(step.notebook).spec.model_fields)
        assert set(step.parameters) <= known, step.called


def test_the_real_parameters_fit_the_shipped_pipeline() -> None:
    given = read_parameters(notebooks_folder() / "pipelines" / "real.yaml")
    spec = load_pipeline("sentiment", given)
    sources = spec.steps[0].parameters["sources"]
    assert [source["name"] for source in sources] == [
        "tweets", "tweets-validation", "tweets-test", "reviews", "news",
    ]  # fmt: skip


def test_the_sample_is_where_pipelines_look_for_it() -> None:
    assert (sample_folder() / "news.csv").is_file()
    assert (sample_folder() / "posts.sqlite").is_file()
    assert len(list((sample_folder() / "pages").glob("*.html"))) == 12
