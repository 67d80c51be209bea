"""Web pages on disk: the main text of each, or many records of each by CSS selector."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, cast

from workbench.core.errors import DataError, nearest_name
from workbench.core.spec import option
from workbench.data.sources.files import MatchedFile, TextFileSource
from workbench.data.sources.source import SourceRow

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

# A page begins with markup, after marks, white space and comments at most.
_MARKUP = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|div|p|article|section|table|ul|h\d)\b", re.I
)
_HEAD_BYTES = 1 << 16


class HtmlSource(TextFileSource):
    """Web pages: one record per page, or one per element that a selector matches."""

    kind: Literal["html"] = option("html", title="Kind", help="Web pages on disk.", group="Source")
    record_selector: str = option(
        "", title="Record selector", group="Columns",
        help="CSS selector of the elements that are one record each (div.comment); empty: the "
        "main text of each page is one record.",
    )  # fmt: skip
    text_selector: str = option(
        "", title="Text selector", group="Columns",
        help="CSS selector of the text inside a record; empty: all text of the record.",
    )  # fmt: skip
    label_attribute: str = option(
        "", title="Label attribute", group="Labels",
        help="Attribute of the record's element that holds the label (data-label).",
    )  # fmt: skip
    attributes: list[str] = option(
        [], title="Attributes to keep", group="Columns",
        help="Other attributes of the record's element to keep beside the text.",
    )  # fmt: skip

    def read(self) -> Iterator[SourceRow]:
        """Yield the records of every page, in the order of files and of the page."""
        for file in self.files():
            tree, encoding = self._parse(file)
            if self.record_selector:
                yield from self._records(file, tree, encoding)
            else:
                yield self._main_text(file, tree, encoding)

    def _main_text(self, file: MatchedFile, tree: HTMLTree, encoding: str) -> SourceRow:
        from resiliparse.extract.html2text import extract_plain_text

        return SourceRow(
            text=extract_plain_text(tree, main_content=True, alt_texts=False).strip(),
            label=None,
            position=file.key,
            provenance=self.locate(file, encoding),
            extra={"title": tree.title} if tree.title else {},
        )

    def _records(self, file: MatchedFile, tree: HTMLTree, encoding: str) -> Iterator[SourceRow]:
        elements = self._select(tree.document, self.record_selector, file)
        if not elements:
            raise DataError(f"{self.record_selector!r} matches nothing in {file.path.name}",
                            where=self.place(file.path, "record_selector"),
                            next_step=f"Classes in this page: {_classes(tree)}")  # fmt: skip
        self._check_attributes(elements, file)
        for number, element in enumerate(elements, 1):
            yield SourceRow(
                text=self._text(element, file),
                label=element.getattr(self.label_attribute) or None
                if self.label_attribute
                else None,
                position=f"{file.key}:{number}",
                provenance=self.locate(
                    file, encoding, selector=self.record_selector, element=number
                ),
                extra={name: element.getattr(name) for name in self.attributes},
            )

    def _text(self, element: Any, file: MatchedFile) -> str:
        """Return a record's text; a record without the text element is empty, not an error."""
        from resiliparse.extract.html2text import extract_plain_text

        if not self.text_selector:
            return str(extract_plain_text(element.html)).strip()
        found = self._select(element, self.text_selector, file)
        return "\n".join(str(extract_plain_text(part.html)).strip() for part in found)

    def _check_attributes(self, elements: list[Any], file: MatchedFile) -> None:
        present = {name for element in elements for name in element.attrs}
        for name in [self.label_attribute, *self.attributes]:
            if name and name not in present:
                raise DataError(f"No record has the attribute {name!r}",
                                where=self.place(file.path, self.record_selector),
                                next_step=nearest_name(name, present))  # fmt: skip
        texts = [self.text_selector] if self.text_selector else []
        if texts and not any(self._select(element, texts[0], file) for element in elements):
            raise DataError(f"{texts[0]!r} matches nothing in any record",
                            where=self.place(file.path, "text_selector"),
                            next_step="Look into one record of the page for its text.")  # fmt: skip

    def _select(self, node: Any, selector: str, file: MatchedFile) -> list[Any]:
        try:
            return list(node.query_selector_all(selector))
        except Exception as error:  # the parser's class differs between resiliparse versions
            raise DataError(
                f"{selector!r} is no CSS selector: {error}",
                where=self.place(file.path),
                next_step="Write it as in a style sheet, for example div.comment > p.",
            ) from error

    def _parse(self, file: MatchedFile) -> tuple[HTMLTree, str]:
        from resiliparse.parse.html import HTMLTree

        with self.open_bytes(file.path) as stream:
            page = stream.read()
        if not _MARKUP.search(page[:_HEAD_BYTES].replace(b"\0", b"")):
            raise DataError(f"{file.path.name} is no HTML page", where=self.place(file.path),
                            next_step="Choose lines or csv for plain text.")  # fmt: skip
        text, encoding = self._decode(page, file)
        return HTMLTree.parse(text), encoding

    def _decode(self, page: bytes, file: MatchedFile) -> tuple[str, str]:
        """Return a page's text and encoding, which is the page's own unless the Spec names one."""
        from resiliparse.parse.encoding import bytes_to_str, detect_encoding

        if not self.encoding:
            encoding = str(detect_encoding(page, from_html_meta=True) or "utf-8")
            # As in browsers, a byte that the encoding lacks becomes U+FFFD, at no greater cost.
            return bytes_to_str(page, encoding, errors="replace"), encoding
        try:
            return page.decode(self.encoding), self.encoding
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file.path.name} is not {self.encoding}: {error.reason}",
                where=self.place(file.path, f"byte {error.start + 1}"),
                next_step="Leave the encoding empty: pages name their own.",
            ) from error


def _classes(tree: HTMLTree) -> str:
    """Return the page's commonest classes, as a hint for a selector that matches nothing."""
    counts: dict[str, int] = {}
    for element in cast("Any", tree.document).query_selector_all("[class]"):
        for name in element.class_list:
            selector = f"{element.tag}.{name}"
            counts[selector] = counts.get(selector, 0) + 1
    return ", ".join(sorted(counts, key=lambda name: (-counts[name], name))[:8]) or "none"
