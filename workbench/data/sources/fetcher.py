"""Pages fetched politely and safely: robots.txt, a rate for each host, bounds, no private hosts.

What is dangerous about fetching a URL that somebody else wrote is where it leads: to a redirect, to
a name that resolves to this machine or its neighbours, to an answer without end. So each hop is
checked, the address that was checked is the one that is connected to, and everything is bounded.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from workbench.data.sources.robots import NOTHING_PERMITTED, Robots, parse_robots

_MOST_REDIRECTS = 5
_CHUNK_BYTES = 1 << 16
_REDIRECTS = {301, 302, 303, 307, 308}
_ROBOTS_BYTES = 512_000
_PAUSES_SECONDS = (2.0, 10.0)  # before what may pass by itself is tried again
_LONGEST_PAUSE_SECONDS = 60.0  # whatever a host asks for
_PASSING_STATUSES = {429, 500, 502, 503, 504}
_PASSING_RULES = {"timeout", "connection"}
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%\w+)?")


class FetchBounds(NamedTuple):
    """What one fetch may take, and whom it may ask.

    ``allowed_hosts`` may resolve to private addresses; ``wait_seconds`` lie between two requests
    to one host.
    """

    agent: str
    wait_seconds: float
    timeout_seconds: float
    num_bytes: int
    allowed_hosts: tuple[str, ...] = ()


class Fetched(NamedTuple):
    """An answer with status 200: where it came from in the end, its type, its bytes."""

    url: str
    content_type: str
    body: bytes


class NotFetched(Exception):
    """A URL that gives no page: a short rule, and why."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule, self.reason = rule, reason


class Fetcher:
    """Fetches URLs, one at a time; it remembers each site's robots.txt."""

    def __init__(self, bounds: FetchBounds) -> None:
        self._bounds = bounds
        self._robots: dict[str, Robots] = {}
        self._failing: set[str] = set()  # hosts where asking again was of no use the last time

    def fetch(self, url: str) -> Fetched:
        """Return what is at a URL, following redirects.

        Raises:
            NotFetched: the URL, a hop, its host or the answer is not as it must be.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            target = checked_url(url)
            robots = self._robots_of(target)
            if not robots.permits(target):
                raise NotFetched("robots", f"robots.txt does not permit {target}")
            answer = self._ask(target, robots.delay_seconds, self._bounds.num_bytes)
            if answer.location is None:
                if answer.status != http.client.OK:
                    raise NotFetched("status", f"{target} was answered with {answer.status}")
                return Fetched(target, answer.content_type, answer.body)
            url = urljoin(target, answer.location)
        raise NotFetched("redirects", f"{url} is behind more than {_MOST_REDIRECTS} redirects")

    def _robots_of(self, url: str) -> Robots:
        """Return a site's rules: none where it has no file, nothing permitted where it fails."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        if site not in self._robots:
            self._robots[site] = self._fetch_robots(f"{site}/robots.txt")
        return self._robots[site]

    def _fetch_robots(self, url: str) -> Robots:
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                answer = self._ask(checked_url(url), 0.0, _ROBOTS_BYTES)
            except NotFetched as error:
                if error.rule != "too_long":
                    raise
                return NOTHING_PERMITTED
            if answer.location is None:
                break
            url = urljoin(url, answer.location)
        if answer.status == http.client.OK:
            return parse_robots(answer.body, self._bounds.agent)
        # RFC 9309: a server that fails permits nothing, one without such a file everything.
        failed = answer.status >= http.client.INTERNAL_SERVER_ERROR
        return NOTHING_PERMITTED if failed or answer.status == 429 else Robots()

    def _ask(self, url: str, delay: float, most_bytes: int) -> _Answer:
        """Ask a host; what may pass by itself is asked again, unless it did not pass before."""
        host = urlsplit(url).netloc
        for pause in (*(() if host in self._failing else _PAUSES_SECONDS), None):
            try:
                answer = self._ask_once(url, delay, most_bytes)
            except NotFetched as error:
                if error.rule not in _PASSING_RULES:
                    raise
                if pause is None:
                    self._failing.add(host)
                    raise
            else:
                if answer.status not in _PASSING_STATUSES:
                    self._failing.discard(host)
                    return answer
                if pause is None:
                    self._failing.add(host)
                    return answer
                pause = min(max(pause, answer.retry_seconds), _LONGEST_PAUSE_SECONDS)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _ask_once(self, url: str, delay: float, most_bytes: int) -> _Answer:
        host = urlsplit(url).hostname or ""
        with turn_of(host, max(self._bounds.wait_seconds, delay)):
            deadline = time.monotonic() + self._bounds.timeout_seconds
            try:
                return self._request(url, most_bytes)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if time.monotonic() >= deadline or isinstance(error, TimeoutError):
                    seconds = self._bounds.timeout_seconds
                    raise NotFetched("timeout", f"{url} took over {seconds:g} s") from error
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise NotFetched("connection", f"{url} cannot be fetched: {reason}") from error

    def _request(self, url: str, most_bytes: int) -> _Answer:
        parts = urlsplit(url)
        address = checked_address(url, self._bounds.allowed_hosts)
        connection = _connection(url, address, self._bounds.timeout_seconds)
        with closing(connection), _cut_off_after(self._bounds.timeout_seconds, connection):
            path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
            connection.request("GET", path, headers={
                "User-Agent": self._bounds.agent, "Accept": "text/html,application/xhtml+xml,*/*",
                "Accept-Encoding": "identity", "Connection": "close",
            })  # fmt: skip
            answer = connection.getresponse()
            location = answer.headers.get("Location") if answer.status in _REDIRECTS else None
            wanted = location is None and answer.status == http.client.OK
            body = _read(answer, most_bytes, url) if wanted else b""
            kind, again = (answer.headers.get(name, "") for name in ("Content-Type", "Retry-After"))
            retry_seconds = float(again) if re.fullmatch(r"\d{1,6}", again) else 0.0
            return _Answer(answer.status, kind, location, body, retry_seconds)


class _Answer(NamedTuple):
    status: int
    content_type: str
    location: str | None
    body: bytes
    retry_seconds: float  # that the host asks to wait


@contextmanager
def _cut_off_after(seconds: float, connection: http.client.HTTPConnection) -> Iterator[None]:
    """Break a connection off in the end: a timeout alone is set back by each byte that drips in."""
    sock = connection.sock
    ended = threading.Event()

    def break_off() -> None:
        ended.set()
        with suppress(OSError):  # it is closed already
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
        if ended.is_set():
            raise TimeoutError
    except (OSError, http.client.HTTPException, ValueError) as error:
        if ended.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()


def _read(answer: http.client.HTTPResponse, most_bytes: int, url: str) -> bytes:
    """Read a body whole, within its size."""
    coding = answer.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise NotFetched(
            "encoding", f"{url} is sent packed ({coding[:20]}), which was not asked for"
        )
    chunks, num_bytes = [], 0
    while chunk := answer.read1(_CHUNK_BYTES):
        num_bytes += len(chunk)
        if num_bytes > most_bytes:
            raise NotFetched("too_long", f"{url} is longer than {most_bytes:,} bytes")
        chunks.append(chunk)
    if answer.length:
        raise ConnectionError(f"it ended {answer.length} bytes early")
    return b"".join(chunks)


def _connection(url: str, address: str, timeout_seconds: float) -> http.client.HTTPConnection:
    """Return a connection to an address that speaks of the URL's host."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    sock = socket.create_connection((address, port), timeout_seconds)
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        if parts.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    connection.sock = sock  # in place of one that would look the name up again
    return connection


def checked_url(url: str) -> str:
    """Return a URL that may be asked for, without fragment.

    Raises:
        NotFetched: it is no http or https URL, or holds a user's name.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
        ascii_host = (host or "").encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise NotFetched("url", f"{url[:200]!r} is no URL: {error}") from error
    if parts.scheme not in _PORTS or not _HOST.fullmatch(ascii_host):
        raise NotFetched("url", f"{url[:200]!r} is no http or https URL")
    if parts.username is not None or parts.password is not None:
        raise NotFetched("url", f"a URL of {ascii_host} holds a user's name")
    if any(sign <= " " or sign == "\x7f" for sign in url):
        raise NotFetched("url", f"{url[:200]!r} holds a space or control sign")
    shown = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    netloc = shown if port in (None, _PORTS[parts.scheme]) else f"{shown}:{port}"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def checked_address(url: str, allowed_hosts: tuple[str, ...]) -> str:
    """Return the address to connect to for a URL, after all that its host has were checked.

    Raises:
        NotFetched: one of them is private, and the host is not allowed by name.
        OSError: the host has no address.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    names = {host, f"{host}:{port}"}
    if not names & {name.lower() for name in allowed_hosts}:
        private = next((address for address in addresses if is_private(address)), None)
        if private is not None:
            raise NotFetched("private_address", f"{host} leads to the private address {private}")
    return addresses[0]


def is_private(address: str) -> bool:
    """Whether an address is not one of the public internet: loopback, link-local, metadata ...

    Those that carry another address in them (IPv4 in IPv6, 6to4, NAT64) are judged by that, too.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = [parsed.ipv4_mapped, parsed.sixtofour, *(parsed.teredo or ())]
        if parsed in _NAT64 or parsed in _COMPATIBLE:
            inner.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
        if any(one is not None and is_private(str(one)) for one in inner):
            return True
        if parsed.ipv4_mapped is not None:
            return False
    return not parsed.is_global or parsed.is_multicast or parsed.is_reserved


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")


@contextmanager
def turn_of(host: str, wait_seconds: float) -> Iterator[None]:
    """Wait for the turn to ask a host; all processes of this user on this machine take turns."""
    folder = Path(tempfile.gettempdir()) / f"workbench-hosts-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / hashlib.sha256(host.encode()).hexdigest()[:16]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as last:
        fcntl.flock(last, fcntl.LOCK_EX)
        age = time.time() - os.fstat(descriptor).st_mtime
        is_new = os.fstat(descriptor).st_size == 0
        pause = 0.0 if is_new or age < 0 else wait_seconds - age
        if pause > 0:
            time.sleep(pause)
        try:
            yield
        finally:
            last.seek(0)
            last.write(b".")
            last.flush()
            os.utime(descriptor)
