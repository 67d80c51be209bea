"""Quality filters: Gopher repetition, Gopher quality and C4, against datatrove on one core.

The same English documents go through both. Ours measures every score of every document, makes the
C4 texts of all, and decides; datatrove stops at the first reason. Compiling is left out, as it is
done once a machine: its seconds are told on stderr.

- ``datatrove``: as shipped, with spaCy's word and sentence tokenizer.
- ``datatrove-regex``: with one regular expression in its place; so its decisions are others.
- ``agreement``, ``drop-f1``: how far our decisions are those of datatrove as shipped, for each
  family (on the whole corpus) and for the chain; drop-f1 takes what datatrove drops as the truth.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks._figures import cpu_seconds, print_figure
from benchmarks._local_texts import local_texts
from benchmarks._peers import run_peer
from workbench.data.rules.c4 import C4_BOUNDS, C4Setting, c4_lines
from workbench.data.rules.fineweb import FINEWEB_BOUNDS, FineWebSetting, measure_fineweb
from workbench.data.rules.gopher import (
    GOPHER_QUALITY_BOUNDS,
    GOPHER_REPETITION_BOUNDS,
    GopherSetting,
    measure_gopher,
)
from workbench.data.rules.rule import Bound

_MEGABYTES, _FULL_MEGABYTES = 3, 12
_ROUNDS, _FULL_ROUNDS = 2, 5
_OUR_REPEATS = 5  # a call is short beside the peer's

Mask = npt.NDArray[np.bool_]


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    texts = local_texts((_FULL_MEGABYTES if full else _MEGABYTES) * 1_000_000)
    column = pa.array(texts, pa.large_string())
    _tell_cold_start()
    chain_drops(column)  # compiled, or loaded from the cache
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.jsonl"
        corpus.write_text("".join(json.dumps(text) + "\n" for text in texts))
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        for peer, arguments in (("datatrove", []), ("datatrove-regex", ["regex"])):
            _speed(peer, corpus, arguments, column, megabytes, _FULL_ROUNDS if full else _ROUNDS)
            if peer == "datatrove":
                _agreement(column, json.loads((Path(folder) / "reasons.json").read_text()))


def _speed(
    peer: str, corpus: Path, arguments: list[str], column: pa.Array, megabytes: float, rounds: int
) -> None:
    ours, theirs = [], []
    for _ in range(rounds):  # interleaved: whatever else the machine does hits both
        ours.append(cpu_seconds(lambda: [chain_drops(column) for _ in range(_OUR_REPEATS)]))
        answer = run_peer(
            "datatrove", "datatrove_filters.py", str(corpus), str(corpus.parent / "reasons.json"),
            *arguments,
        )  # fmt: skip
        theirs.append(answer["seconds"]["chain"])
    speed = megabytes * _OUR_REPEATS / median(ours)
    print_figure("filters", peer, speed, megabytes / median(theirs), peer, "MB/s",
                 more_is_better=True)  # fmt: skip


def chain_drops(column: pa.Array) -> Mask:
    """Return what Gopher repetition, Gopher quality and C4 drop, with our rules."""
    drops = _gopher_drops(column)
    return drops["gopher_repetition"] | drops["gopher_quality"] | _c4_drops(column)


def _gopher_drops(column: pa.Array) -> dict[str, Mask]:
    setting = GopherSetting(gopher_repetition=True, gopher_quality=True)
    scores = measure_gopher(column, "en")
    return {
        "gopher_repetition": _fails(GOPHER_REPETITION_BOUNDS, scores, setting),
        "gopher_quality": _fails(GOPHER_QUALITY_BOUNDS, scores, setting),
    }


def _c4_drops(column: pa.Array) -> Mask:
    setting = C4Setting(c4=True)
    return _fails(C4_BOUNDS, c4_lines(column, setting).scores, setting)


def _fineweb_drops(column: pa.Array) -> Mask:
    setting = FineWebSetting(fineweb=True)
    return _fails(FINEWEB_BOUNDS, measure_fineweb(column, setting), setting)


def _fails(bounds: tuple[Bound, ...], scores: dict[str, Any], setting: Any) -> Mask:
    return np.logical_or.reduce([bound.fails(scores[bound.score], setting) for bound in bounds])


def _agreement(column: pa.Array, reasons: dict[str, list[str | None]]) -> None:
    ours = {
        **_gopher_drops(column),
        "c4": _c4_drops(column),
        "fineweb": _fineweb_drops(column),
        "chain": chain_drops(column),
    }
    for family, drops in ours.items():
        theirs = np.array([reason is not None for reason in reasons[family]])
        name = "" if family == "chain" else f"-{family.replace('_', '-')}"
        both = int((drops & theirs).sum())
        _print_share(f"agreement{name}", float((drops == theirs).mean()))
        _print_share(f"drop-f1{name}", 2 * both / int(drops.sum() + theirs.sum()))
        print(f"{family}: of {len(drops)} documents datatrove drops {theirs.sum()}, ours "
              f"{drops.sum()}, both {both}", file=sys.stderr)  # fmt: skip


def _print_share(figure: str, share: float) -> None:
    print_figure("filters", figure, share, 1.0, "datatrove", "share", more_is_better=True)


def _tell_cold_start() -> None:
    """Say how long a machine's first use takes, in a process of its own with an empty cache."""
    code = (
        "import pyarrow as pa\n"
        "from workbench.data.rules.measure import measure\n"
        "from workbench.data.rules.c4 import C4Setting, c4_lines\n"
        "texts = pa.array(['One text.'], pa.large_string())\n"
        "measure(texts, frozenset({'gopher_repetition', 'gopher_quality', 'fineweb'}), 'en')\n"
        "c4_lines(texts, C4Setting())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        for state in ("nothing kept", "kept"):
            run = lambda: subprocess.run(  # noqa: E731
                [sys.executable, "-c", code], check=True, env=environment
            )
            print(f"first use, {state}: {cpu_seconds(run):.1f} CPU s", file=sys.stderr)
