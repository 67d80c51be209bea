"""Reports of a split and of a sample: what each subset holds, beside the others or the whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from workbench.core.bars import as_percent, draw_bars
from workbench.core.page import Child, foreign_text, heading, table, write_page
from workbench.data.profile import COUNTED, LENGTHS, Profile

_MOST_SUBSETS = 50
_MOST_VALUES = 12
_NONE = {"labels": "no label", "languages": "not known", "sources": "no source"}


def write_split_report(
    folder: Path, subsets: Mapping[str, Profile], facts: Mapping[str, Any]
) -> None:
    """Write ``report.json`` and ``report.html`` of a split.

    ``facts`` are the numbers of records ``left_out``, ``related`` (that have a relative) and
    ``largest`` (of the largest group of relatives).
    """
    content = {**facts, "subsets": {name: one.model_dump() for name, one in subsets.items()}}
    _write(folder, "Split", content, _split_body(subsets, facts))


def write_sample_report(
    folder: Path, taken: Profile, whole: Profile, facts: Mapping[str, Any]
) -> None:
    """Write ``report.json`` and ``report.html`` of a sample; ``facts`` go into the former."""
    content = {**facts, "sample": taken.model_dump(), "dataset": whole.model_dump()}
    _write(folder, "Sample", content, _sample_body(taken, whole))


def _write(folder: Path, title: str, content: Mapping[str, Any], body: Sequence[Child]) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    write_page(folder / "report.html", title, body)


def _split_body(subsets: Mapping[str, Profile], facts: Mapping[str, Any]) -> list[Child]:
    num_rows = sum(one.rows for one in subsets.values())
    shown = dict(list(subsets.items())[:_MOST_SUBSETS])
    of_what = f"of {num_rows:,} records"
    if len(shown) < len(subsets):
        of_what += f"; the first {len(shown)} of {len(subsets):,} subsets"
    bars = [
        (name, one.rows / num_rows, 0.0, f"{one.rows:,}  ({as_percent(one.rows, num_rows)})")
        for name, one in shown.items()
    ]
    body: list[Child] = [
        heading("Split", f"{num_rows:,} records into {len(subsets):,} subsets, "
                f"{facts['left_out']:,} left out", level=1),
        heading("Records", of_what),
        draw_bars(bars),
        heading("Relatives", "near copies, and records of one group, share a subset"),
        table(["", "Records"], [
            ["with a relative", f"{facts['related']:,}"],
            ["in the largest group of relatives", f"{facts['largest']:,}"],
        ]),
    ]  # fmt: skip
    for counted in COUNTED:
        body += [heading(counted.capitalize(), "share of each subset"), _shares(shown, counted)]
    return [*body, heading("Lengths", "characters, share of each subset"), _lengths(shown)]


def _shares(subsets: Mapping[str, Profile], counted: str) -> Element:
    """Make a table of subsets by values: the most frequent values, then all others."""
    total: Counter[str] = Counter()
    for one in subsets.values():
        total.update(getattr(one, counted))
    names = _most_frequent(total)
    has_others = len(names) < len(total)
    rows: list[list[Child]] = []
    for subset, one in subsets.items():
        counts = getattr(one, counted)
        cells = [counts.get(name, 0) for name in names]
        cells += [one.rows - sum(cells)] if has_others else []
        rows.append([subset, *(as_percent(count, one.rows) for count in cells)])
    head = ["Subset", *(name or _NONE[counted] for name in names)]
    return table([*head, "others"] if has_others else head, rows)


def _lengths(subsets: Mapping[str, Profile]) -> Element:
    bars = _bars_of([one.lengths for one in subsets.values()])
    rows: list[list[Child]] = [
        [subset, *(as_percent(one.lengths[bar], one.rows) for bar, _ in bars)]
        for subset, one in subsets.items()
    ]
    return table(["Subset", *(words for _, words in bars)], rows)


def _sample_body(taken: Profile, whole: Profile) -> list[Child]:
    body: list[Child] = [
        heading("Sample", f"{taken.rows:,} of {whole.rows:,} records "
                f"({as_percent(taken.rows, whole.rows)})", level=1),
    ]  # fmt: skip
    for counted in COUNTED:
        body += [heading(counted.capitalize(), "share of the sample, and of the data set")]
        body += [_compare(taken, whole, counted)]
    bars = _bars_of([taken.lengths])
    most = max(taken.lengths) or 1
    drawn = [
        (words, taken.lengths[bar] / most, 0.0, f"{taken.lengths[bar]:,}") for bar, words in bars
    ]
    return [*body, heading("Lengths", f"characters of {taken.rows:,} records"), draw_bars(drawn)]


def _compare(taken: Profile, whole: Profile, counted: str) -> Element:
    counts, others = getattr(taken, counted), getattr(whole, counted)
    rows: list[list[Child]] = [
        [
            foreign_text(name or _NONE[counted]), f"{counts.get(name, 0):,}",
            as_percent(counts.get(name, 0), taken.rows), as_percent(others[name], whole.rows),
        ]
        for name in _most_frequent(Counter(others))
    ]  # fmt: skip
    return table(["", "Records", "Sample", "Data set"], rows)


def _most_frequent(counts: Counter[str]) -> list[str]:
    """Return the most frequent values, those of one frequency by name."""
    return sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_VALUES]


def _bars_of(lengths: Sequence[Sequence[int]]) -> list[tuple[int, str]]:
    """Return the bars that hold a text, each with its range in words."""
    last = len(LENGTHS) - 1
    return [
        (bar, f"{LENGTHS[bar]:,} to {LENGTHS[bar + 1] - 1:,}" if bar < last
         else f"{LENGTHS[bar]:,} and more")
        for bar in range(len(LENGTHS))
        if any(one[bar] for one in lengths)
    ]  # fmt: skip
