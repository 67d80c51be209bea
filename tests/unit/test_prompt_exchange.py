"""Prompts of other tools: each format is read as what it means, and told where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError, SpecError
from workbench.prompts.exchange import FORMATS, read_prompts, write_prompt
from workbench.prompts.verbaliser import Choice, FreeText, YesNo
from workbench.prompts.version import PromptVersion

PROMPTSOURCE = """
dataset: ag_news
templates:
  24e44a81: !Template
    answer_choices: World politics ||| Sports ||| Business
    id: 24e44a81
    jinja: "What label best describes this article?\\n{{text}}\\n{{ answer_choices|join(', ') }}
      ||| \\n{{answer_choices[label] }}"
    metadata: !TemplateMetadata
      choices_in_prompt: true
      languages: [en]
      original_task: true
    name: classify_question_first
    reference: ''
  8fdc1056: !Template
    answer_choices: null
    id: 8fdc1056
    jinja: "{% macro f() %}x{% endmacro %}{{ f() }} ||| {{ title }}"
    metadata: !TemplateMetadata {languages: [en]}
    name: recommend
    reference: ''
"""
VERSION = PromptVersion.parse({
    "messages": [{"content": "So: {{ text }} and {{ title }} {{ mask }}"}],
    "verbaliser": {"kind": "choice", "words": {"bad": ["awful"], "good": ["great", "fine"]}},
})  # fmt: skip


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_templates_of_promptsource_ask_and_name_their_choices(tmp_path: Path) -> None:
    first, second = read_prompts(write(tmp_path, "templates.yaml", PROMPTSOURCE))
    assert first.name == "classify_question_first"
    assert first.version is not None
    assert first.version.labels == ["Business", "Sports", "World politics"]
    (message,) = first.version.fill({"text": "Rain.", "label": 1})
    assert message.content == (
        "What label best describes this article?\nRain.\nBusiness, Sports, World politics"
    )
    assert first.version.origin == "promptsource: templates.yaml, classify_question_first"
    assert second.version is None
    assert "no macro" in second.problem


def test_a_template_of_openprompt_has_its_verbaliser_beside_it(tmp_path: Path) -> None:
    path = write(
        tmp_path, "manual.txt", '{"placeholder":"text_a"} It was {"mask"}, on {"meta":"day"}.\n'
    )
    write(tmp_path, "manual.json", json.dumps({"good": ["great"], "bad": "awful"}))
    (found,) = read_prompts(path)
    assert found.version is not None
    assert found.version.messages[0].content == "{{ text }} It was {{ mask }}, on {{ day }}."
    assert found.version.verbaliser == Choice(words={"good": ["great"], "bad": ["awful"]})
    soft = write(tmp_path, "soft.txt", '{"placeholder":"text_a"} {"soft": "It was"} {"mask"}\n')
    (refused,) = read_prompts(soft, verbaliser=YesNo())
    assert refused.version is None
    assert "soft" in refused.problem


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ({"name": "mood", "type": "chat", "config": {"temperature": 0.5}, "labels": ["production"],
          "prompt": [{"role": "system", "content": "Judge."},
                     {"role": "user", "content": "{{text}}"}]}, "langfuse"),
        ({"name": "mood", "version": 3, "template": [{"role": "system", "content": "Judge."},
          {"role": "user", "content": "{{ text }}"}], "model_config": {"temperature": 0.5}},
         "mlflow"),
    ],
)  # fmt: skip
def test_registries_say_what_is_asked_and_the_user_what_the_answers_are(
    tmp_path: Path, content: dict[str, object], format: str
) -> None:
    path = write(tmp_path, "p.json", json.dumps(content))
    (found,) = read_prompts(path)
    assert found.version is not None
    assert found.version.origin.startswith(format)
    assert [m.role for m in found.version.messages] == ["system", "user"]
    assert found.version.decoding.temperature == 0.5
    assert found.version.verbaliser == FreeText()
    (asked,) = read_prompts(path, verbaliser=YesNo())
    assert asked.version is not None
    assert asked.version.verbaliser == YesNo()


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_as_it_was(tmp_path: Path, format: str) -> None:
    name = {"promptsource": "p.yaml", "openprompt": "p.txt"}.get(format, "p.json")
    path = write(tmp_path, name, write_prompt("mood", VERSION, format))
    (found,) = read_prompts(path)
    assert found.version is not None
    assert [m.content for m in found.version.messages] == [m.content for m in VERSION.messages]
    assert isinstance(found.version.verbaliser, Choice)
    if format == "promptsource":  # it has one wording of each
        assert list(found.version.verbaliser.words.values()) == [["awful"], ["great"]]
    else:
        assert found.version.verbaliser == VERSION.verbaliser
        assert found.version.content_hash == VERSION.content_hash


def test_what_a_format_has_no_place_for_is_refused() -> None:
    examples = {"kind": "random", "dataset": "known@latest"}
    shown = PromptVersion.parse({**VERSION.model_dump(mode="json"), "examples": examples})
    for format in ("langfuse", "mlflow", "openprompt", "promptsource"):
        with pytest.raises(SpecError, match="no place for examples"):
            write_prompt("mood", shown, format)
    looped = PromptVersion.parse({
        "messages": [{"content": "{% for o in options %}{{ o }}{% endfor %}"}],
        "verbaliser": VERSION.verbaliser,
    })  # fmt: skip
    with pytest.raises(SpecError, match="no filters, loops"):
        write_prompt("mood", looped, "openprompt")


@given(content=st.binary(max_size=60), name=st.sampled_from(["p.json", "p.yaml", "p.txt"]))
def test_a_file_of_anything_is_read_or_refused(
    content: bytes, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    try:
        read_prompts(path)
    except (DataError, SpecError):
        return
