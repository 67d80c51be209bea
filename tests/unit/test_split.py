"""Which records a split puts where, and what it refuses."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data_sets import data_set

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.data.records import read_records
from workbench.data.split.stage import SplitSpec

WORDS = ["red", "orange", "yellow", "green", "blue", "violet", "black", "white", "grey", "pink"]


def sentences(count: int) -> list[str]:
    """Return sentences that have no word sequence in common."""
    return [f"{WORDS[n % 10]}{n} number{n} stands alone{n} in line{n}" for n in range(count)]


def divided(
    folder: Path, texts: list[str], columns: dict[str, Any] | None = None, **setting: Any
) -> dict[str, Artifact]:
    inputs = {"comments@latest": data_set(folder, texts, **(columns or {}))}
    outputs = FolderRun(folder / "run", inputs).run(SplitSpec(dataset="comments", **setting))
    return {name: artifact for name, artifact in outputs.items() if artifact.kind == "dataset"}


def sizes(outputs: dict[str, Artifact]) -> dict[str, int]:
    return {name: artifact.summary["rows"] for name, artifact in outputs.items()}


def texts_of(artifact: Artifact) -> list[str]:
    return read_records(artifact, ["text"])["text"].to_pylist()  # type: ignore[no-any-return]


def test_shares_hold_and_names_carry_the_data_set(tmp_path: Path) -> None:
    outputs = divided(tmp_path, sentences(200))
    assert sizes(outputs) == {"train": 140, "validation": 20, "test": 40}
    assert [a.name for a in outputs.values()] == [
        "comments-train", "comments-validation", "comments-test"
    ]  # fmt: skip


def test_each_part_has_the_label_shares_of_the_whole(tmp_path: Path) -> None:
    labels = ["rare" if n % 10 == 0 else "common" for n in range(400)]
    outputs = divided(tmp_path, sentences(400), {"label": labels})
    assert outputs["test"].summary["labels"] == {"common": 72, "rare": 8}
    assert outputs["validation"].summary["labels"] == {"common": 36, "rare": 4}


def test_small_labels_do_not_always_cost_the_same_part(tmp_path: Path) -> None:
    labels = [f"label-{n % 50}" for n in range(100)]  # two records each
    outputs = divided(tmp_path, sentences(100), {"label": labels})
    assert sizes(outputs) == {"train": 70, "validation": 10, "test": 20}


def test_near_duplicates_stay_together(tmp_path: Path) -> None:
    base = "this long sentence is about the weather of the northern coast in may"
    copies = [f"{base} {word}" for word in WORDS] * 3
    outputs = divided(tmp_path, sentences(170) + copies)
    holders = [name for name, a in outputs.items() if any(base in t for t in texts_of(a))]
    assert len(holders) == 1


def test_another_seed_gives_another_split(tmp_path: Path) -> None:
    tests = [
        set(texts_of(divided(tmp_path / str(seed), sentences(100), seed=seed)["test"]))
        for seed in (0, 1)
    ]
    assert tests[0] != tests[1]


def test_each_language_is_divided_by_itself_and_small_ones_share_a_subset(tmp_path: Path) -> None:
    languages = ["en"] * 100 + ["zh"] * 100 + ["fr"] * 19 + [None] * 11
    outputs = divided(
        tmp_path, sentences(230), {"language": languages}, by="language",
        parts={"train": 0.8, "test": 0.2},
    )  # fmt: skip
    assert sizes(outputs) == {
        "en-train": 80, "en-test": 20, "other-train": 24, "other-test": 6,
        "zh-train": 80, "zh-test": 20,
    }  # fmt: skip


def test_copies_in_two_languages_still_share_a_part(tmp_path: Path) -> None:
    texts = sentences(60)
    outputs = divided(
        tmp_path, texts + texts, {"source": ["a"] * 60 + ["b"] * 60}, by="source",
        parts={"train": 0.5, "test": 0.5},
    )  # fmt: skip
    train, test = (
        {text for name, a in outputs.items() if name.endswith(part) for text in texts_of(a)}
        for part in ("train", "test")
    )
    assert train.isdisjoint(test)
    assert set(outputs) == {"a-train", "a-test", "b-train", "b-test"}


@pytest.mark.parametrize(
    ("unlabelled", "expected"),
    [
        ("keep", {"train": 70, "validation": 10, "test": 20}),
        ("drop", {"train": 35, "validation": 5, "test": 10}),
        ("own part", {"train": 35, "validation": 5, "test": 10, "unlabelled": 50}),
    ],
)
def test_unlabelled_records_go_where_they_are_sent(
    tmp_path: Path, unlabelled: str, expected: dict[str, int]
) -> None:
    labels = [None if n % 2 else "x" for n in range(100)]
    outputs = divided(tmp_path, sentences(100), {"label": labels}, unlabelled=unlabelled)
    assert sizes(outputs) == expected
    if unlabelled == "own part":
        assert read_records(outputs["unlabelled"])["label"].null_count == 50


def test_whole_sources_go_to_their_part_untouched(tmp_path: Path) -> None:
    sources = ["official"] * 30 + ["web"] * 70
    outputs = divided(
        tmp_path, sentences(100), {"source": sources}, whole_sources={"official": "test"},
        parts={"train": 0.9, "validation": 0.1},
    )  # fmt: skip
    assert sizes(outputs) == {"train": 63, "validation": 7, "test": 30}
    assert texts_of(outputs["test"]) == sentences(100)[:30]


def test_a_whole_source_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        divided(tmp_path, sentences(50), whole_sources={"tset": "test"})
    assert (caught.value.where, caught.value.next_step) == (
        "whole_sources", "Did you mean 'test'?"
    )  # fmt: skip


def test_too_few_records_for_every_part_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        divided(tmp_path, sentences(2))
    assert "would be empty: 2 records are too few" in caught.value.what
    assert caught.value.where == "comments@latest"
    assert "larger share" in caught.value.next_step


def test_a_data_set_without_labelled_records_cannot_drop_the_others(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        divided(tmp_path, sentences(20), unlabelled="drop")
    assert "no records to split" in caught.value.what
    assert "Keep unlabelled records" in caught.value.next_step


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({"train": 0.7, "test": 0.2}, "must sum to 1"),
        ({"train": 1.5, "test": -0.5}, "parts"),
        ({"train set": 1.0}, "parts"),
        ({"unlabelled": 1.0}, "without a label"),
        ({}, "parts"),
    ],
)
def test_parts_that_make_no_whole_are_refused(parts: dict[str, float], what: str) -> None:
    with pytest.raises(SpecError) as caught:
        SplitSpec.parse({"dataset": "comments", "parts": parts})
    assert what in caught.value.what


def test_every_label_stays_near_its_shares_in_a_large_split(tmp_path: Path) -> None:
    labels = [f"l{(n * n) % 7}" for n in range(1000)]
    outputs = divided(tmp_path, sentences(1000), {"label": labels})
    for label, count in Counter(labels).items():
        assert abs(outputs["train"].summary["labels"][label] - 0.7 * count) <= 1.5


def test_the_report_tells_what_each_part_holds(tmp_path: Path) -> None:
    copies = [f"{sentences(1)[0]} {word}" for word in ("", "again", "more")]
    texts = [*sentences(100)[1:], *copies]
    labels = ["<b>" if n % 2 else None for n in range(len(texts))]
    inputs = {"comments@latest": data_set(tmp_path, texts, label=labels)}
    spec = SplitSpec(dataset="comments", near_duplicate_jaccard=0.6)
    outputs = FolderRun(tmp_path / "run", inputs).run(spec)
    report = outputs.pop("report")
    content = json.loads((report.path / "report.json").read_text())
    assert (report.kind, report.name) == ("report", "comments-split")
    assert {key: content[key] for key in ("left_out", "related", "largest")} == {
        "left_out": 0, "related": 3, "largest": 3
    }  # fmt: skip
    for name, part in outputs.items():
        found = content["subsets"][name]
        records = read_records(part)
        assert found["rows"] == records.num_rows
        assert found["labels"] == dict(
            sorted(Counter(label or "" for label in records["label"].to_pylist()).items())
        )
        assert sum(found["lengths"]) == records.num_rows
    page = (report.path / "report.html").read_text()
    assert "102 records into 3 subsets, 0 left out" in page
    assert "<b>" not in page.partition("<body>")[2]


def test_a_part_cannot_be_called_like_the_report() -> None:
    with pytest.raises(SpecError, match="'report' is the name for the report"):
        SplitSpec.parse({"dataset": "comments", "parts": {"train": 0.5, "report": 0.5}})
