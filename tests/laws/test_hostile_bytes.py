"""Whatever bytes a file holds: readers give records, rejected rows or a named error, no more."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.data.sources.fetch import fetch_from
from workbench.data.sources.kinds import source_kinds
from workbench.data.sources.part import write_part
from workbench.data.sources.source import Rejected, SourceRow

SOURCES: dict[str, Any] = {kind.model_fields["kind"].default: kind for kind in source_kinds()}


class Outcome(NamedTuple):
    """What a source gave: rows, and the error that ended it, if one did."""

    rows: list[SourceRow | Rejected]
    error: DataError | None


def outcome(source: Any, rows: Iterator[SourceRow | Rejected]) -> Outcome:
    found: list[SourceRow | Rejected] = []
    try:
        found.extend(rows)
    except DataError as error:
        assert error.where
        assert error.next_step
        assert source.name in error.where
        return Outcome(found, error)
    return Outcome(found, None)


def check(kind: str, name: str, content: bytes, **settings: Any) -> None:
    """Read a file of these bytes whole, then in parts; write the rows, and fetch them again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        given = {"kind": kind, "name": "hostile", "path": str(path), **settings}
        source = SOURCES[kind].parse(given)
        whole = outcome(source, source.read())
        assert all(len(row.raw) <= 500 for row in whole.rows if isinstance(row, Rejected))
        tolerant = SOURCES[kind].parse({**given, "on_bad_file": "reject"})
        kept = outcome(tolerant, tolerant.read())
        if whole.error is None:
            assert kept == whole
            in_parts = [row for part in source.parts() for row in source.read_part(part)]
            assert in_parts == whole.rows
        positions = [row.position for row in kept.rows]
        assert len(set(positions)) == len(positions)
        _check_written(source, kept.rows)
        for row in kept.rows[:3]:
            if isinstance(row, SourceRow):
                fetch_from(SOURCES[kind], json.loads(json.dumps(row.provenance)))


def _check_written(source: Any, rows: list[SourceRow | Rejected]) -> None:
    with tempfile.TemporaryDirectory() as made:
        write_part(Path(made), source, rows, "reject")
        counts = json.loads((Path(made) / "counts.json").read_text())
    assert counts["rows"] + counts["rejected"] == len(rows)


# -- bytes of each form: its words in any order, and its good files with a wound -------------------


def words_of(*words: bytes) -> st.SearchStrategy[bytes]:
    """Return texts made of a form's own words, of bytes that are no text, and of any bytes."""
    odd = [b"\0", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"x" * 99]
    piece = st.sampled_from([*words, *odd]) | st.binary(max_size=4)
    return st.lists(piece, max_size=30).map(b"".join)


def wounded(good: bytes) -> st.SearchStrategy[bytes]:
    """Return a good file that is cut off, has bytes changed, or a stretch put elsewhere."""
    at = st.integers(0, len(good))
    cut_off = at.map(lambda end: good[:end])
    changed = st.tuples(at, st.binary(min_size=1, max_size=4)).map(
        lambda change: good[: change[0]] + change[1] + good[change[0] + len(change[1]) :]
    )
    moved = st.tuples(at, at, at).map(
        lambda where: good[: where[0]] + good[min(where[1:]) : max(where[1:])] + good[where[0] :]
    )
    return cut_off | changed | moved


CSV_WORDS = words_of(b"text", b"label", b",", b'"', b'""', b"\r\n", b"text,label\n", b"one,1\n")


@settings(max_examples=150, deadline=None)
@given(content=CSV_WORDS, is_quoted=st.booleans(), is_named=st.booleans())
@example(content=b"text\n\x00", is_quoted=True, is_named=False)
@example(content=b'text,text\n"', is_quoted=True, is_named=False)
@example(content=b"\xef\xbb\xbftext\r\xff", is_quoted=True, is_named=False)
def test_any_bytes_are_a_table_or_told(content: bytes, is_quoted: bool, is_named: bool) -> None:
    columns = ["text", "label"] if is_named else []
    check("csv", "a.csv", content, quoted=is_quoted, columns=columns, max_record_megabytes=0.0001)


JSON_WORDS = words_of(
    b'{"text": "one"}', b'"text"', b":", b"{", b"}", b"[", b"]", b",", b"null", b"1e999", b"NaN",
    b'"\\ud800"', b'"\\', b"[" * 5_000, b'{"a":' * 5_000, b"1" * 5_000, b"-", b"tru",
    b'{"text": ["x"]}', b'{"text": {"text": 1}}', b'{"text": "a", "text": "b"}',
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(content=JSON_WORDS)
@example(content=b'[{"text": "one"}, {"text"')
@example(content=b"\xff\xfe[")
@example(content=b'{"text": "\\ud800"}')
def test_any_bytes_are_json_lines_or_told(content: bytes) -> None:
    check("jsonl", "a.jsonl", content)


@settings(max_examples=150, deadline=None)
@given(content=JSON_WORDS, path=st.sampled_from(["", "text", "text.text", "a"]))
def test_any_bytes_are_a_json_document_or_told(content: bytes, path: str) -> None:
    check("json", "a.json", content, records_path=path)


@settings(max_examples=150, deadline=None)
@given(content=words_of(b"one", "ü".encode(), b"\xfc", b"\r\n", b"\xff\xfe", b"\xfe\xff"))
@pytest.mark.parametrize("kind", ["lines", "texts"])
def test_any_bytes_are_text_or_told(kind: str, content: bytes) -> None:
    check(kind, "a.txt", content, max_record_megabytes=0.0001)


@settings(max_examples=150, deadline=None)
@given(content=words_of(b"one\n", b"\n\0", b"\0\n", b"\0\xd8"), code=st.sampled_from(
    ["utf-16", "utf-16-le", "utf-32", "utf-7", "cp1252", "shift_jis", "hz", "utf-8"]
))  # fmt: skip
@pytest.mark.parametrize("kind", ["lines", "csv", "jsonl", "json", "texts", "html"])
def test_any_bytes_are_in_the_encoding_that_is_named_or_told(
    kind: str, content: bytes, code: str
) -> None:
    check(kind, "a.txt", content, encoding=code)


HTML_WORDS = words_of(
    b"<html>", b"<p>one</p>", b"<p class=c>", b"</", b"<!--", b"-->", b"<script>", b"&#xD800;",
    b"&#0;", b"&amp", b"<![CDATA[", b"<table><p>", b"<svg><p>", b"<template><p>", b"<p x=\"",
    b"<meta charset=utf-16>", b"<meta charset=x-none>", b"<frameset>", b"<div>" * 60, b"<!doctype",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(content=HTML_WORDS, selector=st.sampled_from(["", "p", "p.c", "*", ":not(p)"]))
@example(content=b"<p>", selector="p")
def test_any_bytes_are_a_page_or_told(content: bytes, selector: str) -> None:
    check("html", "a.html", content, record_selector=selector)


@settings(max_examples=150, deadline=None)
@given(selector=st.text("p.c*#>[]=\"':()~+,|\\ é", max_size=12))
def test_any_text_is_a_selector_or_told(selector: str) -> None:
    check("html", "a.html", b"<p class=c>one</p>", record_selector=selector)


def _web_archive() -> bytes:
    page = b"<html><body><p>one</p></body></html>"
    records = []
    for head, body in (
        (b"", page),
        (b"Content-Encoding: gzip\r\n", gzip.compress(page, mtime=0)),
        (b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(page), page)),
    ):
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + head + b"\r\n" + body
        records.append(
            b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/\r\n"
            b"WARC-Date: 2024-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
            b"Content-Type: application/http; msgtype=response\r\n"
            b"Content-Length: %d\r\n\r\n" % len(http) + http + b"\r\n\r\n"
        )
    return b"".join(records)


ARCHIVE = _web_archive()


@settings(max_examples=250, deadline=None)
@given(content=wounded(ARCHIVE) | wounded(gzip.compress(ARCHIVE, mtime=0)) | words_of(
    b"WARC/1.0\r\n", b"WARC-Type: response\r\n", b"Content-Length: 9999999999999999999\r\n",
    b"Content-Length: -1\r\n", b"HTTP/1.1 200 OK\r\n", b"Content-Type: text/html\r\n", b"\r\n\r\n",
))  # fmt: skip
def test_any_bytes_are_a_web_archive_or_told(content: bytes) -> None:
    check("warc", "a.warc", content)


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, method in (
            ("a.txt", zipfile.ZIP_STORED), ("b/c.txt", zipfile.ZIP_DEFLATED),
            ("d.txt", zipfile.ZIP_BZIP2), ("e.txt", zipfile.ZIP_LZMA),
        ):  # fmt: skip
            info = zipfile.ZipInfo(name)  # of 1980, so that examples can be shown again
            archive.writestr(info, f"one of {name}\ntwo\n", method)
    return made.getvalue()


ZIP = _zip()


@example(content=ZIP[:369] + b"\0" + ZIP[370:])  # a member without a name
@settings(max_examples=400, deadline=None)
@given(content=wounded(ZIP) | words_of(b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"a.txt"))
def test_any_bytes_are_a_zip_archive_or_told(content: bytes) -> None:
    check("lines", "a.zip", content)


def _zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    content: bytes = sink.getvalue().to_pybytes()
    return content


TEXT = b"".join(b"line %d\n" % number for number in range(50))
PACKED: dict[str, bytes] = {
    "gz": gzip.compress(TEXT, mtime=0), "bz2": bz2.compress(TEXT), "xz": lzma.compress(TEXT),
    "zst": _zstandard(TEXT),
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("form", PACKED)
def test_any_bytes_are_a_packed_file_or_told(form: str, data: st.DataObject) -> None:
    check("lines", f"a.txt.{form}", data.draw(wounded(PACKED[form])))


def _written(write: Callable[[pa.Table, Any], None]) -> bytes:
    sink = pa.BufferOutputStream()
    write(pa.table({"text": ["one", "two", None], "n": [1.5, None, 2.0]}), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _write_arrow(table: pa.Table, sink: Any) -> None:
    with pa.ipc.new_file(sink, table.schema) as stream:
        stream.write_table(table)


COLUMNAR: dict[str, bytes] = {"parquet": _written(pq.write_table), "arrow": _written(_write_arrow)}


@settings(max_examples=250, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", COLUMNAR)
def test_any_bytes_are_a_typed_table_or_told(kind: str, data: st.DataObject) -> None:
    good = COLUMNAR[kind]
    check(kind, "a", data.draw(wounded(good) | words_of(b"PAR1", b"ARROW1\0\0", good[:40])))
