"""Web pages become records: the main text of each, or many of each by CSS selector."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from workbench.core.errors import DataError, nearest_name
from workbench.core.spec import option
from workbench.data.pages.main_text import main_text
from workbench.data.sources.encoding import reason_of
from workbench.data.sources.source import (
    RAW_CHARACTERS,
    Rejected,
    SourceRow,
    SourceSpec,
    raw_hash,
)

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

# A page begins with markup, after marks, white space and comments at most.
_MARKUP = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|div|p|article|section|table|ul|h\d)\b", re.I
)
_HEAD_BYTES = 1 << 16
_TAG = re.compile(r"<(/?)([a-z][a-z0-9:-]*+)", re.I)
# Elements without content, and those that end where the next begins.
_NEVER_NESTED = re.compile(
    r"area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr|"
    r"path|circle|ellipse|line|polygon|polyline|rect|stop|use|"
    r"p|li|dt|dd|tr|td|th|thead|tbody|tfoot|colgroup|option|optgroup|rp|rt",
    re.I,
)
_MOST_NESTED = 3_000  # the time to extract text grows with its square; browsers end at 512


class Page(NamedTuple):
    """One page: its bytes, its unique key in the source, and its provenance.

    ``place`` is how an error names it, ``url`` where it is on the web.
    """

    body: bytes
    key: str
    provenance: dict[str, object]
    place: str
    encoding: str = ""
    url: str | None = None


class _NoRecord(Exception):
    """A page that gives no records: rule, reason, next step."""


class PageSource(SourceSpec):
    """The settings of every source of web pages."""

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

    def page_rows(self, page: Page) -> Iterator[SourceRow | Rejected]:
        """Yield the records of a page; a page without any is one rejected row."""
        try:
            if not _MARKUP.search(page.body[:_HEAD_BYTES].replace(b"\0", b"")):
                raise _NoRecord("not_html", f"{page.place} is no HTML page",
                                "Choose lines or csv for plain text.")  # fmt: skip
            html, encoding = _decode(page)
            if is_nested_deeply(html):
                raise _NoRecord("nested_too_deeply", f"{page.place} is nested too deeply",
                                "Look into the page: browsers would not show it.")  # fmt: skip
            page = page._replace(provenance={**page.provenance, **_unusual(encoding)})
            yield from (
                self._records(page, html) if self.record_selector else self._whole(page, html)
            )
        except _NoRecord as error:
            rule, reason, next_step = error.args
            raw = page.body[:RAW_CHARACTERS].decode(errors="replace")
            yield Rejected(page.key, page.provenance, reason, rule, raw, next_step)

    def _whole(self, page: Page, html: str) -> Iterator[SourceRow]:
        from resiliparse.parse.html import HTMLTree

        title = HTMLTree.parse(html).title
        yield SourceRow(
            text=main_text(html, page.url),
            label=None,
            position=page.key,
            provenance={**page.provenance, "hash": raw_hash(page.body)},
            extra={"title": title} if title else {},
        )

    def _records(self, page: Page, html: str) -> Iterator[SourceRow]:
        from resiliparse.parse.html import HTMLTree

        tree = HTMLTree.parse(html)
        elements = self._select(tree.document, self.record_selector)
        if not elements:
            raise _NoRecord("selector", f"{self.record_selector!r} (record_selector) matches "
                            f"nothing in {page.place}",
                            f"Classes in this page: {_classes(tree)}")  # fmt: skip
        self._check_attributes(elements)
        for number, element in enumerate(elements, 1):
            yield SourceRow(
                text=self._text(element),
                label=element.getattr(self.label_attribute) or None
                if self.label_attribute
                else None,
                position=f"{page.key}:{number}",
                provenance={
                    **page.provenance, "selector": self.record_selector, "element": number,
                    "hash": raw_hash(element.html),
                },
                extra={name: element.getattr(name) for name in self.attributes},
            )  # fmt: skip

    def _text(self, element: Any) -> str:
        """Return a record's text; a record without the text element is empty, not an error."""
        from resiliparse.extract.html2text import extract_plain_text

        if not self.text_selector:
            return str(extract_plain_text(element.html)).strip()
        found = self._select(element, self.text_selector)
        return "\n".join(str(extract_plain_text(part.html)).strip() for part in found)

    def _check_attributes(self, elements: list[Any]) -> None:
        present = {name for element in elements for name in element.attrs}
        for name in [self.label_attribute, *self.attributes]:
            if name and name not in present:
                raise _NoRecord("missing_attribute", f"No record has the attribute {name!r}",
                                nearest_name(name, present))  # fmt: skip
        texts = [self.text_selector] if self.text_selector else []
        if texts and not any(self._select(element, texts[0]) for element in elements):
            raise _NoRecord("selector", f"{texts[0]!r} matches nothing in any record",
                            "Look into one record of the page for its text.")  # fmt: skip

    def _select(self, node: Any, selector: str) -> list[Any]:
        try:
            return list(node.query_selector_all(selector))
        except Exception as error:  # the parser's class differs between resiliparse versions
            raise DataError(
                f"{selector!r} is no CSS selector: {error}",
                where=self.place(),
                next_step="Write it as in a style sheet, for example div.comment > p.",
            ) from error


def is_nested_deeply(html: str) -> bool:
    """Whether elements stand in elements, thousands deep: it would take for ever to read."""
    depth = 0
    for is_end, name in _TAG.findall(html):
        if _NEVER_NESTED.fullmatch(name):
            continue
        depth = max(0, depth - 1) if is_end else depth + 1
        if depth > _MOST_NESTED:
            return True
    return False


def is_page_type(content_type: str) -> bool:
    """Whether a server's content type is that of a page."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml")


def element_of(body: bytes, provenance: Mapping[str, Any]) -> bytes:
    """Return the markup of the element that a provenance names, the whole page where it is one."""
    from resiliparse.parse.encoding import bytes_to_str
    from resiliparse.parse.html import HTMLTree

    if "selector" not in provenance:
        return body
    html = bytes_to_str(body, provenance.get("encoding", "utf-8"), errors="replace")
    document = cast("Any", HTMLTree.parse(html).document)
    found = document.query_selector_all(provenance["selector"])
    number = provenance["element"]
    return str(found[number - 1].html).encode() if number <= len(found) else b""


def _decode(page: Page) -> tuple[str, str]:
    """Return a page's text and encoding, which is the page's own unless another is known."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    if not page.encoding:
        encoding = str(detect_encoding(page.body, from_html_meta=True) or "utf-8")
        # As in browsers, a byte that the encoding lacks becomes U+FFFD, at no greater cost.
        return bytes_to_str(page.body, encoding, errors="replace"), encoding
    try:
        return page.body.decode(page.encoding), page.encoding
    except UnicodeError as error:
        raise _NoRecord("wrong_encoding", f"{page.place} is not {page.encoding}, "
                        f"{reason_of(error)}",
                        "Leave the encoding empty: pages name their own.") from error  # fmt: skip


def _unusual(encoding: str) -> dict[str, object]:
    return {} if encoding in ("utf-8", "utf-8-sig", "ascii") else {"encoding": encoding}


def _classes(tree: HTMLTree) -> str:
    """Return the page's commonest classes, as a hint for a selector that matches nothing."""
    counts: dict[str, int] = {}
    for element in cast("Any", tree.document).query_selector_all("[class]"):
        for name in element.class_list:
            selector = f"{element.tag}.{name}"
            counts[selector] = counts.get(selector, 0) + 1
    return ", ".join(sorted(counts, key=lambda name: (-counts[name], name))[:8]) or "none"
