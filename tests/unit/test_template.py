"""Templates: what they show, what they may not do, and that none takes for ever."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError, SpecError
from workbench.prompts.template import Template

LONG = "aaaa" * 5000


@given(st.text())
def test_a_text_stands_in_its_place_as_it_is(text: str) -> None:
    assert Template("A review: {{ text }}|").fill({"text": text}) == f"A review: {text}|"


def test_examples_options_and_columns_can_be_shown() -> None:
    template = Template(
        "{% for e in examples %}{{ loop.index }}. {{ e.text|trim }}: {{ e['label'] }}\n{% endfor %}"
        "{% if title %}{{ title|upper }}{% endif %} {{ options|join(', ') }} {{ tags|tojson }}"
    )
    values = {
        "examples": [{"text": " a ", "label": "x"}, {"text": "b", "label": "y"}],
        "title": None, "options": ["x", "y"], "tags": ["é", 1],
    }  # fmt: skip
    assert template.fill(values) == '1. a: x\n2. b: y\n x, y ["é", 1]'
    assert template.variables == {"examples", "title", "options", "tags"}


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("{{ text", "cannot be read"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "no macro"),
        ("{% include 'x' %}", "no include"),
        ("{% set a %}x{% endset %}", "{% set name = value %}"),
        ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "no recursive loops"),
        ("{{ 'a' * 999999999 }}", r"no \*"),
        ("{{ 10 ** 10 }}", r"no \*\*"),
        ("{{ text|attr('x') }}", "no filter 'attr'"),
        ("{{ _budget }}", "underscore"),
        ("{% set a.b = 1 %}", "one name"),
    ],
)
def test_what_templates_have_not_is_refused_when_they_are_read(source: str, what: str) -> None:
    with pytest.raises(SpecError, match=what) as refused:
        Template(source)
    assert "line 1" in refused.value.where


@pytest.mark.parametrize(
    "source",
    [
        "{{ text.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ text.format }}",
        "{{ 'x'.ljust(999999999) }}", "{{ text.encode() }}", "{{ range.__globals__ }}",
        "{{ missing }}", "{{ examples }}", "{{ self }}", "{{ [text] }}", "{{ 'a' + 1 }}",
        "{{ range(1000000000)|list|length }}",
    ],
)  # fmt: skip
def test_what_templates_may_not_do_is_told(source: str) -> None:
    with pytest.raises(DataError):
        Template(source).fill({"text": "a", "examples": []})


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in text %}{% for b in text %}{% for c in text %}{% endfor %}{% endfor %}"
        "{% endfor %}",
        "{% for a in range(99999) if text in text %}{% endfor %}",
        "{% for a in range(99999) %}{{ text|upper|length }}{% endfor %}",
        "{% for a in range(99999) %}{{ text }}{% endfor %}",
        "{% set a = text ~ text %}" + "{% set a = a ~ a %}" * 60,
        "{% set a = text + text %}" + "{% set a = a + a %}" * 60,
        "{{ text|replace('a', text)|replace('a', text)|replace('a', text) }}",
        "{{ range(90000)|join(text) }}",
    ],
)
def test_no_template_takes_for_ever_or_fills_the_memory(source: str) -> None:
    begun = time.process_time()
    with pytest.raises(DataError, match=r"too much|more than 1,000,000 characters"):
        Template(source).fill({"text": LONG})
    assert time.process_time() - begun < 20  # for ever is longer


@given(st.text(alphabet="{}%|text().~ forin[]'a1_", max_size=40))
def test_whatever_somebody_writes_is_filled_in_or_refused(source: str) -> None:
    try:
        Template(source).fill({"text": "x", "a": 1})
    except (SpecError, DataError):
        return
