"""The static record of a cleaning: what stays readable in a saved notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from widgets.record import frame, heading, rows_table, run_record, section, small
from widgets.visible_text import SIGN


def cleaning_record(content: Mapping[str, Any]) -> str:
    """Return a cleaning's snapshot as HTML: run, account, rules, examples."""
    cleaning = content["cleaning"] or content["so_far"]
    parts = [
        heading("Cleaning", _account(content)),
        section("Gone", ["What", "Artifact", "Why", "So"], _missing(content)),
        section(
            "Rules",
            ["Rule", "Keeps a row when", "Threshold", "Dropped", "Rows left", ""],
            [_rule(row) for row in cleaning["rules"] if not row["is_off_and_idle"]],
        ),
        rows_table(["Rule", "Before", "After"], [_example(e) for e in _examples(content)]),
        small(f'Live again: Workspace().run("{content["run"]["run_id"]}").view()'),
    ]
    return run_record(content["run"]) + frame(parts)


def _account(content: Mapping[str, Any]) -> str:
    if content["cleaning"]:
        return str(content["cleaning"]["sum"]["text"])
    found = content["so_far"]
    return f"so far {found['num_read']} records, {found['num_left']} of them left"


def _missing(content: Mapping[str, Any]) -> list[list[str]]:
    found = content["cleaning"]["missing"] if content["cleaning"] else []
    return [[m["name"], m["reference"], m["why"], m["loss"]] for m in found]


def _rule(row: Mapping[str, Any]) -> list[str]:
    values = ", ".join(side["raw"] or "off" for side in row["thresholds"])
    if row["languages"]:
        values = row["languages"]["raw"] or "all"
    return [row["title"], row["keeps"], values, row["dropped"], row["left"], row["note"]]


def _examples(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    cleaning = content["cleaning"]
    return list(cleaning["examples"]["report"] if cleaning else content["so_far"]["examples"])


def _example(example: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]], Any]:
    after = _plain(example["after"]) or example["note"]
    return example["rule"], _plain(example["before"]), after


def _plain(pieces: Any) -> list[tuple[str, str]]:
    """Return pieces without signs of their own: a static page has no style for them."""
    return [(kind.removesuffix(SIGN), text) for kind, text in pieces]
