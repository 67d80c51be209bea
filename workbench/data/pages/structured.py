"""What a page declares as its article, in JSON-LD (schema.org ``articleBody``)."""

from __future__ import annotations

import json
import re

_MARK = b'"articleBody"'
_MOST_MARKS = 16
_LONGEST = 2_000_000  # characters of JSON; more is no article
_FEWEST_CHARACTERS = 400
_TAG = re.compile(r"<[^<>]*>")
_PROBES = 24  # runs of words looked up in the other text
_PROBE_WORDS = 4


def article_body(page: bytes) -> str:
    """Return the longest article body that a page (UTF-8) declares, empty where there is none."""
    found: list[str] = []
    end = 0
    for _ in range(_MOST_MARKS):
        mark = page.find(_MARK, end)  # much faster than a pattern, and nearly always the answer
        if mark < 0:
            break
        end = mark + len(_MARK)
        if page[end : end + 8].lstrip()[:1] != b":":  # an attribute's value
            continue
        start = page.rfind(b"<script", 0, mark)
        end = page.find(b"</script", end)
        if start < 0 or end < 0:
            break
        opening, _, script = page[start:end].partition(b">")
        if b"ld+json" in opening:
            found += _bodies(script.decode("utf-8", "replace"))
    return _as_text(max(found, key=len, default=""))


def is_other_text(declared: str, text: str) -> bool:
    """Return whether a declared article is none of what was extracted, or much more of it."""
    if len(declared) < _FEWEST_CHARACTERS:
        return False
    if len(declared) > 2 * len(text):
        return True
    words = declared.split()
    step = max(1, len(words) // _PROBES)
    probes = [" ".join(words[at : at + _PROBE_WORDS]) for at in range(0, len(words), step)]
    flat = " ".join(text.split())
    return sum(probe in flat for probe in probes) < 0.2 * len(probes)


def _bodies(script: str) -> list[str]:
    if len(script) > _LONGEST:
        return []
    try:
        waiting = [json.loads(script, strict=False)]
    except (ValueError, RecursionError):  # pages' makers get it wrong often
        return []
    found = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            body = value.get("articleBody")
            if isinstance(body, str):
                found.append(body)
            waiting += value.values()
    return found


def _as_text(body: str) -> str:
    if "<" in body or "&" in body:
        import html

        body = _TAG.sub("\n", html.unescape(body))
    lines = (" ".join(line.split()) for line in body.splitlines())
    return "\n".join(line for line in lines if line)
