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
from data_sets import data_set, hash_of
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun, StageLaws
from workbench.core.spec import Spec
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.undo import UndoSpec
from workbench.data.clean.what_if import WhatIf
from workbench.data.duplicates import near_duplicates
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import SCHEMA, read_records
from workbench.data.rules.personal_data import redact
from workbench.data.sampling.stage import SampleSpec, apportion
from workbench.data.sources.csv import CsvSource
from workbench.data.sources.html import HtmlSource
from workbench.data.sources.jsonl import JsonlSource
from workbench.data.sources.laws import SourceLaws
from workbench.data.sources.lines import LinesSource
from workbench.data.sources.parquet import ParquetSource
from workbench.data.sources.sql import SqlSource
from workbench.data.split.dealing import deal_groups
from workbench.data.split.stage import SplitSpec
from workbench.data.tokens import as_texts

FEW = settings(max_examples=6)

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

# Documents: lines that some rule of Gopher, C4 or FineWeb looks at.
LINES = st.sampled_from(
    [
        "The cat sat on the mat and looked at the moon.",
        "It was good to be there with them!",
        "Home | About",
        "We use cookies on this site.",
        "Please enable javascript to go on.",
        "A fact that is known [1] and cited [edit].",
        "- a point of a list",
        "and so on ...",
        "if (x) { y(); }",
        "Lorem ipsum dolor sit amet.",
        "今天的天气很好，我和他去公园散步。",
        "",
        "# # # #",
    ]
)
DOCUMENTS = st.lists(LINES, max_size=12).map("\n".join)
QUALITY: dict[str, Any] = {
    "gopher_repetition": True, "gopher_max_duplicate_lines": 0.5, "gopher_max_top_2_gram": 0.5,
    "gopher_quality": True, "gopher_min_words": 5, "gopher_min_stop_words": 1,
    "c4": True, "c4_min_sentences": 1, "fineweb": True, "fineweb_max_copied_lines": 0.4,
}  # fmt: skip
# Texts with the settings they are cleaned with: as comments are, and as web documents are.
CLEANINGS = st.tuples(TEXTS, st.just({})) | st.tuples(
    st.lists(DOCUMENTS | HOSTILE, min_size=1, max_size=15), st.just(QUALITY)
)


# What other records and test sets decide, on texts of several lines.
PAGES = st.lists(st.lists(PHRASES, max_size=4).map("\n".join) | HOSTILE, min_size=1, max_size=25)
EXAM = ["good bad phone the", "the phone\ngood good bad", "很好"]
BEYOND_A_RECORD = st.fixed_dictionaries({
    "repeated_passages": st.sampled_from(["keep", "lines", "paragraphs"]),
    "passage_min_characters": st.integers(1, 12), "passage_min_records": st.integers(2, 3),
    "passage_keep_first": st.booleans(),
    "test_sets": st.sampled_from([[], ["exam"]]), "test_sequence_words": st.integers(3, 6),
    "max_test_overlap": st.sampled_from([0.0, 0.5]), "protect": st.sampled_from([[], ["test"]]),
})  # fmt: skip


def run_on(folder: Path, dataset: Artifact, spec: Spec) -> dict[str, Artifact]:
    inputs = {"comments@latest": dataset}
    if isinstance(spec, CleanSpec) and spec.test_sets:
        inputs["exam@latest"] = data_set(folder / "exam", EXAM)
    return FolderRun(folder, inputs).run(spec)


def sources_of(count: int) -> list[str]:
    return ["test" if row % 5 == 3 or row == 0 else "web" for row in range(count)]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Offer a function that gives an empty folder, also inside a hypothesis example."""
    return lambda: tmp_path_factory.mktemp("example")


# -- clean ----------------------------------------------------------------------------------------


@FEW
@given(cleaning=CLEANINGS)
def test_what_came_in_is_what_was_kept_and_what_the_ledger_dropped(
    fresh: Any, cleaning: tuple[list[str], dict[str, Any]]
) -> None:
    folder = fresh()
    texts, setting = cleaning
    dataset = data_set(folder, texts)
    outputs = run_on(folder / "run", dataset, CleanSpec(dataset="comments", **setting))
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
@given(cleaning=CLEANINGS, partition_rows=st.integers(1, 7))
def test_undoing_everything_gives_the_original_byte_for_byte(
    fresh: Any, cleaning: tuple[list[str], dict[str, Any]], partition_rows: int
) -> None:
    folder = fresh()
    texts, setting = cleaning
    original = data_set(folder, texts, partition_rows=partition_rows)
    made = run_on(folder / "run", original, CleanSpec(dataset="comments", **setting))
    inputs = {"comments@latest": original, "clean@latest": made["dataset"],
              "ledger@latest": made["ledger"]}  # fmt: skip
    spec = UndoSpec(original="comments", cleaned="clean", ledger="ledger")
    undone = FolderRun(folder / "undo", inputs).run(spec)["dataset"]
    assert read_records(undone).equals(read_records(original))


@FEW
@given(texts=PAGES, setting=BEYOND_A_RECORD)
def test_what_others_decide_is_undone_byte_for_byte(
    fresh: Any, texts: list[str], setting: dict[str, Any]
) -> None:
    folder = fresh()
    original = data_set(folder, texts, source=sources_of(len(texts)), partition_rows=7)
    made = run_on(folder / "run", original, CleanSpec(dataset="comments", **setting))
    inputs = {"comments@latest": original, "clean@latest": made["dataset"],
              "ledger@latest": made["ledger"]}  # fmt: skip
    spec = UndoSpec(original="comments", cleaned="clean", ledger="ledger")
    undone = FolderRun(folder / "undo", inputs).run(spec)["dataset"]
    assert read_records(undone).equals(read_records(original))


@FEW
@given(
    texts=PAGES, setting=BEYOND_A_RECORD, min_words=st.integers(0, 3),
    max_test_overlap=st.sampled_from([0.0, 0.4, 1.0]),
)  # fmt: skip
def test_what_if_decides_as_a_new_run_does_whatever_others_decide(
    fresh: Any, texts: list[str], setting: dict[str, Any], min_words: int, max_test_overlap: float
) -> None:
    folder = fresh()
    dataset = data_set(folder, texts, source=sources_of(len(texts)))
    now = CleanSpec(dataset="comments", near_duplicate_jaccard=0.6, **setting)
    moved: dict[str, Any] = {"min_words": min_words}
    if now.test_sets:
        moved["max_test_overlap"] = max_test_overlap
    what_if = WhatIf(run_on(folder / "now", dataset, now)["scores"])
    then = CleanSpec.parse({**now.model_dump(), **moved})
    made = run_on(folder / "then", dataset, then)["dataset"]
    decision = what_if.decide(**moved)
    ids = np.array(read_records(dataset)["id"].to_pylist())
    assert ids[decision.kept].tolist() == read_records(made)["id"].to_pylist()
    assert decision.dropped == made.summary["dropped"]


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
@given(
    texts=st.lists(DOCUMENTS, min_size=1, max_size=15),
    settings_then=st.fixed_dictionaries({}, optional={
        "gopher_repetition": st.just(False), "gopher_quality": st.just(False),
        "fineweb": st.just(False), "gopher_max_duplicate_lines": st.none() | st.floats(0, 1),
        "gopher_max_duplicate_5_grams": st.sampled_from([0.0, 0.5, 1.0]),
        "gopher_min_words": st.none() | st.integers(0, 60),
        "gopher_min_alphabetic_words": st.sampled_from([0.1, 0.5, 1.0]),
        "gopher_min_stop_words": st.none() | st.integers(0, 5),
        "c4_min_sentences": st.none() | st.integers(0, 5),
        "c4_max_curly_bracket_lines": st.none() | st.integers(0, 2),
        "fineweb_max_short_lines": st.none() | st.floats(0, 1),
    }),
)  # fmt: skip
def test_what_if_decides_as_a_new_run_does_for_documents(
    fresh: Any, texts: list[str], settings_then: dict[str, Any]
) -> None:
    folder = fresh()
    dataset = data_set(folder, texts)
    now = CleanSpec(dataset="comments", near_duplicate_jaccard=0.6, **QUALITY)
    what_if = WhatIf(run_on(folder / "now", dataset, now)["scores"])
    then = CleanSpec.parse({**now.model_dump(), **settings_then})
    made = run_on(folder / "then", dataset, then)["dataset"]
    decision = what_if.decide(**settings_then)
    ids = np.array(read_records(dataset)["id"].to_pylist())
    assert ids[decision.kept].tolist() == read_records(made)["id"].to_pylist()
    assert decision.dropped == made.summary["dropped"]


@FEW
@given(texts=st.lists(DOCUMENTS, min_size=1, max_size=15))
def test_lines_that_went_and_lines_that_stayed_are_the_text(fresh: Any, texts: list[str]) -> None:
    folder = fresh()
    spec = CleanSpec(
        dataset="comments", c4=True, c4_max_lorem_ipsum_lines=None, c4_min_sentences=None,
        c4_max_curly_bracket_lines=None, repair_unicode=False, strip_html=False,
        tidy_whitespace=False, personal_data="keep", min_words=0, max_symbol_share=1,
        max_repeat_share=1, drop_exact_duplicates=False, near_duplicate_jaccard=0,
    )  # fmt: skip
    made = run_on(folder / "run", data_set(folder, texts), spec)
    kept = {r["id"]: r["text"] for r in read_records(made["dataset"]).to_pylist()}
    taken = [r for r in read_records(made["ledger"]).to_pylist() if r["rule"] != "c4_lines"]
    for row, text in enumerate(texts):
        rest, done = b"", 0
        for piece in taken:
            if piece["row"] == row and piece["action"] == "changed":
                rest, done = rest + text.encode()[done : piece["start"]], piece["end"]
        rest += text.encode()[done:]
        # A text of which nothing is left is dropped as empty.
        assert kept.get(f"{row}-{hash_of(text)}", "").split() == rest.decode().split()


@settings(max_examples=20)
@given(
    cleaning=CLEANINGS
    | st.tuples(PAGES, BEYOND_A_RECORD)
    | st.tuples(
        st.lists(DOCUMENTS, min_size=1, max_size=15),
        BEYOND_A_RECORD.map(lambda b: {**QUALITY, **b}),
    ),
    partition_rows=st.integers(1, 7),
)
def test_cleaning_does_not_depend_on_partitions(
    fresh: Any, cleaning: tuple[list[str], dict[str, Any]], partition_rows: int
) -> None:
    folder = fresh()
    texts, setting = cleaning
    spec = CleanSpec(dataset="comments", near_duplicate_jaccard=0.6, **setting)
    source = sources_of(len(texts))
    whole, parted = (
        run_on(
            folder / f"run-{rows}",
            data_set(folder / str(rows), texts, partition_rows=rows, source=source), spec,
        )
        for rows in (1000, partition_rows)
    )  # fmt: skip
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
    del first["report"]
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
    del second["report"]
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
