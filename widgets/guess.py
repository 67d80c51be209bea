"""A first guess at how files are to be read: the person sees it in the form and may change it."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from widgets.studio_model import source_kind
from workbench.core.paths import home_expanded

_TEXT_NAMES = (
    "text", "comment", "content", "body", "review", "sentence", "tweet", "post", "message", "title",
)  # fmt: skip
_LABEL_NAMES = (
    "label",
    "labels",
    "sentiment",
    "class",
    "category",
    "polarity",
    "target",
    "emotion",
)
_LONGEST_LOOK = 200_000  # bytes of the first file
_ROWS = 50


def guess_source(pattern: str) -> dict[str, Any]:
    """Return plain values of a source for a path or glob, told by suffix and the first rows."""
    kind = source_kind(pattern)
    name = source_name(pattern)
    if kind == "sql":
        return {"kind": kind, "name": name, "url": f"sqlite:///{Path(pattern).absolute()}"}
    source = {"kind": kind, "name": name, "path": pattern}
    matches = glob.glob(str(home_expanded(pattern)), recursive=True)  # noqa: PTH207 - absolute
    first = min(matches, default=None)
    if first is None or not Path(first).is_file():
        return source
    if kind == "csv":
        return {**source, **guess_table(_beginning(Path(first)), is_tsv=".tsv" in first)}
    if kind == "parquet":
        import pyarrow.parquet as pq

        return {**source, **guess_columns(pq.read_schema(first).names, [])}
    return source


def source_name(pattern: str) -> str:
    """Return a short name for a source: the file's stem, or its folder's where that is a glob."""
    path = Path(pattern)
    stem = path.name.split(".")[0]
    if re.search(r"[*?\[]", stem):
        stem = next((part for part in reversed(path.parts[:-1]) if "*" not in part), "")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")
    return name or "source"


def guess_table(text: str, is_tsv: bool = False) -> dict[str, Any]:
    """Return delimiter and columns of a table's first lines; only what differs is told."""
    header = text.partition("\n")[0]
    counts = {sign: header.count(sign) for sign in ("\t", ";", ",", "|")}
    delimiter = max(counts, key=lambda sign: (counts[sign], sign == ","))
    delimiter = "\t" if is_tsv and not counts["\t"] else delimiter
    rows = list(islice(csv.reader(io.StringIO(text), delimiter=delimiter), _ROWS))
    guessed: dict[str, Any] = {} if delimiter == "," else {"delimiter": delimiter}
    return {**guessed, **guess_columns(rows[0], rows[1:])} if rows else guessed


def guess_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Mapping[str, str]:
    """Return which columns hold text and label: by name, else text is the longest column."""
    lower = {name.strip().lower(): name for name in header}
    text = next((lower[name] for name in _TEXT_NAMES if name in lower), None)
    if text is None and rows:
        lengths = {
            name: sum(len(row[at]) for row in rows if at < len(row))
            for at, name in enumerate(header)
        }
        text = max(lengths, key=lambda name: lengths[name])
    label = next((lower[name] for name in _LABEL_NAMES if name in lower), None)
    guessed = {"text_column": text, "label_column": label}
    return {field: name for field, name in guessed.items() if name and name.strip()}


def _beginning(path: Path) -> str:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        content: bytes = stream.read(_LONGEST_LOOK)
    return content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\0", "")
