"""What a source of records promises; a third party adds one by the group ``workbench.sources``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Protocol

from pydantic import Field

from workbench.core.errors import DataError, nearest_name
from workbench.core.spec import ArtifactName, Spec, option

SOURCE_GROUP = "workbench.sources"


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

    def read(self) -> Iterator[SourceRow]:
        """Yield every record in an order that stays the same while the source does.

        Raises:
            DataError: the source is not as its settings promise.
        """
        ...

    def fingerprint(self) -> str | None:
        """Return a hash of all that ``read`` would read; None where that cannot be known."""
        ...


class SourceSpec(Spec):
    """The settings that every kind of source shares."""

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
        """Refuse a source that lacks a column which these settings name.

        Raises:
            DataError: names the missing column and the nearest present one.
        """
        columns = list(present)
        for column in (self.text_column, self.label_column):
            if column and column not in columns:
                raise DataError(
                    f"There is no column {column!r}",
                    where=self.place(*details),
                    next_step=nearest_name(column, columns),
                )

    def row(
        self, cells: Mapping[str, Any], position: str, provenance: dict[str, object]
    ) -> SourceRow:
        """Turn named cells into a record; columns that are not text or label become ``extra``."""
        used = {self.text_column, self.label_column, *self.omit_columns}
        label = cells[self.label_column] if self.label_column else None
        return SourceRow(
            text=self.as_text(cells[self.text_column], position),
            label=as_label(label),
            position=position,
            provenance=provenance,
            extra={name: plain(cell) for name, cell in cells.items() if name not in used},
        )

    def as_text(self, cell: object, position: str) -> str:
        """Return a cell as text; an absent text is an empty one, which cleaning reports.

        Raises:
            DataError: the cell holds a list, an object or bytes.
        """
        if isinstance(cell, str):
            return cell
        if cell is None:
            return ""
        if isinstance(cell, list | dict | bytes | tuple):
            raise DataError(
                f"Column {self.text_column!r} holds a {type(cell).__name__}, not text",
                where=self.place(position),
                next_step="Name the column that holds the text.",
            )
        return str(cell)


def as_label(cell: object) -> str | None:
    """Return a cell as a label: whole numbers without ``.0``, None where the cell is empty."""
    if isinstance(cell, float):
        cell = int(cell) if cell.is_integer() else (None if math.isnan(cell) else cell)
    if cell is None or cell == "":
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
