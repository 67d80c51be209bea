"""A source of a notebook cell is read by the pool's workers and stands in the catalog's lineage."""

from __future__ import annotations

import os
from collections.abc import Iterator

from live_workspace import LiveWorkspace

import workbench
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records

GREETING = "good morning"


@workbench.source
def greetings(times: int = 3) -> Iterator[dict[str, object]]:
    for number in range(times):
        yield {"text": f"{GREETING} {number}", "pid": os.getpid()}


def test_workers_read_a_source_that_a_cell_defines(workspace: LiveWorkspace) -> None:
    sources = [greetings, greetings.set(times=1).named("once")]
    run = workspace.submit(IntegrateSpec(name="greetings", sources=sources)).wait(60)
    rows = read_records(run.outputs().dataset).to_pylist()
    assert [(row["source"], row["text"]) for row in rows] == [
        *(("greetings", f"good morning {n}") for n in range(3)), ("once", "good morning 0"),
    ]  # fmt: skip
    assert f'"pid": {os.getpid()}' not in "".join(row["extra"] for row in rows)
    assert "GREETING = 'good morning'" in run.record()["spec"]["sources"][0]["code"]
