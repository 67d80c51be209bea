"""Sources that users write read as the shipped ones do, and travel with the Spec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from widgets.form import SpecForm
from widgets.form_model import check
from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, SpecError, StageError
from workbench.core.laws import FolderRun
from workbench.data.integrate import IntegrateSpec, fingerprint
from workbench.data.records import read_records
from workbench.data.sources.fetch import fetch_again
from workbench.data.sources.laws import SourceLaws, source_laws
from workbench.data.sources.user_source import UserSource, source

WEATHER = ("rain", "sun")


@source(label_column="mood", labels={"wet": "bad", "dry": "good"}, language="en")
def diary(year: int = 2024, days: int = 2) -> Iterator[dict[str, Any]]:
    for day in range(days):
        wet = WEATHER[day % 2] == "rain"
        yield {"text": f"{year}: {WEATHER[day % 2]}", "mood": "wet" if wet else "dry", "day": day}


@source(is_constant=True)
def words() -> list[str]:
    return ["one", "two", ""]


@source
def broken(good: int = 1) -> Iterator[str]:
    yield from ["fine"] * good
    raise ValueError("no more <b>ink</b>")


def integrate(folder: Path, *sources: Any, **settings: Any) -> Mapping[str, Artifact]:
    spec = IntegrateSpec(name="mine", sources=list(sources), **settings)
    # As the queue does: the Spec goes through JSON, and its code is loaded from there.
    return FolderRun(folder).run(IntegrateSpec.parse(json.loads(spec.canonical_json())))


def records(artifact: Artifact) -> list[tuple[Any, ...]]:
    names = ("source", "text", "label", "extra")
    return [tuple(row[name] for name in names) for row in read_records(artifact).to_pylist()]


def test_texts_and_columns_become_records(tmp_path: Path) -> None:
    made = integrate(tmp_path, diary, words)
    assert records(made["dataset"]) == [
        ("diary", "2024: rain", "bad", '{"day": 0}'),
        ("diary", "2024: sun", "good", '{"day": 1}'),
        ("words", "one", None, None),
        ("words", "two", None, None),
        ("words", "", None, None),
    ]


def test_one_function_can_be_two_sources(tmp_path: Path) -> None:
    made = integrate(tmp_path, diary.set(days=1), diary.set(days=1, year=1999).named("old-diary"))
    assert [row[:2] for row in records(made["dataset"])] == [
        ("diary", "2024: rain"), ("old-diary", "1999: rain"),
    ]  # fmt: skip


def test_the_code_stands_in_the_spec_and_so_in_the_lineage() -> None:
    (kept,) = json.loads(IntegrateSpec(sources=[diary]).canonical_json())["sources"]
    assert "WEATHER = ('rain', 'sun')" in kept["code"]
    assert "for day in range(days):" in kept["code"]
    assert "@source" not in kept["code"]
    assert UserSource.parse(kept) == diary


def test_each_record_remembers_its_code_and_row(tmp_path: Path) -> None:
    made = integrate(tmp_path, diary, diary.set(year=1999).named("old"))
    places = [json.loads(row["provenance"]) for row in read_records(made["dataset"]).to_pylist()]
    assert [(p["kind"], p["uri"], p["row"]) for p in places] == [
        ("cell", "cell:diary", 1), ("cell", "cell:diary", 2),
    ] * 2  # fmt: skip
    assert len({p["code"] for p in places}) == 2  # parameters are part of it


def test_a_record_of_own_code_is_not_fetched_again_by_running_it(tmp_path: Path) -> None:
    (first, *_) = read_records(integrate(tmp_path, words)["dataset"]).to_pylist()
    with pytest.raises(DataError, match="'cell' cannot be fetched again"):
        fetch_again(first)


def test_another_code_is_another_spec() -> None:
    shipped = words

    @source(is_constant=True)
    def words_() -> list[str]:
        return ["three"]

    changed = words_.named("words")
    assert shipped.canonical_json() != changed.canonical_json()
    assert shipped.fingerprint() != changed.fingerprint()
    assert changed() == ["three"]


def test_only_a_source_that_is_always_the_same_may_come_from_the_cache() -> None:
    assert fingerprint(IntegrateSpec(sources=[words])) is not None
    assert fingerprint(IntegrateSpec(sources=[words, diary])) is None


def test_a_source_of_a_cell_is_in_the_form_at_once_and_can_be_added() -> None:
    form = SpecForm("integrate", name="mail")

    def kinds() -> list[str]:
        rows = [row for group in form.snapshot["form"]["groups"] for row in group["fields"]]
        found: list[str] = next(row for row in rows if row["name"] == "sources")["kinds"]
        return found

    assert "leaflets" not in kinds()

    @source(language="en")
    def leaflets(year: int = 2024) -> Iterator[str]:
        yield f"a leaflet of {year}"

    assert "leaflets" in kinds()
    form.session.add_item({"name": "sources", "kind": "leaflets"})
    checked = check(form.session.form)
    assert checked.spec == IntegrateSpec(name="mail", sources=[leaflets])
    form.close()


def test_numbers_of_numpy_and_pandas_are_plain_values(tmp_path: Path) -> None:
    @source(label_column="label")
    def frame() -> Iterator[dict[str, Any]]:
        yield {"text": "a", "label": np.int64(3), "n": np.float32(0.5), "gone": float("nan")}
        yield {"text": float("nan"), "label": float("nan"), "n": np.int8(1)}

    assert records(integrate(tmp_path, frame)["dataset"]) == [
        ("frame", "a", "3", '{"n": 0.5, "gone": null}'), ("frame", "", None, '{"n": 1}'),
    ]  # fmt: skip


def test_a_record_without_its_text_is_rejected_and_the_rest_is_kept(tmp_path: Path) -> None:
    @source
    def mixed() -> Iterator[Any]:
        yield {"txt": "no text"}
        yield {"text": ["a", "list"]}
        yield {"text": "good"}

    made = integrate(tmp_path, mixed, max_rejected_share=1)
    assert [row[1] for row in records(made["dataset"])] == ["good"]
    rules = [row["rule"] for row in read_records(made["rejected"]).to_pylist()]
    assert rules == ["missing_column", "not_text"]


# -- what is wrong with it ------------------------------------------------------------------------


def test_a_source_that_fails_names_itself_and_how_far_it_came(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="The source broken failed: ValueError") as caught:
        integrate(tmp_path, broken.set(good=3))
    assert "after 3 records" in caught.value.where
    assert 'raise ValueError("no more <b>ink</b>")' in caught.value.detail


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ("'a text'", "it returned a str; write yield"),
        ("{'text': 'x'}", "it returned a dict; write yield"),
        ("3", "it returned a int; write yield"),
        ("None", "it returned a NoneType; write yield"),
        ("['x', 3]", "record 2 is a int, neither a text nor a dict"),
        ("[('x', 'y')]", "record 1 is a tuple, neither a text nor a dict"),
    ],
)
def test_what_is_no_record_is_told(made: str, what: str) -> None:
    code = f"def odd():\n    return {made}\n"
    odd = UserSource.parse({"name": "odd", "function": "odd", "code": code})
    with pytest.raises(StageError, match=what):
        list(odd.read())


def test_what_cannot_travel_is_told_where_it_is_written() -> None:
    stream = (Path(__file__).parent / "conftest.py").parent

    with pytest.raises(SpecError, match="cannot travel"):

        @source
        def stuck() -> Iterator[str]:
            yield str(stream)


def test_parameters_need_defaults() -> None:
    with pytest.raises(SpecError, match="needs a default for 'path'"):

        @source
        def pages(path: str) -> Iterator[str]:
            yield path


def test_a_parameter_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="diary has no parameter 'yaer'") as caught:
        diary.set(yaer=1)
    assert caught.value.next_step == "Did you mean 'year'?"


def test_a_setting_that_is_not_there_is_told() -> None:
    with pytest.raises(SpecError, match="text_colum"):

        @source(text_colum="t")
        def typo() -> Iterator[str]:
            yield ""


def test_a_kind_of_source_keeps_its_name_for_itself() -> None:
    with pytest.raises(SpecError, match="a kind of source called 'csv' already"):

        @source
        def csv() -> Iterator[str]:
            yield ""


@pytest.mark.parametrize("code", ["", "x = 1", "def other(): ...", "def f(:"])
def test_code_that_defines_no_such_function_is_refused(code: str) -> None:
    with pytest.raises(SpecError):
        UserSource.parse({"name": "f", "function": "f", "code": code})


def test_a_reader_that_stops_closes_what_the_function_holds(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "def held():\n"
        "    try:\n"
        "        yield from ['one', 'two']\n"
        "    finally:\n"
        f"        Path({str(tmp_path / 'closed')!r}).touch()\n"
    )
    rows = UserSource.parse({"name": "held", "function": "held", "code": code}).read()
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert (tmp_path / "closed").exists()


class TestColumns(SourceLaws):
    def example(self, folder: Path) -> UserSource:
        return diary


TestTexts = source_laws(lambda folder: words)
