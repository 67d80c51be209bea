"""What a cleaning left: each artifact opened by itself, and what is gone told plainly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from widgets.ledger_table import LedgerTable
from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, WorkbenchError
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.what_if import WhatIf
from workbench.data.records import partitions

if TYPE_CHECKING:
    from workbench.runs import Run
    from workbench.workspace import Workspace

Opened = TypeVar("Opened")

_LOSS = {
    "original": "No text as it came in can be shown, and nothing can be undone.",
    "dataset": "No repaired text can be shown, and nothing can be undone.",
    "ledger": "No single drop can be shown or undone.",
    "scores": "No threshold can be moved.",
    "report": "Languages, lengths, sources and examples cannot be shown.",
}


@dataclass
class CleaningOutputs:
    """The opened artifacts of a finished cleaning; None where one is gone."""

    spec: CleanSpec
    original: Artifact | None = None
    dataset: Artifact | None = None
    ledger: LedgerTable | None = None
    ledger_reference: str = ""
    what_if: WhatIf | None = None
    scores: Artifact | None = None
    report: Mapping[str, Any] | None = None
    missing: list[dict[str, str]] = field(default_factory=list)


def open_outputs(run: Run) -> CleaningOutputs:
    """Open what a succeeded cleaning read and made.

    Raises:
        DataError: the run is no cleaning.
    """
    record = run.record()
    if record["stage"] != "clean":
        raise DataError(f"Run {run.run_id} is {record['stage']}, not a cleaning", where=run.run_id,
                        next_step="Name a run of clean.")  # fmt: skip
    found = CleaningOutputs(CleanSpec.parse(record["spec"]))
    opener = _Opener(run.workspace, found.missing)
    kinds = record["output_kinds"]

    def of_output(name: str, use: Callable[[Artifact], Opened]) -> Opened | None:
        reference = record["outputs"].get(name, "")
        return opener.open(name, reference, kinds.get(name, "dataset"), use)

    found.original = opener.open("original", found.spec.dataset, "dataset", _with_partitions)
    found.dataset = of_output("dataset", _with_partitions)
    found.ledger = of_output("ledger", LedgerTable)
    found.ledger_reference = record["outputs"].get("ledger", "")
    found.scores = of_output("scores", _with_partitions)
    found.what_if = of_output("scores", _decided) if found.scores else None
    found.report = of_output("report", read_report)
    return found


class _Opener:
    """Opens artifacts; notes those that cannot be."""

    def __init__(self, workspace: Workspace, missing: list[dict[str, str]]) -> None:
        self._workspace = workspace
        self._missing = missing

    def open(
        self, name: str, reference: str, kind: str, use: Callable[[Artifact], Opened]
    ) -> Opened | None:
        try:
            return use(self._workspace.artifact(reference, kind))
        except (WorkbenchError, OSError, ValueError, KeyError, pa.ArrowException) as error:
            why = error.what if isinstance(error, WorkbenchError) else str(error)
            self._missing.append({
                "name": name, "reference": reference or "none", "why": why.splitlines()[0][:200],
                "loss": _LOSS[name],
            })  # fmt: skip
            return None


def _with_partitions(artifact: Artifact) -> Artifact:
    partitions(artifact)  # raises where its files are gone
    return artifact


def _decided(artifact: Artifact) -> WhatIf:
    found = WhatIf(artifact)
    found.decide()  # reads what every decision needs, once
    return found


def read_report(artifact: Artifact) -> dict[str, Any]:
    """Return the report of a cleaning as plain values.

    Raises:
        ValueError: it is no report of a cleaning.
    """
    content = json.loads((artifact.path / "report.json").read_text(encoding="utf-8"))
    absent = {"rows_in", "rows_out", "dropped", "changed", "examples"} - content.keys()
    if absent:
        raise ValueError(f"report.json lacks {', '.join(sorted(absent))}")
    return dict(content)
