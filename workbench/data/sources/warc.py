"""Web archives (WARC): the pages that a crawler stored."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.data.sources.locations import MatchedFile
from workbench.data.sources.pages import Page, PageSource, element_of, is_page_type
from workbench.data.sources.raw_lines import skip_to
from workbench.data.sources.source import Rejected, SourceRow
from workbench.data.sources.text_files import TextFileSource

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

_STATUS_OK = 200


class WarcSource(PageSource, TextFileSource):
    """Pages in web archives: answers with status 200 that are HTML; all else is no page."""

    kind: Literal["warc"] = option(
        "warc", title="Kind", help="Web archives (.warc, .warc.gz).", group="Source"
    )  # fmt: skip

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield the records of every page, in the order of the archive."""
        with self.open_bytes(file) as stream:
            for number, record in enumerate(self._answers(stream, file), 1):
                yield from self._rows(record, file, number)

    @classmethod
    def fetch(cls, provenance: Mapping[str, Any]) -> bytes:
        """Return a page's bytes as its server sent them, or the markup of one of its elements."""
        source, file = cls.again(provenance)
        with source.open_bytes(file) as stream:
            skip_to(stream, provenance["offset"])
            for record in source._answers(stream, file):
                body = record.reader.read(source.max_record_bytes)
                return element_of(body, provenance)
        return b""

    def _answers(self, stream: io.BufferedReader, file: MatchedFile) -> Iterator[WarcRecord]:
        from fastwarc.warc import ArchiveIterator, WarcRecordType

        try:
            yield from filter(
                _is_page,
                ArchiveIterator(
                    stream, record_types=WarcRecordType.response, parse_http=True,
                    auto_decode="all",
                ),
            )  # fmt: skip
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{file.name} is a damaged web archive: {error}",
                where=self.place(file.location),
                next_step="Copy the file again, or choose another kind.",
            ) from error

    def _rows(
        self, record: WarcRecord, file: MatchedFile, number: int
    ) -> Iterator[SourceRow | Rejected]:
        url = str(record.headers.get("WARC-Target-URI", ""))
        place = self.locate(file, row=number, offset=record.stream_pos, url=url)
        key = f"{file.key}:{number}"
        expected = record.content_length
        try:
            body = record.reader.read(self.max_record_bytes + 1)
        except (OSError, ValueError, RuntimeError) as error:
            yield Rejected(key, place, f"{url} cannot be unpacked: {error}", "damaged")
            return
        if len(body) > self.max_record_bytes:
            yield Rejected(key, place, f"{url} is longer than a record may be", "too_long", "",
                           "Raise the longest record.")  # fmt: skip
        elif len(body) < expected and not _is_encoded(record):
            yield Rejected(key, place, f"{url} ends after {len(body)} of {expected} bytes",
                           "cut_off")  # fmt: skip
        else:
            yield from self.page_rows(Page(body, key, place, url, self.encoding, url))


def _is_page(record: WarcRecord) -> bool:
    answer = record.http_headers
    if answer is None or answer.status_code != _STATUS_OK:
        return False
    return is_page_type(record.http_content_type or "")


def _is_encoded(record: WarcRecord) -> bool:
    headers = record.http_headers.items() if record.http_headers else ()
    return any(name.lower() in ("content-encoding", "transfer-encoding") for name, _ in headers)
