"""Laws of data stages and sources: nothing is lost, nothing leaks, no layout matters."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_sets import data_set
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun, StageLaws
from workbench.core.spec import Spec
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.undo import UndoSpec
from workbench.data.clean.what_if import WhatIf
from workbench.data.dealing import deal_groups
from workbench.data.duplicates import near_duplicates
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import SCHEMA, read_records
from workbench.data.rules.personal_data import redact
from workbench.data.sample import SampleSpec, apportion
from workbench.data.sources.csv import CsvSource
from workbench.data.sources.html import HtmlSource
from workbench.data.sources.jsonl import JsonlSource
from workbench.data.sources.laws import SourceLaws
from workbench.data.sources.lines import LinesSource
from workbench.data.sources.parquet import ParquetSource
from workbench.data.sources.sql import SqlSource
from workbench.data.split import SplitSpec
from workbench.data.tokens import as_texts, normalise, shingle

FEW = settings(max_examples=10)

# Texts that meet: few words, so that copies, near copies and empty texts are common.
WORDS = st.sampled_from(
    [
        "good",
        "bad",
        "phone",
        "the",
        "THE",
        "!!!",
        "&amp;",
        "<br>",
        "a@b.com",
        "很好",
        "schÃ¶n",
        "😂",
    ]
)
PHRASES = st.lists(WORDS, max_size=12).map(" ".join)
HOSTILE = st.text(max_size=30) | st.sampled_from(
    ["\x00", "\u202e" * 9, "<script>" * 99, "&amp;" * 99, "\\ud83d", "1" * 99, "٣" * 40, "@" * 50]
)
TEXTS = st.lists(PHRASES | HOSTILE, min_size=1, max_size=25)


def run_on(folder: Path, dataset: Artifact, spec: Spec) -> dict[str, Artifact]:
    return FolderRun(folder, {"comments@latest": dataset}).run(spec)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Offer a function that gives an empty folder, also inside a hypothesis example."""
    return lambda: tmp_path_factory.mktemp("example")


# -- clean ----------------------------------------------------------------------------------------


@FEW
@given(texts=TEXTS)
def test_what_came_in_is_what_was_kept_and_what_the_ledger_dropped(
    fresh: Any, texts: list[str]
) -> None:
    folder = fresh()
    dataset = data_set(folder, texts)
    outputs = run_on(folder / "run", dataset, CleanSpec(dataset="comments"))
    ledger = read_records(outputs["ledger"]).to_pylist()
    kept = read_records(outputs["dataset"]).to_pylist()
    ids = read_records(dataset)["id"].to_pylist()
    dropped = [row["id"] for row in ledger if row["action"] == "dropped"]
    assert sorted(dropped + [record["id"] for record in kept]) == sorted(ids)
    assert all(row["id"] == ids[row["row"]] for row in ledger)
    changed = {row["id"] for row in ledger if row["action"] == "changed"}
    originals = dict(zip(ids, texts, strict=True))
    assert all(r["text"] == originals[r["id"]] for r in kept if r["id"] not in changed)
    assert {row["keeper"] for row in ledger if row["keeper"]} <= {record["id"] for record in kept}
    assert all(row["jaccard"] >= 0.8 for row in ledger if row["rule"] == "near_duplicate")


@FEW
@given(texts=TEXTS, partition_rows=st.integers(1, 7))
def test_undoing_everything_gives_the_original_byte_for_byte(
    fresh: Any, texts: list[str], partition_rows: int
) -> None:
    folder = fresh()
    original = data_set(folder, texts, partition_rows=partition_rows)
    made = run_on(folder / "run", original, CleanSpec(dataset="comments"))
    inputs = {"comments@latest": original, "clean@latest": made["dataset"],
              "ledger@latest": made["ledger"]}  # fmt: skip
    spec = UndoSpec(original="comments", cleaned="clean", ledger="ledger")
    undone = FolderRun(folder / "undo", inputs).run(spec)["dataset"]
    assert read_records(undone).equals(read_records(original))


@FEW
@given(
    texts=TEXTS,
    settings_then=st.fixed_dictionaries({}, optional={
        "min_words": st.integers(0, 4), "max_words": st.none() | st.integers(4, 9),
        "max_symbol_share": st.sampled_from([0.0, 0.3, 0.6, 1.0]),
        "languages": st.sampled_from([[], ["en"], ["zh"]]),
    }),
)  # fmt: skip
def test_what_if_decides_as_a_new_run_does(
    fresh: Any, texts: list[str], settings_then: dict[str, Any]
) -> None:
    folder = fresh()
    dataset = data_set(folder, texts)
    now = CleanSpec(dataset="comments", near_duplicate_jaccard=0.6)
    what_if = WhatIf(run_on(folder / "now", dataset, now)["scores"])
    then = CleanSpec.parse({**now.model_dump(), **settings_then})
    made = run_on(folder / "then", dataset, then)["dataset"]
    decision = what_if.decide(**settings_then)
    ids = np.array(read_records(dataset)["id"].to_pylist())
    assert ids[decision.kept].tolist() == read_records(made)["id"].to_pylist()
    assert decision.dropped == made.summary["dropped"]
    assert what_if.decide().num_kept == what_if.num_rows - sum(what_if.decide().dropped.values())


@FEW
@given(texts=TEXTS, partition_rows=st.integers(1, 7))
def test_cleaning_does_not_depend_on_partitions(
    fresh: Any, texts: list[str], partition_rows: int
) -> None:
    folder = fresh()
    spec = CleanSpec(dataset="comments", near_duplicate_jaccard=0.6)
    whole, parted = (
        run_on(
            folder / f"run-{rows}", data_set(folder / str(rows), texts, partition_rows=rows), spec
        )
        for rows in (1000, partition_rows)
    )
    assert {n: a.version for n, a in whole.items()} == {n: a.version for n, a in parted.items()}


@FEW
@given(texts=st.lists(PHRASES, min_size=1, max_size=25))
def test_cleaning_what_is_clean_drops_nothing(fresh: Any, texts: list[str]) -> None:
    folder = fresh()
    spec = CleanSpec(dataset="comments")
    once = run_on(folder / "once", data_set(folder, texts), spec)["dataset"]
    twice = run_on(folder / "twice", once, spec)
    assert twice["dataset"].version == once.version
    assert twice["ledger"].summary["rows"] == 0


@given(text=HOSTILE | PHRASES | st.from_regex(r"[0-9 .()+@:a-f<>-]{0,40}", fullmatch=True))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


# -- near-duplicates ------------------------------------------------------------------------------


@settings(max_examples=30)
@given(texts=st.lists(PHRASES, min_size=1, max_size=40), threshold=st.sampled_from([0.5, 0.7, 0.9]))
def test_groups_are_those_that_comparing_every_pair_gives(
    texts: list[str], threshold: float
) -> None:
    column = as_texts(pa.array(texts))
    found = near_duplicates(column, threshold, 2)
    assert found.keeper.tolist() == every_pair_compared(column, threshold)
    is_copy = found.keeper != np.arange(len(texts))
    assert (found.jaccard[is_copy] >= threshold).all()
    assert (found.keeper[found.relative[is_copy]] == found.keeper[is_copy]).all()


def every_pair_compared(texts: pa.Array, threshold: float) -> list[int]:
    words = normalise(texts)
    shingles = shingle(words, 2)
    sets = [set(shingles.hashes[a:b].tolist())
            for a, b in zip(shingles.offsets, shingles.offsets[1:], strict=False)]  # fmt: skip
    keeper = list(range(len(sets)))
    for right in range(len(sets)):
        for left in range(right):
            same = words[left].as_py() == words[right].as_py() and (
                words[left].as_py() or texts[left].as_py() == texts[right].as_py()
            )
            both = len(sets[left] & sets[right])
            if same or (both and both / len(sets[left] | sets[right]) >= threshold):
                old, new = sorted((keeper[left], keeper[right]), reverse=True)
                keeper = [new if k == old else k for k in keeper]
    return keeper


# -- split ----------------------------------------------------------------------------------------

SPLIT_COLUMNS = st.integers(30, 90).flatmap(
    lambda count: st.fixed_dictionaries({
        "texts": st.lists(PHRASES, min_size=count, max_size=count),
        "label": st.lists(st.sampled_from(["a", "b", None]), min_size=count, max_size=count),
        "language": st.lists(
            st.sampled_from(["en", "en", "zh", None]), min_size=count, max_size=count
        ),
    })
)  # fmt: skip


@FEW
@given(
    columns=SPLIT_COLUMNS, by=st.sampled_from(["", "language"]),
    unlabelled=st.sampled_from(["keep", "own part"]), order=st.randoms(use_true_random=False),
    partition_rows=st.integers(5, 50),
)  # fmt: skip
def test_a_split_covers_every_record_once_and_nothing_leaks(
    fresh: Any, columns: dict[str, list[Any]], by: str, unlabelled: str, order: Any,
    partition_rows: int,
) -> None:  # fmt: skip
    folder = fresh()
    # Enough records of their own that no part is empty, whatever the others are.
    alone = [f"one{n} two{n} three{n} four{n}" for n in range(40)]
    texts = columns["texts"] + alone
    label = columns["label"] + ["a"] * 40
    language = columns["language"] + ["en"] * 40
    ids = [f"id-{n}" for n in range(len(texts))]
    spec = SplitSpec(dataset="comments", by=by, unlabelled=unlabelled, shingle_words=2)
    first = run_on(
        folder / "a", data_set(folder / "x", texts, id=ids, label=label, language=language), spec
    )
    place = {i: name for name, a in first.items() for i in read_records(a)["id"].to_pylist()}
    assert sum(artifact.summary["rows"] for artifact in first.values()) == len(texts)
    assert set(place) == set(ids)

    found = near_duplicates(as_texts(pa.array(texts)), spec.near_duplicate_jaccard, 2)
    for row, keeper in enumerate(found.keeper.tolist()):
        parts = {place[ids[row]].split("-")[-1], place[ids[keeper]].split("-")[-1]}
        assert len(parts - {"unlabelled"}) <= 1

    shuffled = list(range(len(texts)))
    order.shuffle(shuffled)
    other = data_set(
        folder / "y", [texts[n] for n in shuffled], partition_rows=partition_rows,
        id=[ids[n] for n in shuffled], label=[label[n] for n in shuffled],
        language=[language[n] for n in shuffled],
    )  # fmt: skip
    second = run_on(folder / "b", other, spec)
    assert place == {i: n for n, a in second.items() for i in read_records(a)["id"].to_pylist()}


@given(
    strata=st.lists(st.integers(0, 4), min_size=1, max_size=200),
    shares=st.sampled_from([[0.7, 0.1, 0.2], [0.5, 0.5], [1.0]]),
)
def test_single_records_are_dealt_within_two_of_their_shares(
    strata: list[int], shares: list[float]
) -> None:
    count = len(strata)
    stratum = np.array(strata)
    rows = np.arange(count)
    parts = deal_groups(rows, rows, np.zeros(count, dtype=np.int64), stratum, np.array(shares))
    given_out = np.bincount(parts, minlength=len(shares))
    assert (np.abs(given_out - np.array(shares) * count) <= 2).all()


# -- sample ---------------------------------------------------------------------------------------


@FEW
@given(
    count=st.integers(1, 60), size=st.integers(1, 80), partition_rows=st.integers(1, 9),
    strategy=st.sampled_from(["random", "stratified"]),
)  # fmt: skip
def test_a_sample_does_not_depend_on_partitions_and_takes_what_was_asked(
    fresh: Any, count: int, size: int, partition_rows: int, strategy: str
) -> None:
    folder = fresh()
    texts, label = [f"text {n}" for n in range(count)], ["ab"[n % 3 == 0] for n in range(count)]
    spec = SampleSpec(dataset="comments", size=size, strategy=strategy)
    versions = set()
    for rows in (1000, partition_rows):
        dataset = data_set(folder / f"in-{rows}", texts, partition_rows=rows, label=label)
        taken = run_on(folder / f"run-{rows}", dataset, spec)["dataset"]
        versions.add(taken.version)
        assert taken.summary["rows"] == min(count, size)
    assert len(versions) == 1


@given(
    total=st.integers(0, 1000),
    weights=st.dictionaries(st.text(max_size=3), st.floats(0.01, 100), min_size=1),
)
def test_whole_shares_sum_to_the_total_and_differ_by_less_than_one(
    total: int, weights: dict[str, float]
) -> None:
    quotas = apportion(total, weights)
    assert sum(quotas.values()) == total
    whole = sum(weights.values())
    assert all(abs(quotas[name] - total * weight / whole) <= 1 for name, weight in weights.items())


# -- integrate ------------------------------------------------------------------------------------


@FEW
@given(texts=st.lists(st.text(), min_size=1, max_size=20))
def test_any_text_comes_back_from_json_as_it_was(fresh: Any, texts: list[str]) -> None:
    folder = fresh()
    path = folder / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    spec = IntegrateSpec.parse({"sources": [{"kind": "jsonl", "name": "s", "path": str(path)}]})
    records = read_records(FolderRun(folder / "run").run(spec)["dataset"])
    assert records.schema.equals(SCHEMA)
    assert records["text"].to_pylist() == texts
    assert len(set(records["id"].to_pylist())) == len(texts)


# -- every stage ----------------------------------------------------------------------------------

COMMENTS = [f"<b>comment</b> number {n} says  something &amp; more {n}" for n in range(60)]


def labelled(folder: Path) -> dict[str, Artifact]:
    label = ["good" if n % 2 else "bad" for n in range(len(COMMENTS))]
    return {"comments@latest": data_set(folder / "given", COMMENTS, partition_rows=25, label=label)}


class TestIntegrate(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        (folder / "a.txt").write_text("one\ntwo\n")
        (folder / "b.jsonl").write_text('{"text": "three", "by": "ann"}\n')
        lines = LinesSource(name="a", path=str(folder / "a.txt"))
        return IntegrateSpec(
            sources=[lines, JsonlSource(name="b", path=str(folder / "b.jsonl"))]
        ), {}


class TestClean(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        return CleanSpec(dataset="comments"), labelled(folder)


class TestSplit(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        return SplitSpec(dataset="comments"), labelled(folder)


class TestSample(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        return SampleSpec(dataset="comments", strategy="stratified"), labelled(folder)


# -- every kind of source -------------------------------------------------------------------------


class TestCsvSource(SourceLaws):
    def example(self, folder: Path) -> Any:
        (folder / "a.csv").write_text("text,label,by\none,1,ann\ntwo,,bob\n")
        return CsvSource(name="s", path=str(folder / "a.csv"), label_column="label")


class TestJsonlSource(SourceLaws):
    def example(self, folder: Path) -> Any:
        (folder / "a.jsonl").write_text('{"text": "one", "n": NaN}\n{"text": null, "n": [1]}\n')
        return JsonlSource(name="s", path=str(folder / "*.jsonl"))


class TestParquetSource(SourceLaws):
    def example(self, folder: Path) -> Any:
        pq.write_table(pa.table({"text": ["one", None], "n": [b"x", None]}), folder / "a.parquet")
        return ParquetSource(name="s", path=str(folder / "a.parquet"))


class TestLinesSource(SourceLaws):
    def example(self, folder: Path) -> Any:
        (folder / "a.txt").write_text("one\n\n")
        (folder / "b.txt").write_text("one\n")
        return LinesSource(name="s", path=str(folder / "*.txt"), language="en")


class TestSqlSource(SourceLaws):
    def example(self, folder: Path) -> Any:
        connection = sqlite3.connect(folder / "a.db")
        connection.execute("create table t (text text, n real)")
        connection.execute("insert into t values ('one', 1.5), (null, null)")
        connection.commit()
        connection.close()
        return SqlSource(name="s", url=f"sqlite:///{folder}/a.db", table="t", label_column="n")


class TestHtmlSource(SourceLaws):
    def example(self, folder: Path) -> Any:
        (folder / "a.html").write_text("<html><body><p>one</p><p>two <b>x</b></p></body></html>")
        return HtmlSource(name="s", path=str(folder / "a.html"), record_selector="p")
