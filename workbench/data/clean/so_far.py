"""What a cleaning has done so far: told by its durable parts, before any result is there."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from workbench.data.clean.ledger import CHANGED, DROPPED, count_rules
from workbench.data.clean.partition import EXAMPLES_PER_RULE

_FILES = ("scores.parquet", "ledger.parquet", "examples.json")


@dataclass
class SoFar:
    """Counts of the partitions that the rules have been through; duplicates are found later."""

    num_parts: int = 0
    num_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, str]] = field(default_factory=list)

    @property
    def num_left(self) -> int:
        """How many records no rule has dropped."""
        return self.num_read - self.dropped.total()


class PartReader:
    """Reads each finished part of a cleaning once, as it appears under ``folder``.

    ``folder`` holds the run's checkpoints. A part has its name only once it is whole, and goes
    with the others when the run is over.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._so_far = SoFar()

    def read(self) -> SoFar:
        """Return the counts of all parts that are there, or were."""
        for part in sorted(self._folder.glob("rules-*")):
            key = part.name.partition(".")[0]  # the same part by any attempt
            if key not in self._seen and all((part / name).exists() for name in _FILES):
                self._read_part(part, key)
        return self._so_far

    def _read_part(self, part: Path, key: str) -> None:
        try:
            num_rows = pq.read_metadata(part / "scores.parquet").num_rows
            ledger = pq.read_table(part / "ledger.parquet", columns=["row", "action", "rule"])
            examples = json.loads((part / "examples.json").read_text())
        except FileNotFoundError:
            return  # the run has ended, and took its parts away
        self._seen.add(key)
        found = self._so_far
        found.num_parts += 1
        found.num_read += num_rows
        found.dropped += count_rules(ledger, DROPPED)
        found.changed += count_rules(ledger, CHANGED)
        have = Counter(example["rule"] for example in found.examples)
        for example in examples:
            if have[example["rule"]] < EXAMPLES_PER_RULE:
                have[example["rule"]] += 1
                found.examples.append(example)
