"""The views' scripts and styles: plain ES modules, put together without a build step."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<file>[\w.]+)";\n', re.MULTILINE)


@cache
def linked_module(entry: str) -> str:
    """Return one ES module: the entry file after every file that it imports.

    A widget's script is sent as one text and cannot fetch its neighbours, so their imports are
    resolved here. Names must therefore be unique over all files.
    """
    return "\n".join(_in_order(entry, set()))


def _in_order(file: str, seen: set[str]) -> list[str]:
    if file in seen:
        return []
    seen.add(file)
    text = (STATIC / file).read_text(encoding="utf-8")
    before = [part for match in _IMPORT.finditer(text) for part in _in_order(match["file"], seen)]
    return [*before, _IMPORT.sub("", text)]


@cache
def stylesheet() -> str:
    """Return the styles of all views."""
    names = ("tokens.css", "controls.css", "views.css", "cleaning.css")
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)
