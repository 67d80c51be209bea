"""The report of a transform run: what stands in the shards, and how long records are in tokens."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.artifact import Draft
from workbench.core.bars import as_percent, draw_bars
from workbench.core.page import Child, heading, table, write_page
from workbench.data.transform.shards import INPUT_IDS, NUM_TOKENS, Shards, open_shards

_FIRST = (0, 1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384)  # of each bar
_MOST_SHARDS = 50


def write_transform_report(draft: Draft) -> None:
    """Write ``report.html`` beside the shards of a draft whose manifest is written."""
    shards = open_shards(draft.path)
    counts = _count_tokens(shards)
    write_page(draft.path / "report.html", "Transform", _body(shards, counts))


def _count_tokens(shards: Shards) -> npt.NDArray[np.int64]:
    """Return how many tokens each record has; empty where there are none."""
    if shards.facts["layout"] == "packed":
        return np.asarray(shards.records[NUM_TOKENS].to_numpy(), np.int64)
    if INPUT_IDS not in _columns(shards):
        return np.empty(0, np.int64)
    files = [shards.folder / shard["file"] for shard in shards.facts["shards"]]
    return np.concatenate([_lengths_in(path) for path in files])


def _lengths_in(shard: Path) -> npt.NDArray[np.int64]:
    """Return how many tokens each row of one shard has, of which no other column is read."""
    if shard.suffix == ".parquet":
        column = pq.read_table(shard, columns=[INPUT_IDS])[INPUT_IDS]
    else:
        column = pa.ipc.open_file(pa.memory_map(str(shard))).read_all()[INPUT_IDS]
    lengths: npt.NDArray[np.int64] = pc.list_value_length(column).to_numpy().astype(np.int64)
    return lengths


def _columns(shards: Shards) -> list[str]:
    first = shards.folder / shards.facts["shards"][0]["file"]
    if first.suffix == ".parquet":
        return list(pq.read_schema(first).names)
    return list(pa.ipc.open_file(pa.memory_map(str(first))).schema.names)


def _body(shards: Shards, counts: npt.NDArray[np.int64]) -> list[Child]:
    what = "sequences" if shards.facts["layout"] == "packed" else "records"
    files = shards.facts["shards"]
    body: list[Child] = [
        heading("Transform", f"{len(shards):,} {what} in {len(files):,} shards", level=1)
    ]
    if len(counts):
        body += [heading("Tokens", f"of {len(counts):,} records"), _tokens(shards, counts)]
        body += [heading("Lengths", "tokens of each record"), _lengths(counts)]
    shown = files[:_MOST_SHARDS]
    of_what = what if len(shown) == len(files) else f"{what}; the first {len(shown)}"
    columns: list[list[Child]] = [[name] for name in _columns(shards)]
    body += [heading("Columns", "of each row"), table(["Column"], columns)]
    rows: list[list[Child]] = [[one["file"], f"{one['rows']:,}"] for one in shown]
    return [*body, heading("Shards", of_what), table(["File", "Rows"], rows)]


def _tokens(shards: Shards, counts: npt.NDArray[np.int64]) -> Element:
    rows: list[list[Child]] = [
        ["all", f"{counts.sum():,}"],
        ["in the middle record", f"{int(np.median(counts)):,}"],
        ["in the longest record", f"{counts.max():,}"],
    ]
    if shards.facts["layout"] == "packed":
        width, held = shards.facts["sequence_tokens"], shards.facts["num_tokens"]
        room = len(shards) * width
        padding = f"{room - held:,} ({as_percent(room - held, room)})"
        rows += [["in a sequence", f"{width:,}"], ["padding", padding]]
    else:
        most = shards.facts["max_tokens"]
        num_full = int((counts >= most).sum())
        full = f"{num_full:,} ({as_percent(num_full, len(counts))})"
        rows += [["at most kept of a record", f"{most:,}"], ["records as long as that", full]]
    return table(["", "Tokens"], rows)


def _lengths(counts: npt.NDArray[np.int64]) -> Element:
    bars = np.bincount(np.searchsorted(_FIRST, counts, side="right") - 1, minlength=len(_FIRST))
    most = int(bars.max())
    names = [f"{a:,}" if b == a + 1 else f"{a:,} to {b - 1:,}" for a, b in pairwise(_FIRST)]
    named = zip([*names, f"{_FIRST[-1]:,} and more"], bars.tolist(), strict=True)
    return draw_bars([(name, n / most, 0.0, f"{n:,}") for name, n in named if n])
