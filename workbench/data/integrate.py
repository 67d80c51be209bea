"""Integrate: many sources of many kinds become one data set in one schema."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError, nearest_name
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, Spec, option
from workbench.data.records import SCHEMA, write_records
from workbench.data.sources.csv import CsvSource
from workbench.data.sources.html import HtmlSource
from workbench.data.sources.jsonl import JsonlSource
from workbench.data.sources.lines import LinesSource
from workbench.data.sources.parquet import ParquetSource
from workbench.data.sources.source import SOURCE_GROUP, Source, SourceRow
from workbench.data.sources.sql import SqlSource

_BATCH_ROWS = 20_000
_SHIPPED = (CsvSource, JsonlSource, ParquetSource, LinesSource, SqlSource, HtmlSource)


def source_kinds() -> list[type[Any]]:
    """Return the shipped kinds of source, then the installed ones (group ``workbench.sources``)."""
    return [*_SHIPPED, *(entry.load() for entry in entry_points(group=SOURCE_GROUP))]


if TYPE_CHECKING:
    AnySource = Source
else:
    AnySource = Annotated[reduce(or_, source_kinds()), Field(discriminator="kind")]


class IntegrateSpec(Spec):
    """What to collect, from where, and what its labels mean here."""

    name: ArtifactName = option(
        "comments", title="Name", help="The name of the data set.", group="Result"
    )  # fmt: skip
    sources: list[AnySource] = option(
        title="Sources", help="Where the records come from, in order.", group="Sources",
        min_length=1,
    )  # fmt: skip

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are called {twice[0]!r}; each needs its own name")
        return self


class IntegrateOutputs(Outputs):
    """One data set with the records of all sources."""

    dataset: Draft


def fingerprint(spec: IntegrateSpec) -> str | None:
    """Return a hash of all that the sources hold now; None if one of them cannot tell."""
    parts = [source.fingerprint() for source in spec.sources]
    if None in parts:
        return None
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@stage(title="Integrate", version=1, fingerprint=fingerprint)
def integrate(spec: IntegrateSpec, run: RunContext) -> IntegrateOutputs:
    """Collect texts from files, databases and web pages into one data set.

    Each source is a durable part: a pause or a kill costs at most one of them.
    """
    parts = []
    for number, source in enumerate(spec.sources):
        run.stop_if_asked()
        run.progress(number, len(spec.sources), "sources", source.name)
        folder = run.checkpoint(f"source-{number:03d}", _writer(source, run))
        parts.append(pq.read_table(folder / "records.parquet", schema=SCHEMA))
        run.log(f"{source.name}: {parts[-1].num_rows} records")
    records = _with_label_scheme(pa.concat_tables(parts), spec.sources)
    draft = run.save("dataset", spec.name)
    write_records(draft, records)
    draft.describe(**_describe(records))
    run.progress(len(spec.sources), len(spec.sources), "sources")
    run.count_rows(read=records.num_rows, written=records.num_rows)
    return IntegrateOutputs(dataset=draft)


def _writer(source: Source, run: RunContext) -> Any:
    def write(folder: Path) -> None:
        with pq.ParquetWriter(folder / "records.parquet", SCHEMA, compression="zstd") as file:
            num_rows = 0
            for rows in _batches(itertools.islice(source.read(), source.limit or None)):
                file.write_table(_to_table(source, rows))
                num_rows += len(rows)
                run.log(f"{source.name}: {num_rows} records read")
                run.stop_if_asked()
            if not num_rows:
                raise DataError(
                    f"Source {source.name} holds no records",
                    where=f"source {source.name}",
                    next_step="Check path, selector or query, or leave it out.",
                )

    return write


def _batches(rows: Iterable[SourceRow]) -> Iterator[list[SourceRow]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, _BATCH_ROWS)):
        yield batch


def _to_table(source: Source, rows: list[SourceRow]) -> pa.Table:
    texts = [_valid_unicode(row.text) for row in rows]
    columns = {
        "id": [
            _identity(source.name, row.position, text)
            for row, text in zip(rows, texts, strict=True)
        ],
        "text": texts,
        "label": [_label(source, row) for row in rows],
        "label_scheme": [None] * len(rows),
        "source": [source.name] * len(rows),
        "language": [source.language or None] * len(rows),
        "provenance": [_to_json(row.provenance) for row in rows],
        "extra": [_to_json(row.extra) if row.extra else None for row in rows],
    }
    return pa.table(columns, schema=SCHEMA)


def _identity(source: str, position: str, text: str) -> str:
    """Return the record's id: 128 bits, the same wherever the source's files lie."""
    import xxhash

    return xxhash.xxh3_128_hexdigest("\0".join((source, position, text)).encode())


def _label(source: Source, row: SourceRow) -> str | None:
    """Return the label in this data set's words.

    Raises:
        DataError: the source names labels, but not this one.
    """
    if row.label is None or not source.labels:
        return row.label
    if row.label not in source.labels:
        raise DataError(
            f"Source {source.name} has the label {row.label!r}, which its labels do not name",
            where=f"source {source.name}, {row.position}",
            next_step=f"{nearest_name(row.label, source.labels)} Name it, or map it to null to "
            "leave such records unlabelled.",
        )
    return source.labels[row.label]


def _valid_unicode(text: str) -> str:
    """Return the text with half characters (lone surrogates, as broken JSON has) as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _to_json(values: dict[str, object]) -> str:
    return _valid_unicode(json.dumps(values, ensure_ascii=False))


def _with_label_scheme(records: pa.Table, sources: list[Source]) -> pa.Table:
    """Fill ``label_scheme`` of labelled records: all labels that sources name or hold."""
    named = {label for source in sources for label in source.labels.values() if label}
    labels = sorted({*named, *records["label"].unique().drop_null().to_pylist()})
    scheme = pc.if_else(
        pc.is_valid(records["label"]), "|".join(labels), pa.scalar(None, pa.string())
    )
    return records.set_column(SCHEMA.get_field_index("label_scheme"), "label_scheme", scheme)


def _describe(records: pa.Table) -> dict[str, Any]:
    labels = Counter(records["label"].drop_null().to_pylist())
    sources = Counter(records["source"].to_pylist())
    return {
        "sources": dict(sources),
        "labels": {label: labels[label] for label in sorted(labels)},
        "unlabelled": records["label"].null_count,
    }
