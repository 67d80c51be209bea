"""Pages are fetched politely and only from where they may be; web archives are read as stored."""

from __future__ import annotations

import gzip
import ipaddress
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.data.sources import fetcher
from workbench.data.sources.fetch import fetch_again
from workbench.data.sources.fetcher import NotFetched, checked_url, is_private, turn_of
from workbench.data.sources.laws import SourceLaws
from workbench.data.sources.robots import parse_robots
from workbench.data.sources.source import Rejected, SourceRow
from workbench.data.sources.warc import WarcSource
from workbench.data.sources.web import WebSource, sitemap_locations

PAGE = (
    "<html><head><title>{0}</title></head><body><p class=c>{0} one</p><p class=c>{0} two</p></body>"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait for hosts that shall fail."""
    monkeypatch.setattr(fetcher, "_PAUSES_SECONDS", ())


class Site:
    """A server in a thread: ``pages`` maps a path to (status, headers, body) or to a function."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[tuple[str, float, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, time.monotonic(), dict(self.headers.items())))
                found = site.pages.get(self.path, (404, {}, b""))
                if callable(found):
                    found(self)
                    return
                status, headers, body = found
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def page(self, path: str, body: str | bytes, kind: str = "text/html; charset=utf-8") -> str:
        content = body if isinstance(body, bytes) else body.encode()
        self.pages[path] = (200, {"Content-Type": kind}, content)
        return self.url + path

    def redirect(self, path: str, to: str) -> str:
        self.pages[path] = (302, {"Location": to}, b"")
        return self.url + path

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def other_site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def source(site: Site, *urls: str, **settings: Any) -> WebSource:
    given = {"name": "s", "urls": list(urls), "wait_seconds": 0, "allowed_hosts": [site.host]}
    return WebSource.parse({**given, **settings})


def rows(site: Site, *urls: str, **settings: Any) -> list[SourceRow | Rejected]:
    return list(source(site, *urls, **settings).read())


def rule(site: Site, url: str, **settings: Any) -> str:
    (row,) = rows(site, url, **settings)
    assert isinstance(row, Rejected), row
    assert row.position == url
    return row.rule


# -- what comes out -------------------------------------------------------------------------------


def test_pages_become_records_with_their_address(site: Site) -> None:
    urls = [site.page(f"/{name}", PAGE.format(name)) for name in ("a", "b")]
    found = rows(site, *urls)
    assert [row.position for row in found] == urls
    assert isinstance(found[0], SourceRow)
    assert "a two" in found[0].text
    assert found[0].extra == {"title": "a"}
    assert found[0].provenance["uri"] == urls[0]
    assert site.asked[0][2]["User-Agent"] == "nlp-workbench"
    assert site.paths == ["/robots.txt", "/a", "/b"]


def test_elements_of_fetched_pages_are_records(site: Site) -> None:
    found = rows(site, site.page("/a", PAGE.format("x")), record_selector="p.c")
    assert [row.text for row in found if isinstance(row, SourceRow)] == ["x one", "x two"]


@pytest.mark.parametrize("kind", ["text/html; charset=iso-8859-1", "text/html; charset=utf-9",
                                  "text/html", "text/html; charset=utf-8"])  # fmt: skip
def test_a_page_is_read_in_its_own_encoding(site: Site, kind: str) -> None:
    head = "" if "8859" in kind else '<meta charset="iso-8859-1">'
    body = f"<html>{head}<body><p>Grüße, schöne Welt</p></body></html>".encode("latin-1")
    (row,) = rows(site, site.page("/a", body, kind))
    assert isinstance(row, SourceRow)
    assert row.text == "Grüße, schöne Welt"


def test_lists_and_sitemaps_name_pages(site: Site, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        site.page(f"/{name}", PAGE.format(name))
    (tmp_path / "urls.txt").write_text(f"# mine\n{site.url}/a\n\n{site.url}/b\n")
    inner = (
        f"<urlset><url><loc> {site.url}/b </loc></url><url><loc>{site.url}/c</loc></url></urlset>"
    )
    site.page("/inner.xml.gz", gzip.compress(inner.encode()), "application/gzip")
    site.page("/list.txt", f"{site.url}/d\n{site.url}/skip\n", "text/plain")
    index = "".join(
        f"<sitemap><loc>{site.url}/{x}</loc></sitemap>" for x in ("inner.xml.gz", "list.txt")
    )
    site.page(
        "/index.xml", f"<?xml version='1.0'?><sitemapindex>{index}</sitemapindex>", "text/xml"
    )
    found = rows(site, list_path=str(tmp_path / "urls.txt"), sitemaps=[f"{site.url}/index.xml"],
                 url_pattern="/.$")  # fmt: skip
    assert [row.position for row in found] == [f"{site.url}/{name}" for name in "abcd"]


def test_entities_and_data_sections_in_sitemaps_are_text() -> None:
    body = b"<urlset><loc>http://a/?x=1&amp;y=2</loc><loc><![CDATA[http://b/?x&y]]></loc></urlset>"
    assert sitemap_locations(body) == ["http://a/?x=1&y=2", "http://b/?x&y"]


def test_a_fetched_page_is_fetched_again(site: Site, tmp_path: Path) -> None:
    url = site.page("/a", PAGE.format("a"))
    settings = json.loads(source(site, url, record_selector="p").canonical_json())
    made = FolderRun(tmp_path).run(IntegrateSpec.parse({"sources": [settings]}))
    records = read_records(made["dataset"]).to_pylist()
    again = fetch_again(records[1], allowed_hosts=[site.host])
    assert again == b'<p class="c">a two</p>'
    site.page("/a", PAGE.format("b"))
    with pytest.raises(DataError, match="not what it was"):
        fetch_again(records[1], allowed_hosts=[site.host])


def test_a_record_does_not_say_itself_which_private_hosts_are_allowed(site: Site) -> None:
    url = site.page("/a", PAGE.format("a"))
    place = {"kind": "web", "uri": url, "hash": "0", "allowed_hosts": [site.host]}
    with pytest.raises(DataError, match="private address"):
        fetch_again({"id": "x", "provenance": json.dumps(place)})
    assert site.asked == []


# -- where a fetch may lead -----------------------------------------------------------------------


def test_a_private_host_is_refused_unless_it_is_named(site: Site) -> None:
    url = site.page("/a", PAGE.format("a"))
    assert rule(site, url, allowed_hosts=[]) == "private_address"
    assert rule(site, url, allowed_hosts=["127.0.0.1:1", "localhost"]) == "private_address"
    assert site.asked == []
    assert isinstance(rows(site, url, allowed_hosts=["127.0.0.1"])[0], SourceRow)


@pytest.mark.parametrize("shape", ["http://{}/", "//{}/x", "http://localhost:{port}/"])
def test_a_redirect_to_a_private_host_is_refused(site: Site, other_site: Site, shape: str) -> None:
    other_site.page("/", PAGE.format("secret"))
    port = other_site.server.server_port
    url = site.redirect("/a", shape.format(other_site.host, port=port))
    assert rule(site, url) == "private_address"
    assert other_site.asked == []


def test_robots_of_a_private_host_are_not_asked_for_either(site: Site, other_site: Site) -> None:
    site.redirect("/robots.txt", other_site.url + "/robots.txt")
    assert rule(site, site.page("/a", PAGE.format("a"))) == "private_address"
    assert other_site.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "2001:0:7f00:1::",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_internet_are_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_not(address: str) -> None:
    assert not is_private(address)


@given(st.ip_addresses(v=4))
def test_an_address_in_another_is_as_private_as_it(address: ipaddress.IPv4Address) -> None:
    assert is_private(f"::ffff:{address}") == is_private(str(address))
    assert is_private(f"64:ff9b::{address}") or not is_private(str(address))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://a.example/x", "gopher://a.example", "http://", "javascript:x",
        "http://ann@a.example/", "http://ann:pw@a.example/", "http://a.example:99999/",
        "http://[::1/", "http://a.example/x y", "http://a.example/\r\nX: y", "data:text/html,x",
    ],
)  # fmt: skip
def test_urls_that_are_no_pages_of_a_server_are_refused(url: str) -> None:
    with pytest.raises(NotFetched):
        checked_url(url)
    with pytest.raises(SpecError):
        WebSource.parse({"name": "s", "urls": [url]})


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://a.example/{text}"):
        try:
            checked = checked_url(url)
        except NotFetched:
            continue
        assert checked_url(checked) == checked
        assert checked.isascii()


def test_redirects_end(site: Site) -> None:
    assert rule(site, site.redirect("/a", "/a")) == "redirects"
    page = site.page("/page", PAGE.format("a"))
    (row,) = rows(site, site.redirect("/b", "/page"))
    assert row.provenance["final_url"] == page


# -- what an answer may be ------------------------------------------------------------------------


def test_answers_that_are_no_pages_are_rejected_and_the_rest_goes_on(site: Site) -> None:
    good = site.page("/good", PAGE.format("a"))
    picture = site.page("/picture", b"x", "image/png")
    packed = site.url + "/packed"
    site.pages["/packed"] = (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"},
                             gzip.compress(PAGE.encode()))  # fmt: skip
    short = site.url + "/short"
    site.pages["/short"] = (200, {"Content-Type": "text/html", "Content-Length": "900"}, b"<p>x")
    long = site.page("/long", b"<html>" + b"x" * 2_000_000)
    missing = site.url + "/missing"
    found = rows(site, picture, packed, short, long, missing, good, max_page_megabytes=1)
    assert [row.rule if isinstance(row, Rejected) else "" for row in found] == [
        "content_type", "encoding", "connection", "too_long", "status", "",
    ]  # fmt: skip


def _drip(head: bytes, piece: bytes) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        try:
            handler.wfile.write(head)
            for _ in range(100):
                handler.wfile.write(piece)
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass  # the client has gone, as it should

    return answer


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"[:1]),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", b"<p>"),
    ],
)
def test_a_server_that_drips_is_left(site: Site, head: bytes, piece: bytes) -> None:
    site.pages["/a"] = _drip(head, piece)
    started = time.monotonic()
    assert rule(site, site.url + "/a", timeout_seconds=0.4) == "timeout"
    assert time.monotonic() - started < 4


def test_a_server_that_is_not_there_is_a_rejected_row(site: Site) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    assert rule(site, url, allowed_hosts=["127.0.0.1"]) == "connection"


def test_what_passes_by_itself_is_asked_again_and_a_dead_host_only_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "_PAUSES_SECONDS", (0.05, 0.1))
    answers = [
        (503, {"Retry-After": "1"}, b""), (429, {}, b""),
        (200, {"Content-Type": "text/html"}, b"<p>hello</p>"),
    ]  # fmt: skip

    def busy(handler: BaseHTTPRequestHandler) -> None:
        status, headers, body = answers.pop(0)
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    site.pages["/busy"] = busy
    for name in ("/x", "/y"):
        site.pages[name] = (503, {}, b"")
    found = rows(site, *(site.url + name for name in ("/busy", "/x", "/y", "/missing")))
    assert [getattr(row, "rule", "") for row in found] == ["", "status", "status", "status"]
    times = {name: [at for path, at, _ in site.asked if path == name] for name in site.paths}
    assert [len(times[name]) for name in ("/busy", "/x", "/y", "/missing")] == [3, 3, 1, 1]
    assert times["/busy"][1] - times["/busy"][0] >= 1.0, "as long as it has asked for"


# -- politeness -----------------------------------------------------------------------------------


def test_robots_are_obeyed(site: Site) -> None:
    site.page(
        "/robots.txt", "User-agent: *\nDisallow: /private\nAllow: /private/open\n", "text/plain"
    )
    for name in ("a", "private", "private/open"):
        site.page(f"/{name}", PAGE.format("x"))
    found = rows(site, *(f"{site.url}/{name}" for name in ("a", "private", "private/open")))
    assert [isinstance(row, SourceRow) for row in found] == [True, False, True]
    assert "/private" not in site.paths
    redirected = site.redirect("/b", "/private")
    assert rule(site, redirected) == "robots"


@pytest.mark.parametrize(
    ("status", "expected"), [(404, ""), (403, ""), (500, "robots"), (429, "robots")]
)
def test_a_site_without_robots_permits_all_and_a_failing_one_nothing(
    site: Site, status: int, expected: str
) -> None:
    site.pages["/robots.txt"] = (status, {}, b"")
    (row,) = rows(site, site.page("/a", PAGE.format("a")))
    assert (row.rule if isinstance(row, Rejected) else "") == expected


ROBOTS = b"""\xef\xbb\xbf# a comment
User-agent: other
User-agent: NLP-Workbench
Disallow: /*.pdf$
Disallow: /a/
Allow: /a/b   # comment
Crawl-delay: 2.5

User-agent: *
Disallow: /
"""


@pytest.mark.parametrize(
    ("path", "permitted"),
    [
        ("/", True), ("/x.pdf", False), ("/x.pdf?y", True), ("/a/", False), ("/a/b/c", True),
        ("/a", True), ("/%61/x", False), ("/x/a/", True),
    ],
)  # fmt: skip
def test_the_longest_rule_for_this_agent_counts(path: str, permitted: bool) -> None:
    robots = parse_robots(ROBOTS, "nlp-workbench/1.0 (me@example.org)")
    assert robots.permits(f"http://h{path}") is permitted
    assert robots.delay_seconds == 2.5
    assert not parse_robots(ROBOTS, "someone").permits(f"http://h{path}")


@settings(deadline=None)
@given(st.binary(max_size=200), st.text(max_size=50))
def test_any_robots_file_can_be_read(body: bytes, path: str) -> None:
    robots = parse_robots(b"User-agent: *\nDisallow: " + body, "x")
    assert robots.permits(f"http://h/{path}") in (True, False)


def test_a_pattern_of_many_stars_is_quickly_told() -> None:
    robots = parse_robots(b"User-agent: *\nDisallow: /" + b"*a" * 5_000 + b"$", "x")
    assert robots.permits("http://h/" + "a" * 2_000)


def test_a_host_is_given_time_between_requests(site: Site) -> None:
    urls = [site.page(f"/{n}", PAGE.format(n)) for n in range(3)]
    rows(site, *urls, wait_seconds=0.2)
    times = [at for _, at, _ in site.asked]
    assert len(times) == 4
    assert all(later - sooner > 0.15 for sooner, later in itertools.pairwise(times))


def test_two_readers_of_one_host_take_turns() -> None:
    inside: list[int] = []
    most: list[int] = []

    def visit() -> None:
        with turn_of("turns.example", 0.0):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=visit) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


# -- web archives ---------------------------------------------------------------------------------


def stored(
    url: str, body: bytes, kind: str = "text/html", status: int = 200, **headers: str
) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    answer = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\n{more}"
    content = f"{answer}Content-Length: {len(body)}\r\n\r\n".encode() + body
    head = {
        "WARC-Type": "response",
        "WARC-Record-ID": "<urn:uuid:00000000-0000-0000-0000-000000000001>",
        "WARC-Date": "2024-01-01T00:00:00Z",
        "WARC-Target-URI": url,
        "Content-Type": "application/http; msgtype=response",
        "Content-Length": str(len(content)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"WARC/1.1\r\n{lines}\r\n".encode() + content + b"\r\n\r\n"


ARCHIVE = [
    stored("http://a/", PAGE.format("a").encode()),
    stored("http://a/picture", b"x" * 99, "image/png"),
    stored("http://a/gone", PAGE.format("gone").encode(), status=404),
    stored("http://b/", gzip.compress(PAGE.format("b").encode()), Content_Encoding="gzip"),
    stored("http://c/", b"just words", "text/html"),
    stored("http://d/", PAGE.format("d" * 500).encode(), "text/html; charset=utf-8"),
]


def archive(folder: Path, content: bytes, **settings: Any) -> WarcSource:
    (folder / "a.warc").write_bytes(content)
    return WarcSource.parse({"name": "s", "path": str(folder / "a.warc"), **settings})


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pages_of_an_archive_are_records(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    found = list(archive(tmp_path, b"".join(map(pack, ARCHIVE))).read())
    assert [row.provenance["url"] for row in found] == [
        "http://a/",
        "http://b/",
        "http://c/",
        "http://d/",
    ]
    assert [row.rule if isinstance(row, Rejected) else "" for row in found] == [
        "",
        "",
        "not_html",
        "",
    ]
    assert isinstance(found[1], SourceRow)
    assert "b two" in found[1].text


def test_a_page_that_an_archive_holds_in_part_is_rejected(tmp_path: Path) -> None:
    found = list(archive(tmp_path, b"".join(ARCHIVE)[:-300]).read())
    assert [row.rule for row in found if isinstance(row, Rejected)] == ["not_html", "cut_off"]


def test_a_file_that_is_no_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a damaged web archive"):
        list(archive(tmp_path, b"hello " * 500).read())


def test_a_page_longer_than_a_record_may_be_is_rejected(tmp_path: Path) -> None:
    found = list(archive(tmp_path, ARCHIVE[5] + ARCHIVE[0], max_record_megabytes=0.0005).read())
    assert [getattr(row, "rule", "") for row in found] == ["too_long", ""]


class TestWarc(SourceLaws):
    def example(self, folder: Path) -> WarcSource:
        return archive(folder, b"".join(map(gzip.compress, ARCHIVE)))


class TestWarcElements(SourceLaws):
    def example(self, folder: Path) -> WarcSource:
        return archive(folder, b"".join(ARCHIVE), record_selector="p")


class TestWeb(SourceLaws):
    allowed_hosts = ("127.0.0.1",)

    @pytest.fixture(autouse=True)
    def use(self, site: Site) -> None:
        self.site = site

    def example(self, folder: Path) -> WebSource:
        urls = [self.site.page(f"/{n}", PAGE.format(n)) for n in range(3)]
        return source(self.site, *urls)
