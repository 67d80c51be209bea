"""Feeds a reader bytes that a fuzzer makes up, led by which of its code they reach.

``python tests/fuzz_readers.py csv -max_total_time=60`` (kinds: csv, html); ``make fuzz`` does both.
What must be so of any bytes is what ``tests/laws/test_hostile_bytes.py`` says; a file that breaks
it is left in the working folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parent / "laws"))

with atheris.instrument_imports(include=["workbench.data.sources", "workbench.data.pages"]):
    from test_hostile_bytes import check

    from workbench.data.pages.main_text import main_text

_SEEDS = {
    "csv": [b"text,label\none,good\n", b'"a ""quoted"" one",x\r\n', b"\xff\xfet\x00e\x00,\x00",
            b"a;b;c\n1;2\n", b"\xef\xbb\xbftext\n\x00\n"],
    "html": [b"<html><body><p>one two</p></body></html>", b"<!doctype html><meta charset=gbk><p>x",
             b"<script>if (a < b) {}</script><p class=c>t", b"<p>&amp;&#x110000;&nosuch;<![CDATA[",
             b"<table><tr><td>" * 4],
}  # fmt: skip


def _csv(content: bytes) -> None:
    how = content[0] if content else 0
    columns = ["text", "label"] if how & 2 else []
    check("csv", "a.csv", content[1:], quoted=bool(how & 1), columns=columns,
          max_record_megabytes=0.0001)  # fmt: skip


def _html(content: bytes) -> None:
    how = content[0] % (len(_SELECTORS) + 1) if content else 0
    if how == len(_SELECTORS):
        main_text(content[1:])
    else:
        check("html", "a.html", content[1:], record_selector=_SELECTORS[how])


_SELECTORS = ("", "p", "p.c", "*", ":not(p)")
_TARGETS: dict[str, Callable[[bytes], None]] = {"csv": _csv, "html": _html}


def main(arguments: list[str]) -> None:
    """Fuzz one kind until a time or number of runs is over, or something breaks."""
    kind, *options = arguments
    corpus = Path("build") / "fuzz" / kind
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(_SEEDS[kind]):
        (corpus / f"seed-{number}").write_bytes(b"\x00" + seed)
    atheris.Setup(["fuzz_readers", *options, str(corpus)], _TARGETS[kind])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
