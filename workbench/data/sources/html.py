"""Web pages in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from workbench.core.spec import option
from workbench.data.sources.locations import MatchedFile
from workbench.data.sources.pages import Page, PageSource, element_of
from workbench.data.sources.source import Rejected, SourceRow
from workbench.data.sources.text_files import TextFileSource


class HtmlSource(PageSource, TextFileSource):
    """Web pages: one record per page, or one per element that a selector matches."""

    kind: Literal["html"] = option("html", title="Kind", help="Web pages on disk.", group="Source")

    @classmethod
    def fetch(cls, provenance: Mapping[str, Any]) -> bytes:
        """Return a page's bytes, or the markup of one of its elements."""
        return element_of(super().fetch({**provenance, "encoding": ""}), provenance)

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield the records of a page, in its order."""
        with self.open_bytes(file) as stream:
            body = stream.read(self.max_record_bytes + 1)
        if len(body) > self.max_record_bytes:
            yield Rejected(file.key, self.locate(file), f"{file.name} is longer than a record "
                           "may be", "too_long", "", "Raise the longest record.")  # fmt: skip
        else:
            yield from self.page_rows(
                Page(body, file.key, self.locate(file), file.name, self.encoding)
            )
