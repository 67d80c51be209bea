"""A page of the ledger as plain values: why, and the texts that belong to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from widgets.cleaning_model import compared
from widgets.ledger_table import PAGE_ROWS, LedgerPage
from widgets.visible_text import visible, visible_text
from widgets.wording import count
from workbench.data.clean.ledger import DROPPED, reason_words

_PERSONAL_DATA = "personal_data"


def present_page(
    page: LedgerPage,
    texts: Mapping[str, Mapping[int, Any]],
    chosen: Collection[str],
    chosen_rules: Collection[str],
) -> dict[str, Any]:
    """Return a page with its place among all that was found.

    ``texts`` holds, by row of the input: ``before`` (id, source, text), ``after`` and ``keeper``.
    ``chosen`` are records that shall come back, ``chosen_rules`` rules whose records all do.
    """
    rows = [
        {
            **_present_entry(entry, texts),
            "is_chosen": entry["id"] in chosen,
            "comes_with_rule": entry["rule"] in chosen_rules,
        }
        for entry in page.entries
    ]
    last = page.first + len(rows)
    return {
        "rows": rows,
        "range": f"{count(page.first + 1)}–{count(last)} of {count(page.num_found)}"
        if rows
        else "no row",
        "page": page.first // PAGE_ROWS,
        "num_pages": -(-page.num_found // PAGE_ROWS),
        "page_rows": PAGE_ROWS,
    }


def _present_entry(
    entry: Mapping[str, Any], texts: Mapping[str, Mapping[int, Any]]
) -> dict[str, Any]:
    row = int(entry["row"])
    record = texts["before"].get(row)
    return {
        "key": f"{row}-{entry['rule']}-{entry['start']}",
        "id": entry["id"],
        "row": row,
        "rule": entry["rule"].replace("_", " "),
        "action": entry["action"],
        "why": _why(entry),
        "keeper": entry["keeper"] or "",
        "jaccard": "" if entry["jaccard"] is None else f"{entry['jaccard']:.2f}",
        "source": record["source"] if record else "",
        **_texts_of(entry, record, texts),
    }


def _why(entry: Mapping[str, Any]) -> str:
    if entry["jaccard"] is not None:
        return "" if entry["keeper"] == entry["relative"] else f"resembles {entry['relative']}"
    if entry["action"] == DROPPED:
        return reason_words(entry)
    return "" if entry["start"] is None else f"bytes {count(entry['start'])}–{count(entry['end'])}"


def _texts_of(
    entry: Mapping[str, Any],
    record: Mapping[str, str] | None,
    texts: Mapping[str, Mapping[int, Any]],
) -> dict[str, Any]:
    """Return what stands on the left and on the right, with what differs."""
    row = int(entry["row"])
    if record is None:
        return {"before": [], "after": [], "note": "the text as it came in is gone"}
    text = record["text"]
    if entry["keeper"] is not None:
        keeper = texts["keeper"].get(row)
        if keeper is None:
            return {"before": visible_text(text), "after": [], "note": "its text is gone"}
        return {**compared(text, keeper), "note": ""}
    if entry["action"] == DROPPED:
        return {"before": visible_text(text), "after": [], "note": ""}
    after = texts["after"].get(row)
    if after is None:
        return {"before": visible_text(text), "after": [], "note": "dropped later, by another rule"}
    if entry["rule"] == _PERSONAL_DATA:  # the text before is shown redacted, too
        return {"before": visible([("same", "personal data is not shown")]),
                "after": visible_text(after), "note": ""}  # fmt: skip
    return {**compared(text, after), "note": ""}


def filters_of(counts: Mapping[str, Mapping[str, int]], chosen: str) -> Sequence[dict[str, Any]]:
    """Return the rules that a ledger can be narrowed to, with how often each stands in it."""
    totals = {chosen: 0} if chosen else {}
    for by_rule in counts.values():
        for rule, number in by_rule.items():
            totals[rule] = totals.get(rule, 0) + number
    falling = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    every = [{"rule": "", "title": f"all rules · {count(sum(totals.values()))}"}]
    return every + [
        {"rule": rule, "title": f"{rule.replace('_', ' ')} · {count(number)}"}
        for rule, number in falling
    ]
