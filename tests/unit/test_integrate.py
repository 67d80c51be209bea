"""Sources of every kind become one schema; what is wrong with one is told with place and remedy."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, RunPaused, SpecError, WorkbenchError
from workbench.core.laws import FolderRun
from workbench.core.spec import Spec
from workbench.data.integrate import IntegrateSpec, fingerprint
from workbench.data.records import read_records
from workbench.data.sources import files, text_files
from workbench.data.sources.jsonl import JsonlSource
from workbench.data.sources.source import raw_hash
from workbench.data.sources.sql import SqlSource

DATA = Path(__file__).parents[3] / "shared" / "data"
POLARITY = {"0": "negative", "1": "neutral", "2": "positive"}


def integrate(folder: Path, *sources: dict[str, Any]) -> Artifact:
    spec = IntegrateSpec.parse({"sources": sources})
    return FolderRun(folder / "run").run(spec)["dataset"]


def records(folder: Path, *sources: dict[str, Any]) -> list[dict[str, Any]]:
    return read_records(integrate(folder, *sources)).to_pylist()  # type: ignore[no-any-return]


def written(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def database(path: Path, *statements: str) -> str:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def failure(folder: Path, **source: Any) -> WorkbenchError:
    with pytest.raises(WorkbenchError) as caught:
        integrate(folder, {"name": "mine", **source})
    return caught.value


def assert_told(
    error: WorkbenchError, family: type[WorkbenchError], what: str, where: str, next_step: str
) -> None:
    assert type(error) is family
    assert what in error.what
    assert where in error.where
    assert next_step in error.next_step


# -- what comes out ------------------------------------------------------------------------------


def test_a_table_becomes_records_with_label_provenance_and_extra(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,stars,user\n"good, ""really""",5,ann\nbad,1,\n')
    good, bad = records(
        tmp_path,
        {"kind": "csv", "name": "shop", "path": path, "label_column": "stars",
         "labels": {"5": "positive", "1": "negative"}, "language": "en"},
    )  # fmt: skip
    assert good | {"id": ""} == {
        "id": "", "text": 'good, "really"', "label": "positive",
        "label_scheme": "negative|positive", "source": "shop", "language": "en",
        "provenance": json.dumps(
            {"kind": "csv", "uri": Path(path).as_uri(), "row": 1, "offset": 16, "length": 24,
             "hash": raw_hash(b'"good, ""really""",5,ann')}
        ),
        "extra": '{"user": "ann"}',
    }  # fmt: skip
    assert bad["label"] == "negative"
    assert good["id"] != bad["id"]


def test_ids_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    ids = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        path = written(tmp_path / name / "a.txt", "one\ntwo\n")
        found = records(tmp_path / name, {"kind": "lines", "name": "s", "path": path})
        ids.append([record["id"] for record in found])
    assert ids[0] == ids[1]


def test_a_label_mapped_to_null_leaves_the_record_unlabelled(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "x", "label": 1}\n{"text": "y", "label": 0}\n')
    found = records(
        tmp_path,
        {"kind": "jsonl", "name": "s", "path": path, "label_column": "label",
         "labels": {"1": None, "0": "calm"}},
    )  # fmt: skip
    assert [(r["label"], r["label_scheme"]) for r in found] == [(None, None), ("calm", "calm")]


def test_one_label_scheme_covers_all_sources(tmp_path: Path) -> None:
    two = written(tmp_path / "two.csv", "text,label\na,neg\nb,pos\n")
    three = written(tmp_path / "three.csv", "text,label\nc,neu\n")
    table = {"kind": "csv", "label_column": "label"}
    found = records(
        tmp_path, table | {"name": "two", "path": two}, table | {"name": "three", "path": three}
    )
    assert {record["label_scheme"] for record in found} == {"neg|neu|pos"}


def test_unquoted_tables_keep_quotes_and_odd_line_ends_as_text(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.tsv.gz", gzip.compress('t\tl\n"open \x85 end\r mid\t1\r\n'.encode())
    )
    found = records(
        tmp_path,
        {"kind": "csv", "name": "s", "path": path, "delimiter": "tab", "quoted": False,
         "text_column": "t", "label_column": "l"},
    )  # fmt: skip
    assert [(r["text"], r["label"]) for r in found] == [('"open \x85 end\r mid', "1")]


def test_a_headerless_table_takes_its_names_from_the_spec(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "neutral,Sales rose\n")
    found = records(
        tmp_path,
        {"kind": "csv", "name": "s", "path": path, "columns": ["label", "text"],
         "label_column": "label"},
    )  # fmt: skip
    assert [(r["text"], r["label"]) for r in found] == [("Sales rose", "neutral")]


def test_a_json_array_reads_like_json_lines(tmp_path: Path) -> None:
    rows = [{"text": "一", "n": 1}, {"text": "two", "n": [1, None]}]
    array = written(tmp_path / "a.json", json.dumps(rows, indent=1))
    lines = written(tmp_path / "b.jsonl", "\n".join(map(json.dumps, rows)))
    found = records(
        tmp_path,
        {"kind": "jsonl", "name": "a", "path": array},
        {"kind": "jsonl", "name": "b", "path": lines},
    )
    values = [(r["text"], r["extra"]) for r in found]
    assert values[:2] == values[2:] == [("一", '{"n": 1}'), ("two", '{"n": [1, null]}')]


def test_lines_take_labels_from_a_parallel_file_by_index(tmp_path: Path) -> None:
    texts = written(tmp_path / "t.txt", "fine\n\nworse\n")
    labels = written(tmp_path / "l.txt", "1\n1\n0\n")
    found = records(
        tmp_path,
        {"kind": "lines", "name": "s", "path": texts, "labels_path": labels,
         "label_names": ["bad", "good"]},
    )  # fmt: skip
    assert [(r["text"], r["label"]) for r in found] == [
        ("fine", "good"), ("", "good"), ("worse", "bad")
    ]  # fmt: skip


def test_an_unknown_encoding_is_found_out_and_remembered(tmp_path: Path) -> None:
    text = "Grüße aus Köln – schön war’s, die Straße hinauf"
    latin = written(tmp_path / "a.txt", f"{text}\n".encode("cp1252"))
    wide = written(tmp_path / "b.txt", f"{text}\n".encode("utf-16"))
    found = records(
        tmp_path,
        {"kind": "lines", "name": "a", "path": latin},
        {"kind": "lines", "name": "b", "path": wide},
    )
    assert [record["text"] for record in found] == [text, text]
    assert [json.loads(r["provenance"])["encoding"] for r in found] == ["cp1252", "utf-16"]


def test_half_characters_in_json_do_not_stop_a_run(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "x \\ud83d y", "\\udc00": "\\ud83d"}')
    (found,) = records(tmp_path, {"kind": "jsonl", "name": "s", "path": path})
    assert found["text"] == "x \ufffd y"


def test_parquet_values_become_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = {"body": ["x", None], "stars": [1.0, float("nan")], "when": [b"\x01", None]}
    pq.write_table(pa.table(table), path)
    found = records(
        tmp_path,
        {"kind": "parquet", "name": "s", "path": str(path), "text_column": "body",
         "label_column": "stars"},
    )  # fmt: skip
    assert [(r["text"], r["label"], r["extra"]) for r in found] == [
        ("x", "1", '{"when": "01"}'), ("", None, '{"when": null}'),
    ]  # fmt: skip


def test_a_database_table_is_read_in_the_order_of_its_key(tmp_path: Path) -> None:
    url = database(
        tmp_path / "a.db",
        "create table reviews (id text primary key, text text, label int, who text)",
        "insert into reviews values ('b', 'second', 1, 'bob'), ('a', 'first', 0, 'ann')",
    )
    found = records(
        tmp_path,
        {"kind": "sql", "name": "s", "url": url, "table": "reviews", "label_column": "label",
         "omit_columns": ["who", "id"]},
    )  # fmt: skip
    assert [(r["text"], r["label"], r["extra"]) for r in found] == [
        ("first", "0", None), ("second", "1", None),
    ]  # fmt: skip
    assert json.loads(found[0]["provenance"]) == {
        "kind": "sql", "uri": url, "table": "reviews", "id": "a", "column": "text",
        "hash": raw_hash("first"),
    }  # fmt: skip


def test_a_query_may_hold_what_looks_like_parameters(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (x text)", "insert into t values ('100%')")
    query = "SELECT x || ' :not %s' AS text FROM t WHERE x LIKE '%00%'"
    found = records(tmp_path, {"kind": "sql", "name": "s", "url": url, "query": query})
    assert [record["text"] for record in found] == ["100% :not %s"]


def test_a_source_cannot_write_to_its_database(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (text text)", "insert into t values ('x')")
    error = failure(tmp_path, kind="sql", url=url,
                    query="WITH gone AS (SELECT 1) DELETE FROM t RETURNING text")  # fmt: skip
    assert_told(error, DataError, "readonly", "source mine", "query")
    assert len(records(tmp_path, {"kind": "sql", "name": "s", "url": url, "table": "t"})) == 1


def test_secrets_are_looked_up_where_the_run_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hidden.db"
    database(path, "create table t (text text)", "insert into t values ('x')")
    monkeypatch.setenv("REVIEWS_DB", str(path))
    url = "sqlite:///${env:REVIEWS_DB}"
    (found,) = records(tmp_path, {"kind": "sql", "name": "s", "url": url, "table": "t"})
    assert json.loads(found["provenance"])["uri"] == url


def test_pages_with_many_records_give_one_per_element(tmp_path: Path) -> None:
    page = """<!DOCTYPE html><html><body><div class="c" data-l="1" data-u="a"><b>Ann</b>
    <p>Good &amp; cheap</p></div><div class="c"><b>Bob</b></div></body></html>"""
    path = written(tmp_path / "a.html", page)
    found = records(
        tmp_path,
        {"kind": "html", "name": "s", "path": path, "record_selector": "div.c",
         "text_selector": "p", "label_attribute": "data-l", "attributes": ["data-u"]},
    )  # fmt: skip
    assert [(r["text"], r["label"], r["extra"]) for r in found] == [
        ("Good & cheap", "1", '{"data-u": "a"}'), ("", None, '{"data-u": null}'),
    ]  # fmt: skip


def test_a_page_without_a_selector_gives_its_main_text(tmp_path: Path) -> None:
    page = f"""<html><head><title>News</title></head><body><nav><a href=x>Home</a></nav>
    <article><h1>Rain</h1><p>{"It rained all day in the north. " * 9}</p></article></body></html>"""
    path = written(tmp_path / "a.html", page.encode("latin-1"))
    (found,) = records(tmp_path, {"kind": "html", "name": "s", "path": path})
    assert "It rained all day" in found["text"]
    assert "Home" not in found["text"]
    assert json.loads(found["extra"]) == {"title": "News"}


def test_a_limit_bounds_each_source(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "1\n2\n3\n")
    dataset = integrate(tmp_path, {"kind": "lines", "name": "s", "path": path, "limit": 2})
    assert dataset.summary == {
        "rows": 2, "sources": {"s": 2}, "labels": {}, "unlabelled": 2, "rejected": 0
    }  # fmt: skip


def test_a_pattern_reads_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        written(tmp_path / name, f"{name}\n")
    source = {"kind": "lines", "name": "s", "path": str(tmp_path / "*.txt")}
    assert [record["text"] for record in records(tmp_path, source)] == ["a.txt", "b.txt"]


# -- rejected rows, parts and partitions -----------------------------------------------------------


def bad_lines(folder: Path) -> dict[str, Any]:
    path = written(folder / "a.jsonl", '{"text": "x"}\n' * 9 + '{"text": \n' + '{"text": "y"}\n')
    return {"kind": "jsonl", "name": "s", "path": path}


def test_rows_read_are_records_and_rejected_rows_exactly(tmp_path: Path) -> None:
    run = FolderRun(tmp_path / "run")
    made = run.run(IntegrateSpec.parse({"sources": [bad_lines(tmp_path)]}))
    (row,) = read_records(made["rejected"]).to_pylist()
    assert row | {"id": "", "provenance": json.loads(row["provenance"])} == {
        "id": "", "action": "rejected", "rule": "not_json",
        "value": "Line 10 is not JSON: Expecting value at column 10",
        "text": '{"text": ', "source": "s",
        "provenance": {
            "kind": "jsonl", "uri": (tmp_path / "a.jsonl").as_uri(), "row": 10, "offset": 126,
            "length": 9,
        },
    }  # fmt: skip
    assert made["dataset"].summary["rejected"] == 1
    assert made["rejected"].summary == {"rows": 1, "rules": {"not_json": 1}}
    assert ("rows", {"read": 11, "written": 10}) in run.events


def test_a_run_without_bad_rows_writes_an_empty_data_set_of_them(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "x\n")
    spec = IntegrateSpec.parse({"sources": [{"kind": "lines", "name": "s", "path": path}]})
    made = FolderRun(tmp_path / "run").run(spec)["rejected"]
    assert read_records(made).num_rows == made.summary["rows"] == 0


def test_a_bad_row_stops_the_run_where_that_is_asked_for(tmp_path: Path) -> None:
    spec = IntegrateSpec.parse({"sources": [bad_lines(tmp_path)], "on_bad_row": "stop"})
    with pytest.raises(DataError) as caught:
        FolderRun(tmp_path / "run").run(spec)
    assert_told(caught.value, DataError, "Line 10 is not JSON", "source s, a.jsonl:10", "Mend")


def test_more_rejected_rows_than_allowed_fail_the_run(tmp_path: Path) -> None:
    spec = IntegrateSpec.parse({"sources": [bad_lines(tmp_path)], "max_rejected_share": 0.05})
    with pytest.raises(DataError) as caught:
        FolderRun(tmp_path / "run").run(spec)
    assert_told(caught.value, DataError, "1 of 11 rows", "a.jsonl:10", "Or raise the share")


def test_the_same_bytes_come_out_however_sources_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.data import records
    from workbench.data.sources import files, part, text_files

    monkeypatch.setattr(records, "PARTITION_ROWS", 70)
    monkeypatch.setattr(records, "PARTITION_BYTES", 1_000)
    for name in "abc":
        written(tmp_path / f"{name}.txt", "".join(f"{'x' * (n % 37)}{n}\n" for n in range(100)))
    source = {"kind": "lines", "name": "s", "path": str(tmp_path / "*.txt")}
    made = []
    for number, (most_bytes, batch_rows) in enumerate([(1 << 20, 1000), (300, 7), (5000, 33)]):
        for module in (files, text_files):
            monkeypatch.setattr(module, "PART_BYTES", most_bytes)
        monkeypatch.setattr(part, "_BATCH_ROWS", batch_rows)
        monkeypatch.setattr(part, "_READ_ROWS", batch_rows)
        run = FolderRun(tmp_path / f"{number}")
        made.append(run.run(IntegrateSpec.parse({"sources": [source]}))["dataset"])
        assert run.num_written_checkpoints > 1 or most_bytes == 1 << 20
    assert len({dataset.version for dataset in made}) == 1
    sizes = [pq.read_table(path).num_rows for path in sorted(made[0].path.glob("part-*"))]
    assert sum(sizes) == 300
    assert len(sizes) > 4
    assert max(sizes) <= 70


# -- fingerprints ---------------------------------------------------------------------------------


def test_the_fingerprint_follows_the_bytes_of_every_file(tmp_path: Path) -> None:
    texts, labels = tmp_path / "t.txt", tmp_path / "l.txt"
    url = database(tmp_path / "a.db", "create table t (text text)")
    spec = IntegrateSpec.parse({"sources": [
        {"kind": "lines", "name": "a", "path": written(texts, "x\n"),
         "labels_path": written(labels, "1\n")},
        {"kind": "sql", "name": "b", "url": url, "table": "t"},
    ]})  # fmt: skip
    seen = [fingerprint(spec)]
    written(texts, "y\n")
    seen.append(fingerprint(spec))
    written(labels, "0\n")
    seen.append(fingerprint(spec))
    database(tmp_path / "a.db", "insert into t values ('x')")
    seen.append(fingerprint(spec))
    assert None not in seen
    assert len(set(seen)) == 4


def test_a_database_server_has_no_fingerprint() -> None:
    source = SqlSource(name="s", url="postgresql://u:${env:HOME}@db/news", table="t")
    assert source.fingerprint() is None
    assert fingerprint(IntegrateSpec(sources=[source])) is None


# -- bad input, one by one ------------------------------------------------------------------------


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    written(tmp_path / "reviews.csv", "text\nx\n")
    error = failure(tmp_path, kind="csv", path=str(tmp_path / "review.csv"))
    assert_told(error, DataError, "No file", "source mine", "Did you mean 'reviews.csv'?")


def test_a_folder_is_told_apart_from_a_file(tmp_path: Path) -> None:
    error = failure(tmp_path, kind="lines", path=str(tmp_path))
    assert_told(error, DataError, "is a folder", str(tmp_path), "/*")


def test_a_damaged_gzip_file_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gz", gzip.compress(b"text\n" * 1000)[:-20])
    error = failure(tmp_path, kind="lines", path=path, encoding="utf-8")
    assert_told(error, DataError, "damaged gzip", "a.gz", "Copy the file again")


def test_a_wrong_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", b"fine\nalso fine\nKr\xe4he\n")
    error = failure(tmp_path, kind="lines", path=path, encoding="utf-8")
    assert_told(
        error, DataError, "Line 3 is not utf-8, byte 3", "a.txt:3", "Leave the encoding empty"
    )


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", bytes(range(256)) * 9)
    error = failure(tmp_path, kind="csv", path=path)
    assert_told(error, DataError, "no text encoding", "source mine", "choose another kind")


def test_an_encoding_that_does_not_exist_is_a_spec_error(tmp_path: Path) -> None:
    error = failure(tmp_path, kind="csv", path="a.csv", encoding="utf-9")
    assert_told(error, SpecError, "'utf-9' is no text encoding", "encoding", "")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "sql"])
def test_a_missing_column_is_told_with_the_nearest_name(tmp_path: Path, kind: str) -> None:
    place = {
        "csv": {"path": written(tmp_path / "a.csv", "text,sentiment\nx,1\n")},
        "jsonl": {"path": written(tmp_path / "a.jsonl", '{"text": "x", "sentiment": 1}\n')},
        "parquet": {"path": str(tmp_path / "a.parquet")},
        "sql": {"url": database(tmp_path / "a.db", "create table t (text, sentiment)"),
                "table": "t"},
    }[kind]  # fmt: skip
    pq.write_table(pa.table({"text": ["x"], "sentiment": [1]}), tmp_path / "a.parquet")
    error = failure(tmp_path, kind=kind, label_column="sentimnt", **place)
    assert_told(error, DataError, "no column 'sentimnt'", "source mine", "'sentiment'?")


def test_a_missing_table_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table reviews (text text)")
    error = failure(tmp_path, kind="sql", url=url, table="review")
    assert_told(error, DataError, "no table 'review'", "source mine", "Did you mean 'reviews'?")


def test_a_missing_database_file_is_told_and_not_made(tmp_path: Path) -> None:
    error = failure(tmp_path, kind="sql", url=f"sqlite:///{tmp_path}/no.db", table="t")
    assert_told(error, DataError, "no database file", "source mine", "Check the path")
    assert not (tmp_path / "no.db").exists()


def test_a_query_that_fails_is_told_with_the_query(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (text text)")
    error = failure(tmp_path, kind="sql", url=url, query="SELECT missing FROM t")
    assert_told(error, DataError, "no such column: missing", "SELECT missing", "query")


def test_a_secret_that_is_not_set_is_told_by_name(tmp_path: Path) -> None:
    error = failure(tmp_path, kind="sql", url="postgresql://u:${env:NO_SUCH}@db/x", table="t")
    assert_told(error, DataError, "NO_SUCH is not set", "source mine", "where workers run")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2@db/news", "mysql://db/news?user=ann&password=hunter2",
        "postgresql://ann:hunter2/x@db/news", "postgresql://ann:a?hunter2@db/news",
        "postgresql://ann:a#hunter2@db/news", "postgresql://:hunter2@db/news",
        "postgresql://${env:NAME}:hunter2@db/news", "postgresql://ann:${env:NAME}hunter2@db/news",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BSQL%7D%3BUID%3Dann%3BPWD%3Dhunter2",
    ],
)  # fmt: skip
def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    error = failure(tmp_path, kind="sql", url=url, table="t")
    assert_told(error, SpecError, "holds a password", "url", "${env:NAME}")
    assert "hunter2" not in str(error) + error.detail


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "either a table or a query"),
        ({"table": "t", "query": "SELECT 1"}, "either a table or a query"),
        ({"query": "DROP TABLE t"}, "must begin with SELECT"),
    ],
)
def test_a_database_source_needs_one_thing_to_read(
    tmp_path: Path, given: dict[str, str], what: str
) -> None:
    error = failure(tmp_path, kind="sql", url="sqlite:////x.db", **given)
    assert_told(error, SpecError, what, "sources.0", "")


def test_text_that_is_no_html_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.html", "Just words, 1 < 2.")
    error = failure(tmp_path, kind="html", path=path)
    assert_told(error, DataError, "no HTML page", "a.html", "lines or csv")


def test_a_selector_that_matches_nothing_is_told_with_the_page_s_classes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.html", '<html><body><p class="post">x</p></body></html>')
    error = failure(tmp_path, kind="html", path=path, record_selector="div.comment")
    assert_told(error, DataError, "(record_selector) matches nothing", "a.html", "p.post")


@pytest.mark.parametrize(
    ("given", "what", "next_step"),
    [
        ({"record_selector": "div[["}, "no CSS selector", "style sheet"),
        ({"record_selector": "p", "text_selector": "b"}, "'b' matches nothing", "Look into"),
        ({"record_selector": "p", "label_attribute": "data-lable"}, "data-lable", "'data-label'?"),
    ],
)
def test_selectors_and_attributes_are_checked(
    tmp_path: Path, given: dict[str, str], what: str, next_step: str
) -> None:
    path = written(tmp_path / "a.html", '<html><body><p data-label="1">x</p></body></html>')
    error = failure(tmp_path, kind="html", path=path, **given)
    assert_told(error, DataError, what, "source mine", next_step)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "lines"])
def test_an_empty_source_is_told(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "a.txt", "text\n" if kind == "csv" else "")
    error = failure(tmp_path, kind=kind, path=path)
    assert_told(error, DataError, "holds no records", "source mine", "leave it out")


def test_a_bad_json_line_is_told_by_number(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "x"}\n\n{"text": "y",}\n')
    error = failure(tmp_path, kind="jsonl", path=path)
    assert_told(error, DataError, "Line 3 is not JSON", "a.jsonl:3", "Mend or remove")


def test_a_bad_json_array_is_told_by_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", '[\n {"text": "x"},\n {"text": }\n]')
    error = failure(tmp_path, kind="jsonl", path=path)
    assert_told(error, DataError, "Line 3 is not JSON", "line 3", "Mend or remove")


def test_a_json_value_that_is_no_object_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "x"}\n"y"\n')
    error = failure(tmp_path, kind="jsonl", path=path)
    assert_told(error, DataError, "row 2 is a str", "a.jsonl:2", "JSON object")


def test_a_text_column_that_holds_no_text_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": ["x"]}\n')
    error = failure(tmp_path, kind="jsonl", path=path)
    assert_told(error, DataError, "holds a list, not text", "a.jsonl:1", "holds the text")


def test_a_row_with_too_many_cells_is_told_by_number(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label\nx,1\ny,z,1\n")
    error = failure(tmp_path, kind="csv", path=path)
    assert_told(error, DataError, "Row 2 has 3 cells", "a.csv:2", "delimiter")


def test_an_open_quote_is_told_by_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\nx,1\n"y,0\n')
    error = failure(tmp_path, kind="csv", path=path)
    assert_told(
        error, DataError, "Row 2 is not well-formed, line 3", "a.csv:2", "turn quoted cells off"
    )


def test_two_columns_of_one_name_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label,label\nx,1,0\n")
    error = failure(tmp_path, kind="csv", path=path)
    assert_told(error, DataError, "Two columns are called 'label'", "header", "Rename")


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    error = failure(tmp_path, kind="parquet", path=written(tmp_path / "a.parquet", "text\nx\n"))
    assert_told(error, DataError, "not a readable Parquet file", "a.parquet", "another kind")


@pytest.mark.parametrize(
    ("texts", "labels", "what"),
    [("x\ny\nz\n", "1\n0\n", "text 3 has none"), ("x\n", "1\n0\n", "text 1 is the last")],
)
def test_texts_and_labels_that_do_not_match_are_told(
    tmp_path: Path, texts: str, labels: str, what: str
) -> None:
    error = failure(
        tmp_path, kind="lines", path=written(tmp_path / "t.txt", texts),
        labels_path=written(tmp_path / "l.txt", labels),
    )  # fmt: skip
    assert_told(error, DataError, what, "t.txt", "belongs to this text file")


def test_a_label_that_is_no_index_is_told_by_line(tmp_path: Path) -> None:
    error = failure(
        tmp_path, kind="lines", path=written(tmp_path / "t.txt", "x\ny\n"),
        labels_path=written(tmp_path / "l.txt", "1\n2\n"), label_names=["no", "yes"],
    )  # fmt: skip
    assert_told(error, DataError, "'2' is no index", "line 2", "in order")


def test_a_label_that_no_mapping_names_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label\nx,positive\ny,positve\n")
    error = failure(tmp_path, kind="csv", path=path, label_column="label",
                    labels={"positive": "p", "negative": "n"})  # fmt: skip
    assert_told(error, DataError, "'positve'", "source mine, a.csv:2", "Did you mean 'positive'?")


def test_two_sources_of_one_name_are_refused() -> None:
    sources = [{"kind": "lines", "name": "a", "path": f"{x}.txt"} for x in "xy"]
    with pytest.raises(SpecError) as caught:
        IntegrateSpec.parse({"sources": sources})
    assert "two sources are called 'a'" in caught.value.what


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        IntegrateSpec.parse({"sources": [{"kind": "workbook", "name": "a", "path": "x"}]})
    assert caught.value.next_step.startswith("Known: arrow, cell, csv")


def test_every_field_of_every_kind_is_explained() -> None:
    schema = IntegrateSpec.model_json_schema()["$defs"]
    assert len(schema) >= 6
    for kind, definition in schema.items():
        for name, field in definition["properties"].items():
            assert {"title", "description"} <= field.keys(), f"{kind}.{name}"


# -- real sets ------------------------------------------------------------------------------------


def real(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"LOUD SKIP: the data set {name} is not at {DATA}")
    return DATA / name


def labels_of(folder: Path, **source: Any) -> dict[str, int]:
    return integrate(folder, source).summary["labels"]  # type: ignore[no-any-return]


def test_tweeteval_is_read_whole(tmp_path: Path) -> None:
    folder = real("tweeteval") / "sentiment"
    assert labels_of(
        tmp_path / "train", kind="csv", name="semeval", delimiter="tab", quoted=False,
        path=str(folder / "train_reconstructed.tsv.gz"), label_column="label", labels=POLARITY,
    ) == {"negative": 7415, "neutral": 21277, "positive": 18778}  # fmt: skip
    assert labels_of(
        tmp_path / "test", kind="lines", name="semeval", path=str(folder / "test_text.txt"),
        labels_path=str(folder / "test_labels.txt"), label_names=list(POLARITY.values()),
    ) == {"negative": 3972, "neutral": 5937, "positive": 2375}  # fmt: skip


def test_uci_sentences_are_read_whole_from_a_database(tmp_path: Path) -> None:
    files = sorted(real("uci_sentences").glob("*_labelled.txt"))
    rows = [
        (*line.rstrip("\r").rsplit("\t", 1), path.name)
        for path in files
        for line in path.read_bytes().decode().split("\n")[1:]
        if line
    ]
    url = database(tmp_path / "a.db", "create table reviews (text text, label int, source text)")
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.executemany("insert into reviews values (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    assert labels_of(
        tmp_path, kind="sql", name="uci", url=url, table="reviews", label_column="label",
        labels={"0": "negative", "1": "positive"},
    ) == {"negative": 1500, "positive": 1500}  # fmt: skip


def test_fox_news_comments_are_read_unlabelled(tmp_path: Path) -> None:
    path = real("fox_news_comments") / "fox-news-comments.json"
    dataset = integrate(
        tmp_path, {"kind": "jsonl", "name": "fox", "path": str(path), "omit_columns": ["user"]}
    )
    assert dataset.summary["rows"] == dataset.summary["unlabelled"] == 1528
    assert all("user" not in json.loads(e) for e in read_records(dataset)["extra"].to_pylist())


def test_article_pages_give_their_gold_bodies(tmp_path: Path) -> None:
    folder = real("article_extraction")
    gold = json.loads((folder / "ground-truth.json").read_text())
    source = {"kind": "html", "name": "news", "path": str(folder / "html" / "*.gz")}
    f1 = []
    for record in records(tmp_path, source):
        name = Path(json.loads(record["provenance"])["uri"]).name.removesuffix(".html.gz")
        want, got = set(gold[name]["articleBody"].split()), set(record["text"].split())
        f1.append(2 * len(want & got) / (len(want) + len(got)))
    assert sum(f1) / len(f1) > 0.85


def test_specs_are_frozen_specs() -> None:
    assert issubclass(IntegrateSpec, Spec)


@pytest.mark.parametrize(
    ("source", "what", "next_step"),
    [
        ({"kind": "cvs", "name": "a", "path": "a.csv"}, "unknown 'kind': 'cvs'", "'csv'"),
        ({"kind": "csv", "name": "a", "pth": "a.csv"}, "has no parameter 'pth'", "'path'"),
        ({"kind": "sql", "name": "a", "url": "sqlite:///a", "tabel": "t"}, "'tabel'", "'table'"),
    ],
)
def test_what_is_mistyped_inside_a_source_is_told_with_the_nearest_right_name(
    source: dict[str, str], what: str, next_step: str
) -> None:
    with pytest.raises(SpecError) as caught:
        IntegrateSpec.parse({"name": "x", "sources": [source]})
    assert what in caught.value.what
    assert caught.value.next_step == f"Did you mean {next_step}?"
    assert caught.value.where.startswith("sources.0")
    assert "{" not in caught.value.what, "no table is poured into a message"


def test_what_is_said_of_a_whole_source_is_the_complaint_alone() -> None:
    writing = {"kind": "sql", "name": "a", "url": "sqlite:///a", "query": "delete from t"}
    with pytest.raises(SpecError) as caught:
        IntegrateSpec.parse({"name": "x", "sources": [writing]})
    assert caught.value.what == (
        "IntegrateSpec.sources.0.sql: a query must begin with SELECT or WITH: sources are only read"
    )


def big_jsonl(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bad: int | None = None
) -> IntegrateSpec:
    monkeypatch.setattr(files, "PART_BYTES", 1000)
    monkeypatch.setattr(text_files, "PART_BYTES", 1000)
    lines = [json.dumps({"text": f"text number {n} is no other"}) for n in range(200)]
    if bad is not None:
        lines[bad] = "{"
    (folder / "big.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "small.jsonl").write_text('{"text": "alone"}\n')
    source = {"kind": "jsonl", "name": "mine", "path": str(folder / "*.jsonl")}
    return IntegrateSpec.parse({"sources": [source], "on_bad_row": "stop"})


def test_a_file_that_was_mended_is_read_anew_when_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = big_jsonl(tmp_path, monkeypatch, bad=100)
    run = FolderRun(tmp_path / "run", pause_after=2)
    with pytest.raises(RunPaused):
        run.run(spec)
    path = tmp_path / "big.jsonl"
    lines = path.read_text().splitlines()
    del lines[100], lines[3]  # all that comes behind moves
    path.write_text("\n".join(lines) + "\n")
    made = FolderRun(tmp_path / "run").run(spec)["dataset"]
    expected = [json.loads(line)["text"] for line in lines] + ["alone"]
    assert read_records(made)["text"].to_pylist() == expected


def test_what_was_read_of_files_that_stay_is_kept_when_another_one_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = big_jsonl(tmp_path, monkeypatch)
    run = FolderRun(tmp_path / "run", pause_after=2)
    with pytest.raises(RunPaused):
        run.run(spec)
    (tmp_path / "third.jsonl").write_text('{"text": "late"}\n')
    again = FolderRun(tmp_path / "run")
    before = set(again.checkpoints())
    made = again.run(spec)["dataset"]
    assert len(before & set(again.checkpoints())) == 2
    assert read_records(made)["text"].to_pylist()[-2:] == ["alone", "late"]


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}\n')
    source = JsonlSource.parse({"kind": "jsonl", "name": "mine", "path": str(path)})
    rows = source.read_part(source.parts()[0])
    next(rows)
    path.write_text('{"text": "one"}\n')
    with pytest.raises(DataError, match=r"news.jsonl was changed while it was read"):
        list(rows)


def test_more_labels_than_a_row_can_name_are_kept_one_by_one(tmp_path: Path) -> None:
    rows = "".join(f"text {n},label number {n:04d}\n" for n in range(400))
    path = written(tmp_path / "many.csv", f"text,label\n{rows}")
    source = {"kind": "csv", "name": "mine", "path": path, "label_column": "label"}
    run = FolderRun(tmp_path / "run")
    table = read_records(run.run(IntegrateSpec.parse({"sources": [source]}))["dataset"])
    assert table["label"].to_pylist() == [f"label number {n:04d}" for n in range(400)]
    assert table["label_scheme"].null_count == 400
    assert any("400 labels" in str(facts.get("message")) for _, facts in run.events)
