"""The report of an acceptance as files: ``acceptance.json`` for programs, ``.html`` for people.

Both depend on Spec and inputs alone. What a clock said (p50, p95) stands in the artifact's summary
under ``timing``, so that trying the same model again gives the same artifact.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from workbench.serve.acceptance import Acceptance, Check

# Literal colours and inline styles: a notebook drops style sheets and variables of what it shows.
_CELL = "padding:4px 12px 4px 0;border-top:1px solid #dedede;text-align:left;font-weight:400"
_HEAD = "padding:4px 12px 4px 0;text-align:left;font-size:11px;font-weight:500;color:#616161"


def write_report(folder: Path, facts: dict[str, Any], acceptance: Acceptance) -> None:
    """Write both files; ``facts`` (name, model, test) head them."""
    record = {
        **facts,
        "checks": [_plain(check) for check in acceptance.checks],
        "figures": acceptance.figures,
        "requests": acceptance.requests,
        "errors": acceptance.errors,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    (folder / "acceptance.json").write_text(text, encoding="utf-8")
    (folder / "acceptance.html").write_text(_page(facts, acceptance), encoding="utf-8")


def _plain(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": check.passed,
        "demanded": check.demanded,
        "found": check.found,
    }


def _page(facts: dict[str, Any], acceptance: Acceptance) -> str:
    rows = "\n".join(_row(check) for check in acceptance.checks)
    heads = "".join(
        f'<th scope="col" style="{_HEAD}">{head}</th>'
        for head in ("Result", "Check", "Demanded", "Found")
    )
    about = " · ".join(f"{key} {value}" for key, value in facts.items() if key != "name")
    title = html.escape(f"Acceptance of {facts['name']}")
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body style="font:13px/1.5 system-ui,sans-serif;color:#1f1f1f;background:#fff;margin:24px">
<h1 style="font-size:20px;font-weight:600;margin:0">{title}</h1>
<p style="color:#616161;margin:0 0 16px">{html.escape(about)}</p>
<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p style="color:#616161">{acceptance.requests} requests, {acceptance.errors} of them not answered
as they should be. Measured times are in the artifact's summary.</p>
</body>
</html>
"""


def _row(check: Check) -> str:
    state = (
        '<span style="color:#0a7a66">✓ passed</span>'
        if check.passed
        else '<span style="color:#bf2f1f">✗ failed</span>'
    )
    cells = "".join(
        f'<td style="{_CELL}">{html.escape(text)}</td>'
        for text in (check.name, check.demanded, check.found)
    )
    return f'<tr><td style="{_CELL}">{state}</td>{cells}</tr>'
