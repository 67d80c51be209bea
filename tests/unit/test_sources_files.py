"""Files of every form, packed or not, here or behind a URL: read within bounds, found again."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.data.sources import csv as csv_source
from workbench.data.sources import files, text_files
from workbench.data.sources.csv import CsvSource
from workbench.data.sources.fetch import fetch_again
from workbench.data.sources.files import FileSource
from workbench.data.sources.json_values import BadJson, array_elements
from workbench.data.sources.kinds import source_kinds
from workbench.data.sources.laws import SourceLaws
from workbench.data.sources.lines import LinesSource
from workbench.data.sources.raw_lines import line_spans, raw_lines
from workbench.data.sources.source import Rejected, Source, SourceRow

KINDS: dict[str, Any] = {kind.model_fields["kind"].default: kind for kind in source_kinds()}


def source(kind: str, path: Path | str, **settings: Any) -> Source:
    made: Source = KINDS[kind].parse({"kind": kind, "name": "s", "path": str(path), **settings})
    return made


def rows(kind: str, path: Path | str, **settings: Any) -> list[Any]:
    return list(source(kind, path, **settings).read())


def texts(kind: str, path: Path | str, **settings: Any) -> list[str]:
    return [row.text for row in rows(kind, path, **settings)]


def rejected(found: list[Any]) -> list[tuple[str, str]]:
    return [(row.position, row.rule) for row in found if isinstance(row, Rejected)]


def failure(kind: str, path: Path | str, **settings: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        rows(kind, path, **settings)
    assert caught.value.where
    assert caught.value.next_step
    return caught.value


def packed_zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": packed_zstd,
}  # fmt: skip


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


# -- forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", PACKERS)
def test_every_packed_form_reads_as_what_is_in_it(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.txt.{form}"
    path.write_bytes(PACKERS[form]("one\nzwei ü\n".encode()))
    assert texts("lines", path) == ["one", "zwei ü"]


@pytest.mark.parametrize("form", PACKERS)
def test_a_packed_file_that_ends_early_is_a_named_error(tmp_path: Path, form: str) -> None:
    whole = PACKERS[form](os.urandom(50_000).hex().encode() * 3)
    path = tmp_path / f"a.txt.{form}"
    path.write_bytes(whole[: len(whole) // 2])
    assert "is a damaged" in failure("lines", path, encoding="utf-8").what


def test_members_of_an_archive_are_files(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", b__b=b"text\nthree\n", a=b"text\none\ntwo\n", __hidden=b"no")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/a", b"no")
        archive.writestr(".hidden", b"no")
        archive.writestr("c.csv.gz", gzip.compress(b"text\nfour\n"))
    found = rows("csv", path, members="[abc]*")
    assert [row.text for row in found] == ["one", "two", "three", "four"]
    assert [row.position for row in found][2:] == ["a.zip/b/b:1", "a.zip/c.csv.gz:1"]
    assert found[2].provenance["member"] == "b/b"


def test_an_archive_without_the_members_asked_for_is_told(tmp_path: Path) -> None:
    error = failure("csv", zipped(tmp_path / "a.zip", a=b"x"), members="*.csv")
    assert "matches '*.csv'" in error.what
    assert error.next_step == "In it: a"


def test_a_bomb_does_not_go_off(tmp_path: Path) -> None:
    bomb = bytes(100 << 20)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bomb))
    zipped(tmp_path / "a.zip", a=bomb)
    for name in ("a.gz", "a.zip"):
        assert "may be a bomb" in failure("lines", tmp_path / name, encoding="utf-8").what
    small = tmp_path / "b.gz"
    small.write_bytes(gzip.compress(b"text\n" * 1000))
    error = failure("lines", small, max_unpacked_gigabytes=1e-6)
    assert "more than 1,000 bytes" in error.what


def test_an_archive_that_lies_about_its_size_does_not_go_off(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", a=bytes(100 << 20))
    content = path.read_bytes()
    size = (100 << 20).to_bytes(4, "little")
    path.write_bytes(content.replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(DataError):
        rows("lines", path, encoding="utf-8")


def test_text_that_begins_like_a_packed_file_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("BZhello\n")
    assert texts("lines", tmp_path / "a.txt") == ["BZhello"]


@pytest.mark.parametrize("form", ["file", "stream", "feather"])
def test_arrow_files_and_streams_read_alike(tmp_path: Path, form: str) -> None:
    table = pa.table({"text": ["one", None], "n": [1, 2]})
    path = tmp_path / "a.arrow"
    if form == "feather":
        from pyarrow import feather

        feather.write_feather(table, path, compression="zstd")
    else:
        writer = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
        with writer(path, table.schema) as stream:
            stream.write_table(table)
    found = rows("arrow", path)
    assert [(row.text, row.extra) for row in found] == [("one", {"n": 1}), ("", {"n": 2})]
    packed = tmp_path / "b.arrow.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert texts("arrow", packed) == ["one", ""]


def test_a_file_can_be_one_record_with_its_folder_as_label(tmp_path: Path) -> None:
    for name in ("neg/1.txt", "pos/1.txt", "pos/2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\nsecond line")
    (tmp_path / "pos/3.txt").write_bytes(b"a\0b")
    found = rows("texts", tmp_path / "*" / "*.txt", folder_is_label=True)
    assert [(row.text, row.label) for row in found[:3]] == [
        (f"{name}\nsecond line", name[:3]) for name in ("neg/1.txt", "pos/1.txt", "pos/2.txt")
    ]
    assert rejected(found) == [("pos/3.txt", "nul_byte")]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([{"text": "one"}, {"text": "two"}], ""),
        ({"data": {"items": [{"text": "one"}, {"text": "two"}]}}, "data.items"),
    ],
)
def test_records_of_a_json_document_are_found_by_path(
    tmp_path: Path, document: Any, path: str
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document, indent=1))
    assert texts("json", tmp_path / "a.json", records_path=path) == ["one", "two"]


def test_a_json_document_can_be_one_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"text": "one"}')
    assert texts("json", tmp_path / "a.json") == ["one"]
    error = failure("json", tmp_path / "a.json", records_path="dat")
    assert (error.what, error.next_step) == ("There is no 'dat' on the path 'dat'", "Known: text")


@settings(deadline=None)
@given(
    values=st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        )
    ),
    indent=st.sampled_from([None, 1]),
)
def test_an_array_read_element_by_element_is_the_array(values: list[Any], indent: Any) -> None:
    text = json.dumps(values, indent=indent)
    found = list(array_elements(io.StringIO(text), 1 << 20))
    assert [element.value for element in found] == values
    assert [json.loads(element.text) for element in found] == values


def test_a_long_element_is_read_and_one_too_long_is_told() -> None:
    text = json.dumps(["x" * 1_000_000, 12])
    assert [e.value for e in array_elements(io.StringIO(text), 2_000_000)] == ["x" * 1_000_000, 12]
    with pytest.raises(BadJson, match="longer than a record"):
        list(array_elements(io.StringIO(text), 10_000))


# -- lines and spans ------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    content=st.binary(max_size=300).map(lambda b: b.replace(b"x", b"\n")), most=st.integers(1, 9)
)
def test_lines_are_slices_of_their_file(content: bytes, most: int) -> None:
    found = list(raw_lines(io.BytesIO(content), most))
    lines = content.split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    assert [content[line.offset : line.offset + line.length] for line in found] == lines
    assert [line.raw for line in found] == [x if len(x) <= most else None for x in lines]


@settings(deadline=None)
@given(content=st.text("ab\n", max_size=200).map(str.encode), most=st.integers(1, 50))
def test_spans_hold_every_line_once(content: bytes, most: int) -> None:
    spans = list(line_spans(io.BytesIO(content), len(content), most))
    assert b"".join(content[start:end] for start, end, _ in spans) == content
    for start, end, first_row in spans:
        assert first_row == content[:start].count(b"\n") + 1
        assert end == len(content) or content[:end].endswith(b"\n")


def test_a_line_of_any_length_is_never_held(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.txt"
    with path.open("wb") as stream:
        stream.write(b"one\n")
        for _ in range(100):
            stream.write(b"x" * (1 << 20))
        stream.write(b"\ntwo\n")
    tracemalloc.start()
    found = rows("lines", path, encoding="utf-8", max_record_megabytes=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.position for row in found] == ["a.txt:1", "a.txt:2", "a.txt:3"]
    assert rejected(found) == [("a.txt:2", "too_long")]
    assert peak < 16 << 20


@pytest.mark.parametrize("kind", ["lines", "jsonl", "csv"])
def test_a_big_file_is_cut_into_parts_that_hold_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for module in (files, text_files, csv_source):
        monkeypatch.setattr(module, "PART_BYTES", 1_000)
    path = tmp_path / "a"
    lines = [json.dumps({"text": f"number {n} " * (n % 7)}) for n in range(300)]
    path.write_text("text\n" * (kind == "csv") + "\n".join(lines))
    whole = source(kind, path, **({"quoted": False, "delimiter": "\t"} if kind == "csv" else {}))
    parts = json.loads(json.dumps(whole.parts()))
    assert len(parts) > 10
    assert [row for part in parts for row in whole.read_part(part)] == list(whole.read())


CELLS = st.lists(
    st.one_of(
        st.sampled_from(
            ["", "a", "zw\u00f6lf", 'say "so"', "two\nlines", "a,b", '"', "\r\n", "x" * 40]
        ),
        st.text(alphabet='ab,"\n \u00e9', max_size=12),
    ),
    min_size=2, max_size=2,
)  # fmt: skip


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.lists(CELLS, max_size=25), line_end=st.sampled_from(["\n", "\r\n"]),
    has_mark=st.booleans(), is_named=st.booleans(), blanks=st.booleans(),
    spoil=st.sampled_from(["", "", "", '"open', 'a"b,c\n"d"e,f\n', "\xff", "\0,x\n", "one\n"]),
    most_bytes=st.integers(1, 120), chunk_bytes=st.integers(1, 64),
)  # fmt: skip
def test_a_table_is_cut_where_its_rows_end_or_not_at_all(
    tmp_path: Path, table: list[list[str]], line_end: str, has_mark: bool, is_named: bool,
    blanks: bool, spoil: str, most_bytes: int, chunk_bytes: int,
) -> None:  # fmt: skip
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator=line_end)
    rows.writerows([["text", "other"]] * is_named + table)
    text = stream.getvalue() + spoil
    if blanks:
        text = text.replace(line_end, line_end * 2, 1)
    content = (b"\xef\xbb\xbf" if has_mark else b"") + (
        text.encode("latin-1", "replace") if spoil == "\xff" else text.encode()
    )
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    columns = {} if is_named else {"columns": ["text", "other"]}
    whole = CsvSource.parse({"name": "s", "path": str(path), "encoding": "utf-8", **columns})
    with pytest.MonkeyPatch.context() as patch:
        for module in (files, csv_source):
            patch.setattr(module, "PART_BYTES", most_bytes)
        patch.setattr(csv_source, "_SCAN_BYTES", chunk_bytes)
        parts = json.loads(json.dumps(whole.parts()))
    assert [r for part in parts for r in whole.read_part(part)] == list(whole.read())
    if not spoil and len(content) > 3 * most_bytes and len(table) > 20:
        assert len(parts) > 1


def test_a_parquet_file_is_cut_by_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.data.sources import parquet

    monkeypatch.setattr(parquet, "PART_BYTES", 3_000)
    monkeypatch.setattr(files, "PART_BYTES", 3_000)
    table = pa.table({"text": [f"number {n}" for n in range(1000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    whole = source("parquet", tmp_path / "a.parquet")
    assert len(whole.parts()) > 3
    found = [row for part in whole.parts() for row in whole.read_part(part)]
    assert found == list(whole.read())
    assert [row.provenance["row"] for row in found] == list(range(1, 1001))


# -- bad input ------------------------------------------------------------------------------------


def test_a_bad_row_does_not_cost_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        b'{"text": "one"}\n{"text": "K\xfche"}\n{"text": "\xc3\xbc"}\n{"text": ["x"]}\n'
        b'{"text": 1, "text": 2}\n{"body": "x"}\n[1]\n{"text": "two\x00"}\n{"text": "six"}\n'
        + b'{"text": "%s"}\n' % b"\xc3\xa4".hex().encode() * 9
    )  # fmt: skip
    found = rows("jsonl", tmp_path / "a.jsonl", encoding="utf-8")
    assert [row.text for row in found if isinstance(row, SourceRow)][:3] == ["one", "ü", "six"]
    assert rejected(found) == [
        ("a.jsonl:2", "wrong_encoding"), ("a.jsonl:4", "not_text"),
        ("a.jsonl:5", "duplicated_column"), ("a.jsonl:6", "missing_column"),
        ("a.jsonl:7", "not_an_object"), ("a.jsonl:8", "nul_byte"),
    ]  # fmt: skip


def test_a_few_wrong_bytes_do_not_make_utf8_another_encoding(tmp_path: Path) -> None:
    lines = ["schöne Grüße".encode()] * 50 + [b"sch\xf6n"] + [b"plain"]
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    found = rows("lines", tmp_path / "a.txt")
    assert found[0].text == "schöne Grüße"
    assert rejected(found) == [("a.txt:51", "wrong_encoding")]


def test_an_open_quote_costs_one_row_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'text,n\none,1\n"two,2\nthree,3\nfour,4,4\n"fi\nve",5\n\nsix,6\n'
    )
    found = rows("csv", tmp_path / "a.csv")
    assert [row.text for row in found if isinstance(row, SourceRow)] == [
        "one",
        "three",
        "fi\nve",
        "six",
    ]
    assert rejected(found) == [("a.csv:2", "not_a_row"), ("a.csv:4", "wrong_width")]


def test_quotes_that_are_left_open_in_every_line_do_not_read_the_file_for_ever(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text("text,n\n" + 'x","\n' * 100_000)
    error = failure("csv", tmp_path / "a.csv", max_record_megabytes=0.1)
    assert "quotes are left open" in error.what
    plain = rows("csv", tmp_path / "a.csv", quoted=False)
    assert [row.text for row in plain] == ['x"'] * 100_000


def test_a_page_nested_thousands_deep_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<html>" + "<div/>" * 200_000 + "one")
    assert rejected(rows("html", tmp_path / "a.html")) == [("a.html", "nested_too_deeply")]
    (tmp_path / "a.html").write_text("<html>" + "<div><p>one<br></div>" * 5_000)
    assert len(rows("html", tmp_path / "a.html")[0].text) > 10_000


def test_tables_with_any_line_end_read_alike(tmp_path: Path) -> None:
    for number, ending in enumerate(["\n", "\r\n", "\r"]):
        (tmp_path / f"{number}.csv").write_bytes(f'text{ending}"a b"{ending}c{ending}'.encode())
    assert texts("csv", tmp_path / "*.csv") == ["a b", "c"] * 3


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columns_of_one_name_are_told(tmp_path: Path, kind: str) -> None:
    table = pa.Table.from_arrays([pa.array(["x"])] * 2, names=["text", "text"])
    path = tmp_path / "a"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as stream:
            stream.write_table(table)
    assert failure(kind, path).what == "Two columns are called 'text'"


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret\n")
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.txt").write_text("one\n")
    (folder / "in" / "b.txt").symlink_to(folder / "in" / "a.txt")
    assert texts("lines", folder / "**" / "*.txt") == ["one", "one"]
    (folder / "in" / "c.txt").symlink_to(tmp_path / "secret.txt")
    assert "leads out of" in failure("lines", folder / "**" / "*.txt").what
    source = LinesSource.parse({
        "name": "s", "path": str(folder / "**" / "*.txt"), "on_bad_file": "reject",
    })  # fmt: skip
    assert source.fingerprint() == source.fingerprint()
    rows = [row for part in source.parts() for row in source.read_part(part)]
    assert [row.text for row in rows if isinstance(row, SourceRow)] == ["one", "one"]
    (bad,) = (row for row in rows if isinstance(row, Rejected))
    assert "leads out of" in bad.reason
    (folder / "in" / "c.txt").unlink()
    (folder / "other").symlink_to(tmp_path)
    assert "leads out of" in failure("lines", folder / "*" / "*.txt").what


# -- behind a URL ---------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Any]:
    import fsspec

    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def test_files_behind_a_url_read_like_files_here(memory: Any) -> None:
    memory.pipe("/reviews/a.csv", b"text\none\n")
    memory.pipe("/reviews/b.csv.gz", gzip.compress(b"text\ntwo\n"))
    found = rows("csv", "memory://reviews/*.csv*")
    assert [(row.text, row.position) for row in found] == [
        ("one", "a.csv:1"),
        ("two", "b.csv.gz:1"),
    ]
    assert found[0].provenance["uri"] == "memory:///reviews/a.csv"
    assert texts("csv", "memory://reviews/a.csv") == ["one"]
    assert "Nothing is at" in failure("csv", "memory://reviews/c.csv").what


def test_the_fingerprint_of_a_url_follows_its_file(memory: Any) -> None:
    memory.pipe("/a.txt", b"one\n")
    before = source("lines", "memory://a.txt").fingerprint()
    assert before == source("lines", "memory://a.txt").fingerprint()
    memory.pipe("/a.txt", b"two three\n")
    assert before != source("lines", "memory://a.txt").fingerprint()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"path": "https://example.org/a.csv"}, "use the kind web"),
        ({"path": "zip://a.csv::memory://a.zip"}, "chain of protocols"),
        ({"path": "ftp://ann:hunter2@example.org/a.csv"}, "holds a password"),
        ({"path": "s3://b/a.csv", "storage_options": {"secret": "hunter2"}}, "written out"),
    ],
)
def test_what_a_url_may_not_hold_is_refused_and_not_repeated(
    settings: dict[str, Any], what: str
) -> None:
    with pytest.raises(SpecError) as caught:
        KINDS["csv"].parse({"name": "s", **settings})
    assert what in caught.value.what
    assert "hunter2" not in json.dumps(caught.value.to_json())


def test_a_secret_of_a_url_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_SECRET", "hunter2")
    error = failure("csv", "nosuch${env:BUCKET_SECRET}://x/a.csv")
    assert "hunter2" not in json.dumps(error.to_json())


# -- found again ----------------------------------------------------------------------------------


def test_a_record_is_fetched_again_from_its_provenance_alone(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", a=b'text,n\n"o,\nne",1\r\nlast,2')
    (tmp_path / "b.txt").write_bytes("über\nzwei\n".encode("utf-16"))
    (tmp_path / "c.json").write_text('{"in": [{"text": "x"}]}')
    spec = IntegrateSpec.parse({"sources": [
        {"kind": "csv", "name": "a", "path": str(tmp_path / "a.zip")},
        {"kind": "lines", "name": "b", "path": str(tmp_path / "b.txt")},
        {"kind": "json", "name": "c", "path": str(tmp_path / "c.json"), "records_path": "in"},
    ]})  # fmt: skip
    dataset = FolderRun(tmp_path / "run").run(spec)["dataset"]
    raw = [fetch_again(record) for record in read_records(dataset).to_pylist()]
    assert raw == [b'"o,\nne",1\r', b"last,2", "über".encode(), b"zwei", b'{"text": "x"}']
    (tmp_path / "c.json").write_text('{"in": [{"text": "y"}]}')
    with pytest.raises(DataError, match="not what it was"):
        fetch_again(read_records(dataset).to_pylist()[-1])


# -- laws -----------------------------------------------------------------------------------------


class TestArrow(SourceLaws):
    def example(self, folder: Path) -> FileSource:
        table = pa.table({"text": ["one", "two", None]})
        with pa.ipc.new_file(folder / "a.arrow", table.schema) as stream:
            stream.write_table(table, max_chunksize=1)
        return source("arrow", folder / "*.arrow")


class TestJson(SourceLaws):
    def example(self, folder: Path) -> FileSource:
        (folder / "a.json").write_text('{"in": [{"text": "one"}, {"text": "two", "x": [1]}, 3]}')
        return source("json", folder / "a.json", records_path="in")


class TestTexts(SourceLaws):
    def example(self, folder: Path) -> FileSource:
        for name in ("a", "b", "c"):
            (folder / f"{name}.txt").write_text(name)
        return source("texts", folder / "*.txt")


class TestArchive(SourceLaws):
    def example(self, folder: Path) -> FileSource:
        path = zipped(folder / "a.zip", a=b'text\n"o\nne"\ntwo\n1,2\n', b=gzip.compress(b"text\nx"))
        return source("csv", path)


class TestWide(SourceLaws):
    def example(self, folder: Path) -> FileSource:
        (folder / "a.txt").write_bytes("über\nzwei\n".encode("utf-16"))
        return source("lines", folder / "a.txt")


class TestPackedParquet(SourceLaws):
    def example(self, folder: Path) -> FileSource:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"text": ["one", "two"]}), sink)
        (folder / "a.gz").write_bytes(gzip.compress(sink.getvalue().to_pybytes()))
        return source("parquet", folder / "a.gz")


# -- bad files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b.txt.gz", "b.zip"])
def test_a_bad_file_stops_the_run_or_costs_itself_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    whole = gzip.compress(os.urandom(50_000).hex().encode())
    (tmp_path / name).write_bytes(whole[:20_000] if name.endswith("gz") else b"PK no archive")
    (tmp_path / "c.txt").write_text("two\n")
    given = {"encoding": "utf-8", "on_bad_file": "reject"}
    assert "is a damaged" in failure("lines", tmp_path / "*", encoding="utf-8").what
    found = rows("lines", tmp_path / "*", **given)
    assert [row.text for row in found if isinstance(row, SourceRow)] == ["one", "two"]
    assert rejected(found) == [(f"{name}:bad:1", "bad_file")]
    reader = source("lines", tmp_path / "*", **given)
    parts = json.loads(json.dumps(reader.parts()))
    assert [row for part in parts for row in reader.read_part(part)] == found


def test_a_table_with_a_delimiter_of_several_bytes_is_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (files, csv_source):
        monkeypatch.setattr(module, "PART_BYTES", 20)
    path = tmp_path / "table.csv"
    path.write_text("text\u00a7other\n" + 'a\u00a7"two\nlines"\n' * 20)
    whole = CsvSource.parse({"name": "s", "path": str(path), "delimiter": "\u00a7"})
    parts = whole.parts()
    assert len(parts) == 1
    assert [row for part in parts for row in whole.read_part(part)] == list(whole.read())
