"""What a page declares as its article, in JSON-LD (schema.org ``articleBody``)."""

from __future__ import annotations

import json
import re
from typing import Any

_MARK = b"articleBody"
_LONGEST = 2_000_000  # characters of JSON; more is no article
_FEWEST_CHARACTERS = 400
_TAG = re.compile(r"<[^<>]*>")
_PROBES = 24  # runs of words looked up in the other text
_PROBE_WORDS = 4


def article_body(page: bytes, root: Any) -> str:
    """Return the longest article body that a page declares, empty where there is none."""
    if _MARK not in page:
        return ""
    bodies = [
        body
        for script in root.iter("script")
        if "ld+json" in script.get("type", "") and "articleBody" in (script.text or "")
        for body in _bodies(script.text)
    ]
    return _as_text(max(bodies, key=len, default=""))


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
