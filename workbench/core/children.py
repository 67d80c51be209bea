"""Child runs of a coordinator: submitted under its own id, waited for without a slot."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from workbench.core.artifact import Artifact
from workbench.core.context import RunContext
from workbench.core.errors import RunCancelled, error_from_json
from workbench.core.registry import stage_of
from workbench.core.spec import Spec
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish

_POLL_SECONDS = 1.0
_OVER = ("succeeded", "failed", "cancelled")

Done = tuple[dict[str, Any], dict[str, Artifact]]  # a child's record, and what it has made


def do_child(run: RunContext, spec: Spec, workers: WorkersWish = DEFAULT_WORKERS) -> Done:
    """Run a Spec as a child and return its record and artifacts by output name.

    A coordinator that was killed and started again joins the child that it had.

    Raises:
        WorkbenchError: what ended the child.
        RunPaused, RunCancelled: this run was asked to stop (its children are, too).
    """
    return do_children(run, [spec], workers)[0]


def do_children(
    run: RunContext, specs: Sequence[Spec], workers: WorkersWish = DEFAULT_WORKERS
) -> list[Done]:
    """Run Specs as children, as many at a time as the pool has room for; see ``do_child``."""
    records = [_submit(run, spec, workers) for spec in specs]
    for number, record in enumerate(records):
        while record["state"] not in _OVER:
            run.stop_if_asked()
            record = run.client.get(f"/runs/{record['run_id']}", wait=_POLL_SECONDS)
        if record["state"] == "failed":
            raise error_from_json(record["error"])
        if record["state"] == "cancelled":
            raise RunCancelled(f"child run {record['run_id']} was cancelled")
        records[number] = record
    return [
        (record, {name: run.open(reference) for name, reference in record["outputs"].items()})
        for record in records
    ]


def _submit(run: RunContext, spec: Spec, workers: WorkersWish) -> dict[str, Any]:
    request = {
        "run_id": f"r-{secrets.token_hex(5)}",
        "stage": stage_of(spec).name,
        "spec": spec.model_dump(mode="json"),
        "workers": workers,
        "parent_run_id": run.run_id,
    }
    record: dict[str, Any] = run.client.post("/runs", request)
    return record
