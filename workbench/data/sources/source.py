"""What a source of records promises; a third party adds one by the group ``workbench.sources``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from pydantic import Field

from workbench.core.errors import DataError, nearest_name
from workbench.core.spec import ArtifactName, Spec, option

SOURCE_GROUP = "workbench.sources"
RAW_CHARACTERS = 500  # of a rejected row that the ledger keeps
Part = dict[str, Any]  # plain values: it may be read in another process
_NO_TEXT = (list, dict, bytes, tuple, set)


class SourceRow(NamedTuple):
    """One record as its source holds it.

    ``position`` is unique in the source and does not depend on the folder the source lies in;
    ``provenance`` holds ``uri`` and row, line or element, to find the record again.
    """

    text: str
    label: str | None
    position: str
    provenance: dict[str, object]
    extra: dict[str, object]


class Rejected(NamedTuple):
    """One row that is no record, though its source can be read on: it goes to the ledger.

    ``rule`` is a short name of what is wrong (``not_json``), ``reason`` a sentence about this row,
    ``raw`` how it begins. Rows that a source yields are records and rejected ones, exactly.
    """

    position: str
    provenance: dict[str, object]
    reason: str
    rule: str
    raw: str = ""
    next_step: str = ""


class Source(Protocol):
    """A place to read records from: its settings are plain fields, its work two methods."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def labels(self) -> Mapping[str, str | None]: ...  # noqa: D102
    @property
    def language(self) -> str: ...  # noqa: D102
    @property
    def limit(self) -> int: ...  # noqa: D102

    def read(self) -> Iterator[SourceRow | Rejected]:
        """Yield every row in an order that stays the same while the source does.

        Raises:
            DataError: the source is not as its settings promise.
        """
        ...

    def fingerprint(self) -> str | None:
        """Return a hash of all that ``read`` would read; None where that cannot be known."""
        ...


@runtime_checkable
class CutSource(Source, Protocol):
    """A source that can be read in parts; ``SourceSpec`` is one, of a single part.

    A run asks for the parts once and keeps to them, however often it is resumed. Where a source
    ``plans_anew``, it asks each time, and what it has read of equal parts counts: there a part says
    by itself whether it is still what it was.
    """

    def parts(self) -> list[Part]:
        """Return what can be read apart from the rest, in order."""
        ...

    def read_part(self, part: Part) -> Iterator[SourceRow | Rejected]:
        """Yield the rows of one part; those of all parts in order are the rows of ``read``."""
        ...


class SourceSpec(Spec):
    """The settings that every kind of source shares."""

    plans_anew: ClassVar[bool] = False

    kind: str = option(title="Kind", help="What sort of source this is.", group="Source")
    name: ArtifactName = option(
        title="Name", group="Source",
        help="A short name of this source; each record remembers it.",
    )  # fmt: skip
    labels: dict[str, str | None] = option(
        {}, title="Labels", group="Labels",
        help="From a label of the source to a label of this data set; null leaves the record "
        "unlabelled. Empty: labels are taken as they are.",
    )  # fmt: skip
    language: Annotated[str, Field(pattern=r"^([a-z]{2,3})?$")] = option(
        "", title="Language", group="Source",
        help="ISO 639-1 code when all records are in one language, for example en; empty: not "
        "known yet, cleaning finds out.",
    )  # fmt: skip
    limit: int = option(
        0, title="Limit", group="Source", unit="records", ge=0,
        help="Read at most this many records from the start; 0: all of them.",
    )  # fmt: skip

    def place(self, *details: object) -> str:
        """Return where an error of this source happened, for people."""
        return ", ".join([f"source {self.name}", *map(str, details)])

    def parts(self) -> list[Part]:
        """Return what can be read apart from the rest, in order; here the whole."""
        return [{}]

    def read_part(self, part: Part) -> Iterator[SourceRow | Rejected]:
        """Yield the rows of one part."""
        return self.read()  # type: ignore[attr-defined,no-any-return]


class ColumnSource(SourceSpec):
    """A source whose records have named columns."""

    text_column: str = option(
        "text", title="Text column", group="Columns", min_length=1,
        help="The column that holds the text.",
    )  # fmt: skip
    label_column: str = option(
        "", title="Label column", group="Columns",
        help="The column that holds the label; empty: the records are not labelled.",
    )  # fmt: skip
    omit_columns: list[str] = option(
        [], title="Columns to leave out", group="Columns",
        help="Columns that must not be kept beside the text, for example names of people. All "
        "others are kept.",
    )  # fmt: skip

    def check_columns(self, present: Iterable[str], *details: object) -> None:
        """Refuse a source that lacks a column which these settings name, or has one twice.

        Raises:
            DataError: names the missing column and the nearest present one, or the double one.
        """
        columns = list(present)
        twice = next((name for name, times in Counter(columns).items() if times > 1), None)
        if twice is not None:
            raise DataError(f"Two columns are called {twice!r}", where=self.place(*details),
                            next_step="Rename one of them.")  # fmt: skip
        for column in (self.text_column, self.label_column):
            if column and column not in columns:
                raise DataError(
                    f"There is no column {column!r}",
                    where=self.place(*details),
                    next_step=nearest_name(column, columns) or "There are none: is it empty?",
                )

    def row(
        self, cells: Mapping[str, Any], position: str, provenance: dict[str, object]
    ) -> SourceRow | Rejected:
        """Turn named cells into a record; columns that are not text or label become ``extra``.

        A row without one of the named columns, or with a list, an object or bytes where the text
        should be, is rejected. An absent text is an empty one, which cleaning reports.
        """
        missing = self._missing_column(cells)
        if missing:
            return Rejected(position, provenance, f"There is no column {missing!r}",
                            "missing_column", _beginning(cells),
                            nearest_name(missing, cells))  # fmt: skip
        text = cells[self.text_column]
        if isinstance(text, _NO_TEXT):
            return Rejected(
                position, provenance,
                f"Column {self.text_column!r} holds a {type(text).__name__}, not text",
                "not_text", _beginning(text), "Name the column that holds the text.",
            )  # fmt: skip
        used = {self.text_column, self.label_column, *self.omit_columns}
        return SourceRow(
            text=text if isinstance(text, str) else "" if is_absent(text) else str(text),
            label=as_label(cells[self.label_column]) if self.label_column else None,
            position=position,
            provenance=provenance,
            extra={name: plain(cell) for name, cell in cells.items() if name not in used},
        )

    def _missing_column(self, cells: Mapping[str, Any]) -> str:
        if self.text_column not in cells:
            return self.text_column
        return self.label_column if self.label_column and self.label_column not in cells else ""


def raw_hash(raw: bytes | str) -> str:
    """Return the hash that provenance keeps of a record's raw form (64 bits as hex)."""
    import xxhash

    encoded = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    return str(xxhash.xxh3_64_hexdigest(encoded))


def _beginning(value: object) -> str:
    """Return how a value begins, for a rejected row."""
    return (value.hex() if isinstance(value, bytes) else repr(value))[:RAW_CHARACTERS]


def is_absent(cell: object) -> bool:
    """Whether a cell is empty: None, or the NaN that tables of numbers have in its place."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def as_label(cell: object) -> str | None:
    """Return a cell as a label: whole numbers without ``.0``, None where the cell is empty."""
    if isinstance(cell, float):
        cell = int(cell) if cell.is_integer() else cell
    if is_absent(cell) or cell == "":
        return None
    return str(cell).lower() if isinstance(cell, bool) else str(cell).strip()


def plain(cell: Any) -> object:
    """Return a cell as a value that JSON can hold: no NaN, no bytes, no dates."""
    if cell is None or isinstance(cell, bool | int | str):
        return cell
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    if isinstance(cell, Mapping):
        return {str(key): plain(value) for key, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [plain(value) for value in cell]
    return cell.hex() if isinstance(cell, bytes | bytearray | memoryview) else str(cell)
