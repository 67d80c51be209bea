"""Passages that other records hold, too, are taken out of a partition's texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from workbench.data.clean.ledger import CHANGED, ledger_rows
from workbench.data.clean.spec import CleanSpec
from workbench.data.duplicates.passages import PassageSetting, cut_passages, read_spans
from workbench.data.records import take_records
from workbench.data.rules.repeated_passage import PASSAGE_RULES
from workbench.data.rules.rule import Mask


def cut_repeated(
    texts: pa.Array,
    first_row: int,
    protected: Mask,
    folders: Sequence[Path],
    files: Sequence[Path],
    spec: CleanSpec,
) -> tuple[pa.Array, pa.Table]:
    """Return a partition's texts without passages of other records, and what the ledger says.

    Protected records lose nothing.
    """
    spans = read_spans(folders, first_row, first_row + len(texts))
    spans["row"] -= np.uint64(first_row)
    spans = spans[~protected[spans["row"]]]
    firsts = take_records(files, spans["first_row"].astype(np.int64), ["id"])["id"]
    entries = ledger_rows(
        spans["row"].astype(np.int64), CHANGED, PASSAGE_RULES[spec.repeated_passages],
        start=spans["start"].astype(np.int32), end=spans["end"].astype(np.int32),
        detail="also in", relative=firsts,
    )  # fmt: skip
    return cut_passages(texts, spans, _unit(spec)), entries


def passage_setting(spec: CleanSpec) -> PassageSetting:
    """Return which passages are looked for."""
    return PassageSetting(
        unit=_unit(spec),
        fewest_characters=spec.passage_min_characters,
        fewest_records=spec.passage_min_records,
        keep="first" if spec.passage_keep_first else "none",
    )


def _unit(spec: CleanSpec) -> Literal["line", "paragraph"]:
    return "line" if spec.repeated_passages == "lines" else "paragraph"
