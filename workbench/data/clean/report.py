"""The report of a cleaning: how many went for what, where from, and what changed in texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from workbench.core.artifact import Draft
from workbench.core.bars import as_percent, draw_bars
from workbench.core.page import Child, foreign_text, heading, table, write_page
from workbench.data.clean.ledger import by_falling_count
from workbench.data.clean.spec import CleanSpec

if TYPE_CHECKING:
    from workbench.data.clean.stage import Account

_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)  # first words of each bar
_MOST_LANGUAGES = 12


def write_report(draft: Draft, account: Account, spec: CleanSpec) -> None:
    """Write ``report.json`` and ``report.html`` into a draft."""
    content = {
        "rows_in": account.num_read,
        "rows_out": account.num_kept,
        "dropped": by_falling_count(account.dropped),
        "changed": by_falling_count(account.changed),
        "languages": by_falling_count(account.languages),
        "sources": dict(sorted(account.sources.items())),
        "lengths": _histogram(account.lengths),
        "examples": account.examples,
        "spec": spec.model_dump(mode="json"),
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (draft.path / "report.json").write_text(text, encoding="utf-8")
    write_page(draft.path / "report.html", "Cleaning", _body(content))
    draft.describe(rows_in=account.num_read, rows_out=account.num_kept)


def _histogram(lengths: Counter[int]) -> list[list[int]]:
    """Return ``[first, last, texts]`` for each bar; the last one has no end (-1)."""
    bars = []
    for first, following in zip(_LENGTHS, (*_LENGTHS[1:], None), strict=True):
        count = sum(
            found
            for words, found in lengths.items()
            if words >= first and (following is None or words < following)
        )
        bars.append([first, -1 if following is None else following - 1, count])
    while len(bars) > 1 and not bars[-1][2]:
        bars.pop()
    return bars


def _body(content: Mapping[str, Any]) -> list[Child]:
    read, kept = content["rows_in"], content["rows_out"]
    of_all = f"of {read:,} records"
    body: list[Child] = [
        heading("Cleaning", f"{read:,} records in, {kept:,} out", level=1),
        heading("Kept and dropped", f"{of_all}; each drop stands in the ledger with its reason"),
        _waterfall(read, content["dropped"], kept),
    ]
    if content["changed"]:
        rows: list[list[Child]] = [
            [_words(rule), f"{count:,}", as_percent(count, read)]
            for rule, count in content["changed"].items()
        ]
        body += [heading("Repaired", of_all), table(["Rule", "Records", "Share"], rows)]
    body += [heading("Sources", "records in → kept"), _sources(content["sources"])]
    body += [heading("Languages", f"of {kept:,} kept records"), _languages(content, kept)]
    body += [heading("Lengths", f"words of {kept:,} kept records"), _lengths(content["lengths"])]
    if content["examples"]:
        examples: list[list[Child]] = [
            [_words(e["rule"]), foreign_text(e["before"]), foreign_text(e["after"])]
            for e in content["examples"]
        ]
        body += [heading("Rows, before → after", "the first few of each rule")]
        body += [table(["Rule", "Before", "After"], examples, numeric=lambda _: False)]
    return body


def _waterfall(read: int, dropped: Mapping[str, int], kept: int) -> Element:
    """Draw what is left after each rule: grey before, blue what stays."""
    steps = [("records in", read, 0)]
    left = read
    for rule, count in dropped.items():
        left -= count
        steps.append((_words(rule), left, count))
    steps.append(("kept", kept, 0))
    return draw_bars([
        (name, whole / max(read, 1), lost / max(read, 1),
         f"−{lost:,}  ({as_percent(lost, read)})" if lost else f"{whole:,}")
        for name, whole, lost in steps
    ])  # fmt: skip


def _sources(sources: Mapping[str, Sequence[int]]) -> Element:
    rows: list[list[Child]] = [
        [foreign_text(name), f"{read:,}", f"{kept:,}", as_percent(kept, read)]
        for name, (read, kept) in sources.items()
    ]
    return table(["Source", "In", "Kept", "Share"], rows)


def _languages(content: Mapping[str, Any], kept: int) -> Element:
    counts = list(content["languages"].items())
    rest = sum(count for _, count in counts[_MOST_LANGUAGES:])
    shown = [*counts[:_MOST_LANGUAGES], *([("others", rest)] if rest else [])]
    return draw_bars([(name, n / max(kept, 1), 0.0, f"{n:,}") for name, n in shown])


def _lengths(bars: Sequence[Sequence[int]]) -> Element:
    most = max((count for *_, count in bars), default=0) or 1
    return draw_bars([
        (f"{first:,}" if first == last else f"{first:,} to {last:,}" if last >= 0
         else f"{first:,} and more", count / most, 0.0, f"{count:,}")
        for first, last, count in bars
    ])  # fmt: skip


def _words(rule: str) -> str:
    return rule.replace("_", " ")
