"""The report of an acceptance as files: ``acceptance.json`` for programs, ``.html`` for people.

Both depend on Spec and inputs alone. What a clock said (p50, p95) stands in the artifact's summary
under ``timing``, so that trying the same model again gives the same artifact.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from workbench.core.page import Child, element, heading, table, write_page
from workbench.serve.acceptance import Acceptance, Check


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
    _write_page(folder / "acceptance.html", facts, acceptance)


def _plain(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": check.passed,
        "demanded": check.demanded,
        "found": check.found,
    }


def _write_page(path: Path, facts: dict[str, Any], acceptance: Acceptance) -> None:
    about = " · ".join(f"{key} {value}" for key, value in facts.items() if key != "name")
    rows: list[list[Child]] = [
        [_state(check), check.name, check.demanded, check.found] for check in acceptance.checks
    ]
    verdict = f"{acceptance.requests} requests, {acceptance.errors} not answered as they should be"
    title = f"Acceptance of {facts['name']}"
    body: list[Child] = [
        heading(title, about, level=1),
        element("p", verdict, class_="verdict"),
        table(["Result", "Check", "Demanded", "Found"], rows, numeric=lambda _column: False),
        element("footer", "Measured times are in the artifact's summary."),
    ]
    write_page(path, title, body)


def _state(check: Check) -> Element:
    if check.passed:
        return element("span", "✓ passed", class_="ok")
    return element("span", "✗ failed", class_="fail")
