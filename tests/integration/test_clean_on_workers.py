"""A cleaning that several workers share writes the bytes of one that a single worker makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_workspace import LiveWorkspace

from workbench.data.clean.spec import CleanSpec
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import PARTITION_ROWS, partitions
from workbench.data.sources.lines import LinesSource

WORDS = ["river", "bridge", "ferry", "apple", "island", "menu", "notice", "flood", "town"]
COUNT = PARTITION_ROWS + 500


@pytest.mark.slow
def test_two_workers_clean_to_the_bytes_of_one(workspace: LiveWorkspace, tmp_path: Path) -> None:
    lines = [
        f"{WORDS[n % 9]} {WORDS[n // 9 % 9]} {WORDS[n // 81 % 9]} number{n} on the list"
        for n in [row % 90_000 for row in range(COUNT)]
    ]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "exam.txt").write_text(f"{lines[7]}\n")
    source = LinesSource(name="lines", path=str(tmp_path / "lines.txt"))
    read = workspace.do(IntegrateSpec(name="lines", sources=[source])).dataset
    assert len(partitions(read)) == 2
    versions = []
    for workers in (1, 2):
        spec = CleanSpec(
            dataset="lines@latest", name=f"lines-{workers}", repeated_passages="lines",
            passage_min_characters=24, test_files=[str(tmp_path / "exam.txt")],
        )  # fmt: skip
        run = workspace.submit(spec, workers=workers).wait(300)
        made = run.outputs()
        versions.append([made.dataset.version, made.ledger.version, made.scores.version])
        assert made.dataset.summary["rows"] + sum(made.dataset.summary["dropped"].values()) == COUNT
        assert made.dataset.summary["dropped"].keys() >= {"contamination", "empty"}
    assert versions[0] == versions[1]
