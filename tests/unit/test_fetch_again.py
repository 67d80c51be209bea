"""A record of any kind of source is fetched again from its provenance, or it is said why not."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_sources_web import Site

from workbench.core.errors import DataError, WorkbenchError
from workbench.core.laws import FolderRun
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.data.sources.fetch import fetch_again
from workbench.data.sources.kinds import source_kinds


class Place:
    """A folder and a server in which a source can be made, changed and removed."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder, self.site = folder, site
        self.record: dict[str, Any] = {}

    def write(self, name: str, content: bytes | str) -> dict[str, Any]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return {"path": str(path)}

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.site.pages.clear()


def _parquet(place: Place, word: str) -> dict[str, Any]:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["first", word]}), sink, row_group_size=1)
    return place.write("a.parquet", sink.getvalue().to_pybytes())


def _arrow(place: Place, word: str) -> dict[str, Any]:
    sink = pa.BufferOutputStream()
    pyarrow.feather.write_feather(pa.table({"text": ["first", word]}), sink)
    return place.write("a.arrow", sink.getvalue().to_pybytes())


def _texts(place: Place, word: str) -> dict[str, Any]:
    place.write("a.txt", "first")
    place.write("b.txt", word)
    return {"path": str(place.folder / "*.txt")}


def _html(place: Place, word: str) -> dict[str, Any]:
    place.write("a.html", f"<body><p>first</p><p>{word} ü</p>".encode("latin-1"))
    return {"path": str(place.folder / "a.html"), "record_selector": "p"}


def _warc(place: Place, word: str) -> dict[str, Any]:
    records = []
    for text in ("first", word):
        body = f"<html><body><p>{text}</p></body></html>".encode()
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
        records.append(
            b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/\r\n"
            b"WARC-Date: 2024-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
            b"Content-Type: application/http; msgtype=response\r\n"
            b"Content-Length: %d\r\n\r\n" % len(http) + http + b"\r\n\r\n"
        )
    return place.write("a.warc", b"".join(records))


def _sql(place: Place, word: str) -> dict[str, Any]:
    place.folder.mkdir(parents=True, exist_ok=True)
    path = place.folder / "a.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (id integer primary key, text text)")
        connection.executemany("insert into t (text) values (?)", [("first",), (word,)])
    connection.close()
    return {"url": f"sqlite:///{path}", "table": "t"}


def _web(place: Place, word: str) -> dict[str, Any]:
    urls = [place.site.page(f"/{n}", f"<p>{t}</p>") for n, t in enumerate(("first", word))]
    return {"urls": urls, "wait_seconds": 0, "allowed_hosts": [place.site.host]}


def _huggingface(place: Place, word: str) -> dict[str, Any]:
    place.write("train.csv", f"text\nfirst\n{word}\n")
    return {"dataset": str(place.folder)}


# Kind: how to make a source of two records, the second of which holds a word; and its raw form.
KINDS: dict[str, tuple[Callable[[Place, str], dict[str, Any]], str]] = {
    "csv": (lambda p, w: p.write("a.csv", f'text\nfirst\n"{w},\n"\n'), '"{},\n"'),
    "jsonl": (
        lambda p, w: p.write("a.jsonl", f'{{"text": "first"}}\n{{"text": "{w}"}}\n'),
        '{{"text": "{}"}}',
    ),
    "json": (
        lambda p, w: (
            p.write("a.json", f'{{"in": [{{"text": "first"}}, {{"text": "{w}"}}]}}')
            | {"records_path": "in"}
        ),
        '{{"text": "{}"}}',
    ),
    "parquet": (_parquet, "{}"),
    "arrow": (_arrow, "{}"),
    "lines": (lambda p, w: p.write("a.txt", f"first\n{w}\n"), "{}"),
    "texts": (_texts, "{}"),
    "sql": (_sql, "{}"),
    "html": (_html, "<p>{} ü</p>"),
    "warc": (_warc, "<html><body><p>{}</p></body></html>"),
    "web": (_web, "<p>{}</p>"),
    "huggingface": (_huggingface, "{}"),
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    site = Site()
    yield Place(tmp_path / "source", site)
    site.close()


def integrated(place: Place, kind: str, word: str, run: Path) -> list[dict[str, Any]]:
    settings = KINDS[kind][0](place, word)
    spec = IntegrateSpec.parse({"sources": [{"kind": kind, "name": "s", **settings}]})
    return read_records(FolderRun(run).run(spec)["dataset"]).to_pylist()  # type: ignore[no-any-return]


def again(place: Place, record: dict[str, Any]) -> bytes:
    return fetch_again(record, allowed_hosts=[place.site.host])


def test_every_kind_is_here() -> None:
    # Code of a notebook is not run to fetch a record: it may do anything.
    assert {kind.model_fields["kind"].default for kind in source_kinds()} - {"cell"} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_record_comes_back(place: Place, tmp_path: Path, kind: str) -> None:
    _, record = integrated(place, kind, "second", tmp_path / "run")
    assert "second" in record["text"]
    assert again(place, record).decode() == KINDS[kind][1].format("second")


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_was_changed_is_a_named_error(
    place: Place, tmp_path: Path, kind: str
) -> None:
    first, record = integrated(place, kind, "second", tmp_path / "run")
    KINDS[kind][0](place, "altered")
    with pytest.raises(DataError, match="The record is not what it was when it was read"):
        again(place, record)
    if kind not in ("parquet", "arrow"):
        assert b"first" in again(place, first)  # its neighbour is as it was


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_whose_source_is_gone_is_a_named_error(
    place: Place, tmp_path: Path, kind: str
) -> None:
    _, record = integrated(place, kind, "second", tmp_path / "run")
    place.remove()
    with pytest.raises(DataError) as caught:
        again(place, record)
    assert caught.value.where
    assert caught.value.next_step
    assert "not what it was" not in caught.value.what


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_whose_row_is_gone_is_a_named_error(
    place: Place, tmp_path: Path, kind: str
) -> None:
    _, record = integrated(place, kind, "second", tmp_path / "run")
    provenance = json.loads(record["provenance"])
    names = [name for name in ("row", "element", "id", "offset") if name in provenance]
    if not names:  # a whole file or page
        names, value = ["uri"], f"{provenance['uri']}0"
    else:
        value = 1_000_000
    moved = {**provenance, **dict.fromkeys(names, value)}
    with pytest.raises(DataError):
        again(place, {**record, "provenance": json.dumps(moved)})


@pytest.mark.parametrize(
    "record",
    [{}, {"provenance": None}, {"provenance": "{"}, {"provenance": "[]"}, {"provenance": "{}"}],
)
def test_a_row_without_provenance_is_told(record: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        fetch_again(record)


def test_a_kind_that_is_not_known_is_told_with_the_nearest() -> None:
    record = {"id": "x", "provenance": '{"kind": "parket", "uri": "file:///a"}'}
    with pytest.raises(DataError, match="the kind 'parket' cannot be fetched") as caught:
        fetch_again(record)
    assert caught.value.next_step == "Did you mean 'parquet'?"


VALUES = st.one_of(
    st.none(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.just([]),
    st.just({}),
)  # fmt: skip

FIELDS = st.sampled_from(
    ["uri", "row", "offset", "length", "column", "element", "selector", "member", "form",
     "encoding", "records_path", "storage", "table", "query", "key_column"]
)  # fmt: skip


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"web"}))  # which takes its time
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_provenance_is_followed_or_told(
    place: Place, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    if not place.record:
        place.record = integrated(place, kind, "second", tmp_path / "run")[1]
    written = place.record["provenance"]
    changes = {name: data.draw(VALUES, name) for name in data.draw(st.sets(FIELDS), "names")}
    provenance = {**json.loads(written), "hash": "0", **changes}
    with pytest.raises(WorkbenchError):
        fetch_again({"id": "x", "provenance": json.dumps(provenance)})
