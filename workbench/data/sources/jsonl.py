"""JSON: one object a line, or one array of objects a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from workbench.core.errors import DataError, nearest_name
from workbench.core.spec import option
from workbench.data.sources.json_values import BadJson, array_elements, at_path, parse
from workbench.data.sources.locations import MatchedFile
from workbench.data.sources.source import (
    RAW_CHARACTERS,
    ColumnSource,
    Rejected,
    SourceRow,
    plain,
    raw_hash,
)
from workbench.data.sources.text_files import TextFileSource, TextLine

_MOST_DOCUMENT_BYTES = 1 << 30  # of one JSON text with records somewhere inside: it is read whole


class JsonObjects(ColumnSource, TextFileSource):
    """What objects in lines and objects in arrays share."""

    def _from_object(
        self, value: object, raw: str | bytes, what: str, position: str, place: dict[str, object]
    ) -> SourceRow | Rejected:
        if not isinstance(value, dict):
            beginning = raw[:RAW_CHARACTERS]
            return Rejected(
                position, place, f"{what} is a {type(value).__name__}, not an object",
                "not_an_object",
                beginning if isinstance(beginning, str) else beginning.decode(errors="replace"),
                "Each record must be a JSON object.",
            )  # fmt: skip
        try:
            row = self.row(value, position, place)
        except RecursionError:
            return Rejected(position, place, f"{what} is nested too deeply", "not_json",
                            "", "Leave the column out.")  # fmt: skip
        if isinstance(row, SourceRow):
            place["hash"] = raw_hash(raw)
        return row

    @classmethod
    def fetch(cls, provenance: Mapping[str, Any]) -> bytes:
        """Return the JSON text that a record was read from."""
        if "element" not in provenance:
            return super().fetch(provenance)
        source, file = cls.again(provenance)
        text = source.element_text(file, provenance["element"], provenance.get("records_path"))
        return text.encode("utf-8", "surrogatepass")

    def element_text(self, file: MatchedFile, number: int, path: str | None) -> str:
        """Return the text of one element of a file's array; empty if it has fewer."""
        with self.open_text(file) as (stream, _):
            elements = array_elements(stream, _MOST_DOCUMENT_BYTES)
            return next((e.text for e in elements if e.number == number), "")

    def _in_array(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        try:
            with self.open_text(file) as (stream, encoding):
                for number, value, text in array_elements(stream, self.max_record_bytes):
                    yield self._from_object(
                        value, text, f"element {number}", f"{file.key}:{number}",
                        self.locate(file, encoding, element=number),
                    )  # fmt: skip
        except BadJson as error:
            raise self._bad_document(file, error) from error

    def _bad_document(self, file: MatchedFile, error: BadJson) -> DataError:
        return DataError(f"Line {error.line} is {error.reason}",
                         where=self.place(file.location, f"line {error.line}"),
                         next_step="Mend or remove that line.")  # fmt: skip


class JsonlSource(JsonObjects):
    """JSON objects: one a line, or all in one array."""

    kind: Literal["jsonl"] = option(
        "jsonl", title="Kind", help="JSON objects, one a line or in one array.", group="Source"
    )  # fmt: skip

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield one record per object; blank lines are none."""
        named = file._replace(encoding=self.encoding_of(file))
        if not file.span and self._is_array(named):
            yield from self._in_array(named)
        else:
            yield from self._in_lines(named)

    def cut(self, file: MatchedFile) -> list[tuple[MatchedFile, int]]:
        """Return stretches of lines; an array is one piece."""
        return super().cut(file) if self._is_array(file) else self.cut_lines(file)

    def _is_array(self, file: MatchedFile) -> bool:
        with self.open_bytes(file) as stream:
            head = stream.read(1 << 12)
        return head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"[")

    def _in_lines(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        for line in self.text_lines(file):
            if isinstance(line, Rejected):
                yield line
            elif line.text and not line.text.isspace():
                yield self._from_line(file, line)

    def _from_line(self, file: MatchedFile, line: TextLine) -> SourceRow | Rejected:
        position = f"{file.key}:{line.number}"
        place = self.slice_place(file, file.encoding, line.number, line.offset, len(line.raw))
        try:
            value = parse(line.text)
        except BadJson as error:
            return Rejected(
                position, place, f"Line {line.number} is {error.reason}", error.rule,
                line.text[:RAW_CHARACTERS], "Mend or remove that line.",
            )  # fmt: skip
        return self._from_object(value, line.raw, f"row {line.number}", position, place)


class JsonSource(JsonObjects):
    """JSON texts that hold an array of objects, at their top or somewhere inside."""

    kind: Literal["json"] = option(
        "json", title="Kind", help="JSON texts with an array of objects.", group="Source"
    )  # fmt: skip
    records_path: str = option(
        "", title="Path of the records", group="Columns",
        help="The names that lead to the array (data.items); empty: the text is the array, or one "
        "object, which then is the record.",
    )  # fmt: skip

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield one record per object of the array."""
        named = file._replace(encoding=self.encoding_of(file))
        if self.records_path or not self._begins_array(named):
            yield from self._in_document(named)
        else:
            yield from self._in_array(named)

    def element_text(self, file: MatchedFile, number: int, path: str | None) -> str:
        """Return the text of one element of the array that stands at a path, empty if none."""
        if path is None and self._begins_array(file):
            return super().element_text(file, number, path)
        records = self.model_copy(update={"records_path": path or ""})._records(file)
        return canonical(records[number - 1]) if number <= len(records) else ""

    def _begins_array(self, file: MatchedFile) -> bool:
        with self.open_text(file) as (stream, _):
            return stream.read(1 << 12).lstrip("\ufeff \t\r\n").startswith("[")

    def _in_document(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        path = {"records_path": self.records_path} if self.records_path else {}
        for number, value in enumerate(self._records(file), 1):
            yield self._from_object(
                value, canonical(value), f"element {number}", f"{file.key}:{number}",
                self.locate(file, file.encoding, element=number, **path),
            )  # fmt: skip

    def _records(self, file: MatchedFile) -> list[Any]:
        with self.open_text(file) as (stream, _):
            text = stream.read(_MOST_DOCUMENT_BYTES)
            if stream.read(1):
                raise DataError(f"{file.name} is too big to be read whole",
                                where=self.place(file.location),
                                next_step="Write it as one object a line (jsonl).")  # fmt: skip
        try:
            value = parse(text)
            found = at_path(value, self.records_path) if self.records_path else value
        except BadJson as error:
            raise self._bad_document(file, error) from error
        except KeyError as error:
            name, known = error.args
            raise DataError(f"There is no {name!r} on the path {self.records_path!r}",
                            where=self.place(file.location, "records_path"),
                            next_step=nearest_name(name, known)
                            or "No object with names stands there.") from None  # fmt: skip
        return found if isinstance(found, list) else [found]


def canonical(value: object) -> str:
    """Return the one JSON text of a value: the raw form of what has no bytes of its own."""
    return json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
