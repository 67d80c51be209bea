"""Web pages fetched from their servers: by URL, from lists of URLs, from sitemaps."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from workbench.core.errors import DataError
from workbench.core.spec import LocalPath, option
from workbench.data.sources.encoding import known_encoding
from workbench.data.sources.fetcher import FetchBounds, Fetched, Fetcher, NotFetched, checked_url
from workbench.data.sources.packed import UnpackBounds, unpacked
from workbench.data.sources.pages import Page, PageSource, element_of, is_page_type
from workbench.data.sources.source import Part, Rejected, SourceRow

_AGENT = "nlp-workbench"
_SITEMAP_BYTES = 50_000_000  # the format's own bound
_MOST_SITEMAPS = 1_000
_URLS_PER_PART = 100
_LONGEST_MEGABYTES = 1_000
_LOCATION = re.compile(
    rb"<(?:\w+:)?loc\b[^>]*>\s*(.*?)\s*</(?:\w+:)?loc>", re.DOTALL | re.IGNORECASE
)
_IS_INDEX = re.compile(rb"<(?:\w+:)?sitemapindex\b", re.IGNORECASE)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)


class WebSource(PageSource):
    """Pages of the web, fetched politely: robots.txt is obeyed, each host is given time."""

    kind: Literal["web"] = option(
        "web", title="Kind", help="Pages of the web, fetched politely.", group="Source"
    )  # fmt: skip
    urls: list[str] = option([], title="URLs", group="Source", help="The pages' addresses.")
    list_path: LocalPath = option(
        "", title="List of URLs", group="Source", help="A text file with one URL a line."
    )
    sitemaps: list[str] = option(
        [], title="Sitemaps", group="Source",
        help="URLs of sitemaps or sitemap indexes (also packed) whose pages are read.",
    )  # fmt: skip
    url_pattern: str = option(
        "", title="Pattern of URLs", group="Source",
        help="Regular expression that a page's URL from a sitemap must contain; empty: all.",
    )  # fmt: skip
    agent: Annotated[str, Field(pattern=r"^[!-~][ -~]*$")] = option(
        _AGENT, title="User agent", group="Politeness", max_length=200,
        help="How this reader names itself; add where you can be reached.",
    )  # fmt: skip
    wait_seconds: float = option(
        1.0, title="Wait", group="Politeness", unit="seconds", ge=0, le=600,
        help="Least time between two requests to one host; robots.txt may ask for more.",
    )  # fmt: skip
    timeout_seconds: float = option(
        30.0, title="Time for a page", group="Limits", unit="seconds", gt=0, le=600,
        help="A page for which its server takes longer is rejected.",
    )  # fmt: skip
    max_page_megabytes: float = option(
        8.0, title="Longest page", group="Limits", unit="MB", gt=0, le=_LONGEST_MEGABYTES,
        help="A page of more bytes is rejected.",
    )  # fmt: skip
    allowed_hosts: list[str] = option(
        [], title="Private hosts allowed", group="Limits",
        help="Hosts (intranet.example, or with a port) that may have private addresses; all "
        "others must be on the public internet.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _has_urls(self) -> Self:
        if not (self.urls or self.list_path or self.sitemaps):
            raise ValueError("give URLs, a list of URLs, or sitemaps")
        try:
            re.compile(self.url_pattern)
        except re.error as error:
            raise ValueError(f"url_pattern is no regular expression: {error}") from error
        for url in [*self.urls, *self.sitemaps]:
            try:
                checked_url(url)
            except NotFetched as error:
                raise ValueError(error.reason) from error
        return self

    def read(self) -> Iterator[SourceRow | Rejected]:
        """Yield the records of every page, in the order of the URLs."""
        for part in self.parts():
            yield from self.read_part(part)

    def parts(self) -> list[Part]:
        """Return groups of URLs, each once."""
        urls = list(dict.fromkeys(self._urls()))
        starts = range(0, len(urls), _URLS_PER_PART)
        return [{"urls": urls[start : start + _URLS_PER_PART]} for start in starts]

    def read_part(self, part: Part) -> Iterator[SourceRow | Rejected]:
        """Yield the records of a group of pages; a page that cannot be had is a rejected row."""
        for url in part["urls"]:
            place: dict[str, object] = {"uri": url}
            try:
                fetched = self._fetch_page(url)
            except NotFetched as error:
                yield Rejected(url, place, error.reason, error.rule)
                continue
            if fetched.url != url:
                place["final_url"] = fetched.url
            encoding = _encoding_of(fetched)
            yield from self.page_rows(Page(fetched.body, url, place, url, encoding, url))

    def fingerprint(self) -> str | None:
        """Return None: what is on the web now cannot be known without reading it."""
        return None

    @classmethod
    def fetch(cls, provenance: Mapping[str, Any]) -> bytes:
        """Fetch a page again, as politely; return its bytes or the markup of an element."""
        url = provenance["uri"]
        source = cls.model_validate({
            "name": "again", "urls": [url], "max_page_megabytes": _LONGEST_MEGABYTES,
            "allowed_hosts": provenance["allowed_hosts"],
        })  # fmt: skip
        try:
            return element_of(source._fetch_page(url).body, provenance)
        except NotFetched as error:
            raise DataError(error.reason, where=url,
                            next_step="Try again later.") from error  # fmt: skip

    def _fetch_page(self, url: str) -> Fetched:
        fetched = self._fetcher.fetch(url)
        if not is_page_type(fetched.content_type):
            kind = fetched.content_type.partition(";")[0][:50] or "nothing"
            raise NotFetched("content_type", f"{url} is no page: it says that it is {kind}")
        return fetched

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self._bounds(self.max_page_megabytes * 1e6))

    def _bounds(self, num_bytes: float) -> FetchBounds:
        return FetchBounds(
            self.agent, self.wait_seconds, self.timeout_seconds, int(num_bytes),
            tuple(self.allowed_hosts),
        )  # fmt: skip

    def _urls(self) -> Iterator[str]:
        yield from self.urls
        if self.list_path:
            yield from self._listed()
        fetcher = Fetcher(self._bounds(_SITEMAP_BYTES))
        waiting, seen = list(self.sitemaps), set[str]()
        while waiting:
            sitemap = waiting.pop(0)
            if sitemap in seen or len(seen) >= _MOST_SITEMAPS:
                continue
            seen.add(sitemap)
            body = self._sitemap(fetcher, sitemap)
            found = sitemap_locations(body)
            if _IS_INDEX.search(body[:10_000]):
                waiting.extend(found)
            else:
                yield from (url for url in found if re.search(self.url_pattern, url))

    def _listed(self) -> Iterator[str]:
        try:
            lines = Path(self.list_path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"The list of URLs cannot be read: {error}",
                            where=self.place(self.list_path),
                            next_step="Name a text file in UTF-8.") from error  # fmt: skip
        yield from (line.strip() for line in lines if line.strip() and not line.startswith("#"))

    def _sitemap(self, fetcher: Fetcher, url: str) -> bytes:
        where = self.place(url)
        try:
            body = fetcher.fetch(url).body
        except NotFetched as error:
            raise DataError(f"The sitemap cannot be read: {error.reason}", where=where,
                            next_step="Check its URL, or give URLs.") from error  # fmt: skip
        raw: Any = io.BufferedReader(io.BytesIO(body))
        with unpacked(raw, UnpackBounds(1_000, _SITEMAP_BYTES), url, where) as stream:
            return stream.read()


def sitemap_locations(body: bytes) -> list[str]:
    """Return the URLs in a sitemap or sitemap index; of plain text, each line that is one.

    Found by pattern: an XML reader would have to be kept from expanding entities.
    """
    if b"<" not in body:
        lines = body.decode("utf-8", "replace").split()
        return [line for line in lines if line.startswith(("http://", "https://"))]
    texts = (match.decode("utf-8", "replace") for match in _LOCATION.findall(body))
    return [html.unescape(_CDATA.sub(r"\1", text)).strip() for text in texts]


def _encoding_of(fetched: Fetched) -> str:
    """Return the encoding that a server names, if the page is in it."""
    named = re.search(r"charset=[\"']?([\w.:-]+)", fetched.content_type)
    try:
        encoding = known_encoding(named[1] if named else "")
        fetched.body.decode(encoding or "ascii")
    except ValueError:
        return ""
    return encoding
