"""What accounting for every record costs a cleaning, and what it is good for.

One process cleans generated comments with the settings that clean has by default.

- ``cost``: the share of the processor time that goes into the ledger (its rows, spans, ids of
  keepers, reading, writing and counting), beside the budget of 5 %.
- ``bytes``: of ledger files a record of the input, beside the budget of 64; ``scores-bytes`` are
  those of the scores, which the ledger does not need but moving a threshold does.
- ``what-if`` and ``what-if-first``: the time on the clock until it is decided who would stay with
  another threshold, beside 200 ms. The first one reads the scores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._comments import write_comments
from benchmarks._figures import cpu_seconds, print_figure, wall_seconds
from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun
from workbench.data.clean import partition, stage
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.what_if import WhatIf
from workbench.data.records import RecordWriter

_BENCH = "ledger"
_COST_BUDGET, _BYTES_BUDGET, _MILLISECONDS_BUDGET = 0.05, 64, 200
_MOVES: list[dict[str, Any]] = [{"max_symbol_share": x / 100} for x in range(20, 60, 2)] + [
    {"min_words": x} for x in range(2, 22)
]


class Stopwatch:
    """Counts the processor time of calls; of calls within calls, that of the outermost."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    def watch(self, holder: Any, name: str, if_called: Callable[..., bool] | None = None) -> None:
        """Count every call of ``holder.name`` from now on, or those that ``if_called`` names."""
        function = getattr(holder, name)

        @wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            if self._depth or (if_called is not None and not if_called(*arguments)):
                return function(*arguments, **named)
            self._depth += 1
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.process_time() - start
                self._depth -= 1

        setattr(holder, name, watched)


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    num_records = 1_000_000
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        warm = write_comments(folder / "warm", 2_000, seed=1)
        _clean(folder / "warm-run", warm)  # models are loaded, kernels compiled
        comments = write_comments(folder, num_records)
        ledger_watch = _watch_the_ledger()
        made: dict[str, Artifact] = {}
        spent = cpu_seconds(lambda: made.update(_clean(folder / "run", comments)))
        share = ledger_watch.seconds / spent
        print_figure(_BENCH, "cost", share, _COST_BUDGET, "budget", "share of CPU")
        for figure, output in (("bytes", "ledger"), ("scores-bytes", "scores")):
            size = sum(path.stat().st_size for path in made[output].path.glob("*.parquet"))
            print_figure(_BENCH, figure, size / num_records, _BYTES_BUDGET, "budget", "B/record")
        _what_if(made["scores"], rounds=5 if full else 2)


def _clean(folder: Path, comments: Artifact) -> dict[str, Artifact]:
    return FolderRun(folder, {"comments@latest": comments}).run(CleanSpec(dataset="comments"))


def _watch_the_ledger() -> Stopwatch:
    watch = Stopwatch()
    for name in ("_changes", "_drops", "join_entries"):
        watch.watch(partition, name)
    for name in ("_ledger_of", "count_rules"):
        watch.watch(stage, name)
    watch.watch(stage, "write_partition", lambda path, _: path.name == "ledger.parquet")
    for name in ("write", "close"):
        watch.watch(RecordWriter, name, lambda writer, *_: _is_of_ledger(writer))
    return watch


def _is_of_ledger(writer: RecordWriter) -> bool:
    return "rule" in writer.schema.names


def _what_if(scores: Artifact, rounds: int) -> None:
    first, later = [], []
    for _ in range(rounds):
        what_if = WhatIf(scores)
        first.append(wall_seconds(partial(what_if.decide, max_symbol_share=0.4)))
        later += [wall_seconds(partial(what_if.decide, **move)) for move in _MOVES]
    for figure, seconds in (("what-if-first", first), ("what-if", later)):
        ours = median(seconds) * 1000
        print_figure(_BENCH, figure, ours, _MILLISECONDS_BUDGET, "budget", "ms")
