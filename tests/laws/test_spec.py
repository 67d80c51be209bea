"""Laws of Specs: one canonical text, every reference found, no unknown name let in."""

from __future__ import annotations

import json
import math
import types
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from workbench.core.errors import SpecError
from workbench.core.spec import (
    RUN_OPTIONS,
    DatasetRef,
    LocalPath,
    ModelRef,
    ModelSource,
    ReportRef,
    Spec,
    option,
    parse_reference,
)


class CsvSource(Spec):
    kind: Literal["csv"] = option("csv", title="Kind", help="Which source.")
    path: LocalPath = option("", title="Path", help="File.")


class TableSource(Spec):
    kind: Literal["table"] = option("table", title="Kind", help="Which source.")
    table: DatasetRef = option("rows@latest", title="Table", help="Data set.")


Source = Annotated[CsvSource | TableSource, Field(discriminator="kind")]


class EverySpec(Spec):
    """One field of each shape that a Spec may have."""

    text: str = option("", title="Text", help="Any text.")
    number: int = option(0, title="Number", help="A number.", ge=-1_000, le=1_000)
    rate: float = option(1e-4, title="Rate", help="A rate.", unit="per step")
    choice: Literal["a", "b"] = option("a", title="Choice", help="One of two.")
    names: list[str] = option([], title="Names", help="Some names.")
    table: dict[str, float] = option({}, title="Table", help="Figures by name.")
    dataset: DatasetRef = option("rows", title="Data set", help="What is read.")
    maybe: DatasetRef | None = option(None, title="Maybe", help="Perhaps read.")
    model: ModelSource = option("minilm", title="Model", help="An artifact or an outside name.")
    teachers: list[ModelRef] = option([], title="Teachers", help="Models.")
    pair: tuple[str, ReportRef] = option(("x", "r@1"), title="Pair", help="A word and a report.")
    by_name: dict[str, list[DatasetRef]] = option({}, title="By name", help="Data sets by name.")
    one_or_many: DatasetRef | list[DatasetRef] = option("a", title="Sets", help="One or many.")
    maybe_many: list[DatasetRef] | None = option(None, title="Maybe many", help="Many or none.")
    sources: list[Source] = option([], title="Sources", help="Where rows come from.")
    nested: TableSource | None = option(None, title="Nested", help="A Spec in a Spec.")


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
REFERENCES = st.builds("{}@{}".format, NAMES, NAMES)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TABLE_SOURCES = st.builds(TableSource, table=REFERENCES)
SOURCES = st.builds(CsvSource, path=TEXTS.map(lambda t: f"/data/{t}")) | TABLE_SOURCES
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SPECS = st.builds(
    EverySpec,
    text=TEXTS,
    number=st.integers(-1_000, 1_000),
    rate=NUMBERS,
    choice=st.sampled_from(["a", "b"]),
    names=st.lists(TEXTS, max_size=3),
    table=st.dictionaries(TEXTS, NUMBERS, max_size=3),
    dataset=REFERENCES,
    maybe=st.none() | REFERENCES,
    model=REFERENCES | NAMES,
    teachers=st.lists(REFERENCES, max_size=3),
    pair=st.tuples(TEXTS, REFERENCES),
    by_name=st.dictionaries(TEXTS, st.lists(REFERENCES, max_size=2), max_size=2),
    one_or_many=REFERENCES | st.lists(REFERENCES, max_size=2),
    maybe_many=st.none() | st.lists(REFERENCES, max_size=2),
    sources=st.lists(SOURCES, max_size=2),
    nested=st.none() | TABLE_SOURCES,
)


@given(SPECS)
def test_canonical_json_gives_back_the_same_spec(spec: EverySpec) -> None:
    text = spec.canonical_json()
    again = EverySpec.model_validate_json(text)
    assert again == spec
    assert again.canonical_json() == text
    assert EverySpec.parse(json.loads(text)) == spec


@given(SPECS)
def test_canonical_json_has_sorted_keys_and_no_space(spec: EverySpec) -> None:
    text = spec.canonical_json()
    plain = json.loads(text)
    assert text == json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@given(SPECS)
def test_every_reference_is_found_wherever_it_stands(spec: EverySpec) -> None:
    assert sorted(spec.references()) == sorted(_references_by_hand(spec))


@given(SPECS)
def test_mapping_references_changes_them_all_and_nothing_else(spec: EverySpec) -> None:
    moved = spec.map_references(lambda kind, reference: f"{kind}.{parse_reference(reference)}")
    expected = [(k, f"{k}.{r}") for k, r in _references_by_hand(spec)]
    assert sorted(moved.references()) == sorted(expected)
    undone = moved.map_references(lambda kind, reference: reference.removeprefix(f"{kind}."))
    assert undone == spec


@given(SPECS)
def test_mapping_references_to_themselves_is_the_same_spec(spec: EverySpec) -> None:
    assert spec.map_references(lambda _kind, reference: reference) == spec


@given(st.sampled_from(sorted(EverySpec.model_fields)), st.data())
def test_a_mistyped_name_is_refused_and_the_right_one_told(name: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(name) - 1))
    mistyped = name[:cut] + name[cut] + name[cut:]  # one letter typed twice
    with pytest.raises(SpecError) as caught:
        EverySpec.from_parameters({mistyped: "x"})
    assert caught.value.where == mistyped
    assert caught.value.next_step == f"Did you mean {name!r}?"


@given(SPECS, st.dictionaries(NAMES.map("_{}".format), st.integers(), max_size=3))
def test_a_notebook_gives_its_spec_back_whatever_else_it_holds(
    spec: EverySpec, private: dict[str, int]
) -> None:
    namespace: dict[str, Any] = {
        **private,
        **{name: known.default for name, known in RUN_OPTIONS.items()},
        **spec.model_dump(mode="json"),
        "math": math,
        "EverySpec": EverySpec,
        "helper": lambda: None,
        "module": types.ModuleType("module"),
        "In": ["", "x = 1"],
        "Out": {},
    }
    assert EverySpec.from_parameters(namespace) == spec


def test_a_parameter_of_a_wrong_type_is_refused_and_not_left_out() -> None:
    with pytest.raises(SpecError, match=r"EverySpec\.number"):
        EverySpec.from_parameters({"number": object()})


@pytest.mark.parametrize("rate", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_refused(rate: float) -> None:
    with pytest.raises(SpecError, match="finite number"):
        EverySpec.parse({"rate": rate})


def test_a_bound_that_is_broken_is_told_with_the_field_in_words() -> None:
    with pytest.raises(SpecError) as caught:
        EverySpec.parse({"number": 1_001})
    assert caught.value.where == "number"
    assert "less than or equal to 1000, got 1001" in caught.value.what
    assert caught.value.next_step == "Number: A number."


@given(TEXTS)
def test_a_text_is_a_reference_or_is_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except SpecError as error:
        assert "is not an artifact reference" in error.what
    else:
        assert parse_reference(str(reference)) == reference
        assert "/" not in str(reference)
        assert reference.name != ".."


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        EverySpec().number = 3  # type: ignore[misc]


def _references_by_hand(spec: EverySpec) -> list[tuple[str, str]]:
    several = spec.one_or_many if isinstance(spec.one_or_many, list) else [spec.one_or_many]
    tables = [s.table for s in spec.sources if isinstance(s, TableSource)]
    datasets = [
        spec.dataset,
        *([spec.maybe] if spec.maybe is not None else []),
        *(reference for group in spec.by_name.values() for reference in group),
        *several,
        *(spec.maybe_many or []),
        *tables,
        *([spec.nested.table] if spec.nested is not None else []),
    ]
    models = [*spec.teachers, *([spec.model] if "@" in spec.model else [])]
    return [
        *(("dataset", reference) for reference in datasets),
        *(("model", reference) for reference in models),
        ("report", spec.pair[1]),
    ]
