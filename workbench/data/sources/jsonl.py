"""JSON: one object a line, or one array of objects a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.data.sources.files import MatchedFile, TextFileSource
from workbench.data.sources.source import ColumnSource, SourceRow


class JsonlSource(ColumnSource, TextFileSource):
    """JSON objects: one a line, or all in one array."""

    kind: Literal["jsonl"] = option(
        "jsonl", title="Kind", help="JSON objects, one a line or in one array.", group="Source"
    )  # fmt: skip

    def read(self) -> Iterator[SourceRow]:
        """Yield one record per object, file by file."""
        for file in self.files():
            is_array = self._is_array(file)
            objects = self._in_array(file) if is_array else self._in_lines(file)
            for number, value, encoding in objects:
                where = "element" if is_array else "row"
                if not isinstance(value, dict):
                    raise DataError(f"{where} {number} is a {type(value).__name__}, not an object",
                                    where=self.place(file.path, f"{where} {number}"),
                                    next_step="Each record must be a JSON object.")  # fmt: skip
                self.check_columns(value, file.path, f"{where} {number}")
                yield self.row(
                    value,
                    position=f"{file.key}:{number}",
                    provenance=self.locate(file, encoding, **{where: number}),
                )

    def _is_array(self, file: MatchedFile) -> bool:
        with self.open_text(file.path) as (stream, _):
            first = next((line.lstrip() for line in stream if line.strip()), "")
        return first.startswith("[")

    def _in_lines(self, file: MatchedFile) -> Iterator[tuple[int, object, str]]:
        with self.open_text(file.path) as (stream, encoding):
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, self._parse(line, file, number), encoding

    def _in_array(self, file: MatchedFile) -> Iterator[tuple[int, object, str]]:
        with self.open_text(file.path) as (stream, encoding):
            values = self._parse(stream.read(), file, 1)
        assert isinstance(values, list)
        for number, value in enumerate(values, 1):
            yield number, value, encoding

    def _parse(self, text: str, file: MatchedFile, first_line: int) -> object:
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            line, reason = first_line, "nested too deeply"
            if isinstance(error, json.JSONDecodeError):
                line, reason = first_line + error.lineno - 1, f"{error.msg} at column {error.colno}"
            raise DataError(
                f"Line {line} is not JSON: {reason}",
                where=self.place(file.path, f"line {line}"),
                next_step="Mend or remove that line.",
            ) from error
