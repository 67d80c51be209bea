"""What a site's robots.txt permits, by RFC 9309: the longest matching rule wins."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

_LONGEST_BYTES = 512_000  # RFC 9309 asks for at least 500 KiB
_MOST_SECONDS = 60.0


class Rule(NamedTuple):
    """One line of a group: a path pattern, and whether what matches it is permitted."""

    pattern: str
    is_allowed: bool


class Robots(NamedTuple):
    """The rules for one agent, and how long it is asked to wait between two requests."""

    rules: tuple[Rule, ...] = ()
    delay_seconds: float = 0.0

    def permits(self, url: str) -> bool:
        """Whether a URL may be fetched; where two rules are equally long, the permission wins."""
        parts = urlsplit(url)
        path = _plain(parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        matching = [rule for rule in self.rules if _matches(rule.pattern, path)]
        best = max(matching, key=lambda rule: (len(rule.pattern), rule.is_allowed), default=None)
        return best is None or best.is_allowed


NOTHING_PERMITTED = Robots((Rule("/", False),))


def parse_robots(body: bytes, agent: str) -> Robots:
    """Return the rules that a robots.txt has for an agent: its own groups', else those for all."""
    groups: dict[str, list[Rule]] = {}
    delays: dict[str, float] = {}
    named: list[str] = []
    is_naming = False
    for name, value in _lines(body):
        if name == "user-agent":
            named = [*named, value.lower()] if is_naming else [value.lower()]
            is_naming = True
            for one in named:
                groups.setdefault(one, [])
            continue
        is_naming = False
        for one in named:
            if name in ("allow", "disallow") and value:
                groups[one].append(Rule(_plain(value), name == "allow"))
            elif name == "crawl-delay" and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value):
                delays[one] = min(float(value), _MOST_SECONDS)
    product = re.split(r"[/ ]", agent.lower())[0]
    own = product if product in groups else "*"
    return Robots(tuple(groups.get(own, ())), delays.get(own, 0.0))


def _lines(body: bytes) -> list[tuple[str, str]]:
    text = body[:_LONGEST_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")
    found = []
    for line in re.split(r"[\r\n]+", text):
        name, colon, value = line.partition("#")[0].partition(":")
        if colon:
            found.append((name.strip().lower(), value.strip()))
    return found


def _plain(path: str) -> str:
    """Write a path in one way: what is escaped without need is not."""
    return quote(unquote(path, errors="surrogateescape"), safe="/*$?=&;:@!,+~()'",
                 errors="surrogateescape")  # fmt: skip


def _matches(pattern: str, path: str) -> bool:
    """Whether a path begins with a pattern, in which * is any text and a last $ the end.

    Pieces are looked for one after the other, so that no pattern takes long.
    """
    ends = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    for number, piece in enumerate(rest):
        if ends and number == len(rest) - 1:
            return len(path) - len(piece) >= at and path.endswith(piece)
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return not ends or at == len(path)
