"""Which records a sample takes, and what it refuses."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data_sets import data_set

from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.data.records import read_records
from workbench.data.sampling.stage import SampleSpec, apportion

TEXTS = [f"text {n}" for n in range(100)]
LABELS = ["a"] * 70 + ["b"] * 20 + [None] * 10
SOURCES = ["web"] * 80 + ["shop"] * 20


def sampled(folder: Path, **setting: Any) -> tuple[list[dict[str, Any]], FolderRun, dict[str, Any]]:
    """Return the records taken, the run and the summary."""
    dataset = data_set(folder, TEXTS, label=LABELS, source=SOURCES)
    run = FolderRun(folder / "run", {"comments@latest": dataset})
    artifact = run.run(SampleSpec(dataset="comments", **setting))["dataset"]
    return read_records(artifact).to_pylist(), run, {"name": artifact.name, **artifact.summary}


def test_a_tenth_is_taken_unless_told_otherwise(tmp_path: Path) -> None:
    records, _, summary = sampled(tmp_path)
    assert summary == {"name": "comments-sample", "rows": 10, "asked": 10, "missing": 0}
    assert [record["text"] for record in records] == sorted(
        (record["text"] for record in records), key=TEXTS.index
    )


def test_a_larger_sample_holds_the_smaller(tmp_path: Path) -> None:
    small, large = (
        {r["id"] for r in sampled(tmp_path / str(size), size=size)[0]} for size in (20, 50)
    )
    assert (len(small), len(large)) == (20, 50)
    assert small < large


def test_another_seed_takes_other_records(tmp_path: Path) -> None:
    first, second = (
        {r["id"] for r in sampled(tmp_path / str(seed), size=20, seed=seed)[0]} for seed in (0, 1)
    )
    assert first != second


def test_a_stratified_sample_has_the_label_shares(tmp_path: Path) -> None:
    records, _, _ = sampled(tmp_path, strategy="stratified", size=30)
    assert Counter(record["label"] for record in records) == {"a": 21, "b": 6, None: 3}


def test_a_weighted_sample_has_the_shares_of_its_weights(tmp_path: Path) -> None:
    records, _, _ = sampled(tmp_path, strategy="weighted", size=20, weights={"web": 1, "shop": 3})
    assert Counter(record["source"] for record in records) == {"shop": 15, "web": 5}


def test_sources_without_a_weight_are_left_out(tmp_path: Path) -> None:
    records, _, _ = sampled(tmp_path, strategy="weighted", size=5, weights={"shop": 1})
    assert {record["source"] for record in records} == {"shop"}


@pytest.mark.parametrize(
    ("setting", "taken"),
    [
        ({"size": 120}, 100),
        ({"size": 120, "strategy": "stratified"}, 100),
        ({"size": 60, "strategy": "weighted", "weights": {"web": 1, "shop": 1}}, 50),
    ],
)
def test_it_says_so_when_fewer_records_exist(
    tmp_path: Path, setting: dict[str, Any], taken: int
) -> None:
    records, run, summary = sampled(tmp_path, **setting)
    assert len(records) == taken
    assert summary["missing"] == setting["size"] - taken
    messages = [facts["message"] for kind, facts in run.events if kind == "log"]
    assert any(f"only {taken} are there" in message for message in messages)


def test_a_source_that_does_not_exist_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        sampled(tmp_path, strategy="weighted", size=5, weights={"shpo": 1})
    assert "'shpo'" in caught.value.what
    assert (caught.value.where, caught.value.next_step) == ("weights", "Did you mean 'shop'?")


def test_an_empty_data_set_cannot_be_sampled(tmp_path: Path) -> None:
    run = FolderRun(tmp_path / "run", {"comments@latest": data_set(tmp_path, [])})
    with pytest.raises(DataError) as caught:
        run.run(SampleSpec(dataset="comments"))
    assert "holds no records" in caught.value.what
    assert caught.value.where == "comments@latest"
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"strategy": "weighted"}, "need each other"),
        ({"weights": {"web": 1}}, "need each other"),
        ({"strategy": "weighted", "weights": {"web": 0}}, "weights"),
        ({"share": 0}, "share"),
        ({"size": -1}, "size"),
    ],
)
def test_settings_out_of_bounds_are_refused(values: dict[str, Any], what: str) -> None:
    with pytest.raises(SpecError) as caught:
        SampleSpec.parse({"dataset": "comments", **values})
    assert what in caught.value.what


def test_shares_in_whole_numbers_sum_to_the_total() -> None:
    assert apportion(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert apportion(0, {"a": 1}) == {"a": 0}


def test_the_report_sets_the_sample_beside_the_data_set(tmp_path: Path) -> None:
    dataset = data_set(tmp_path, TEXTS, label=LABELS, source=SOURCES)
    run = FolderRun(tmp_path / "run", {"comments@latest": dataset})
    made = run.run(SampleSpec(dataset="comments", strategy="stratified", size=20))["dataset"]
    content = json.loads((made.path / "report.json").read_text())
    assert content["sample"]["labels"] == {"": 2, "a": 14, "b": 4}
    assert content["dataset"]["labels"] == {"": 10, "a": 70, "b": 20}
    assert content["dataset"]["sources"] == {"shop": 20, "web": 80}
    assert sum(content["sample"]["lengths"]) == 20
    assert content["strategy"] == "stratified"
    page = (made.path / "report.html").read_text()
    assert "20 of 100 records (20.0 %)" in page
