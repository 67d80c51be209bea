"""What a record says of itself under a name: a column, a key of its ``extra``, a host of a URL."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AfterValidator

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, nearest_name
from workbench.data.records import partitions

_HOST = re.compile(r"host\((.+)\)")
_JSON_COLUMNS = ("extra", "provenance")


def _known_form(text: str) -> str:
    if text != text.strip() or len(text) > 200:
        raise ValueError("write a column, a key of extra such as user or user.id, or host(url)")
    return text


# Shown to people as one line of help wherever a Spec has such a field.
FieldName = Annotated[str, AfterValidator(_known_form)]
FIELD_HELP = "a column, a key of extra (user, thread.id), or host(KEY) for the host of a URL"


def read_field(dataset: Artifact, name: str) -> pa.ChunkedArray:
    """Return what each record has under a name, as string [n]; null where it has nothing.

    Only the columns that are needed are read: ``name`` if it is a column, else ``extra`` and
    ``provenance``, whose JSON is searched for the key (a dot goes one level down).

    Raises:
        DataError: it is no column, and no record has it; the nearest name is told.
    """
    inner = _HOST.fullmatch(name)
    key = inner[1] if inner else name
    convert = _host if inner else _as_is
    parts = [_read_partition(path, key, convert) for path in partitions(dataset)]
    values = pa.chunked_array(parts, pa.string())
    is_column = key in pq.read_schema(partitions(dataset)[0]).names
    if len(values) and values.null_count == len(values) and not is_column:
        raise DataError(f"No record has {name!r}", where=dataset.reference,
                        next_step=nearest_name(key, _known_names(dataset)))  # fmt: skip
    return values


def _read_partition(path: Path, key: str, convert: Callable[[str], str | None]) -> pa.Array:
    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    if key in names and key not in _JSON_COLUMNS:
        column = _as_strings(file.read([key])[key])
        values: Iterable[str | None] = column.to_pylist() if convert is not _as_is else []
        return column if convert is _as_is else _converted(values, convert)
    found = file.read([name for name in _JSON_COLUMNS if name in names])
    columns = [found[name].to_pylist() for name in found.column_names]
    return _converted((_look_up(texts, key) for texts in zip(*columns, strict=True)), convert)


def _as_strings(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        texts = (None if value is None else _plain(value) for value in column.to_pylist())
        return pa.array(texts, pa.string())
    return pa.concat_arrays(pc.cast(column, pa.string()).chunks or [pa.array([], pa.string())])


def _converted(
    values: Iterable[str | None], convert: Callable[[str], str | None]
) -> pa.Array:  # fmt: skip
    return pa.array([None if v is None else convert(v) for v in values], pa.string())


def _look_up(texts: Iterable[str | None], key: str) -> str | None:
    """Return what the first of these JSON objects has under the key; None if none has it."""
    for text in texts:
        value = _at(_parse(text), key)
        if value is not None:
            return _plain(value)
    return None


def _parse(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None  # extra of a foreign data set need not be JSON: then it has no keys


def _at(value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        return None
    if key in value:
        return value[key]
    head, dot, rest = key.partition(".")
    return _at(value.get(head), rest) if dot else None


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=ascii)


def _as_is(value: str) -> str | None:
    return value


def _host(url: str) -> str | None:
    """Return the host of a URL in lower case; None where the text has none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _known_names(dataset: Artifact) -> set[str]:
    first = pq.ParquetFile(partitions(dataset)[0])
    names = set(first.schema_arrow.names)
    for batch in first.iter_batches(1000, columns=[n for n in _JSON_COLUMNS if n in names]):
        for column in batch.columns:
            for text in column.to_pylist():
                found = _parse(text)
                names |= set(found) if isinstance(found, dict) else set()
        break
    return names - set(_JSON_COLUMNS)


def encode(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return each value's place among the sorted distinct ones (null: -1), and those."""
    encoded = column.combine_chunks().dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), dtype=object)
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    by_name = np.argsort(names, kind="stable")
    place = np.empty(len(names) + 1, np.int64)
    place[by_name] = np.arange(len(names))
    place[-1] = -1
    return place[codes], names[by_name].tolist()
