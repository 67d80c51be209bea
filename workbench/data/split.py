"""Split: self-contained subsets, no record of one being a near copy of one in another part."""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import AfterValidator, Field

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, Spec, option, parse_reference
from workbench.data.dealing import deal_groups
from workbench.data.duplicates import near_duplicates
from workbench.data.order import hash_order
from workbench.data.records import check_sources, read_records, write_records
from workbench.data.rules.duplicate import JaccardThreshold
from workbench.data.tokens import as_texts

UNLABELLED = "unlabelled"
OTHER = "other"
UNKNOWN = "unknown"
FEWEST_ROWS = 20

Share = Annotated[float, Field(gt=0, le=1)]


def _whole(parts: dict[str, float]) -> dict[str, float]:
    if not math.isclose(sum(parts.values()), 1, abs_tol=1e-6):
        raise ValueError(f"the shares must sum to 1, they sum to {sum(parts.values()):.6g}")
    if UNLABELLED in parts:
        raise ValueError(f"{UNLABELLED!r} is the name of the part for records without a label")
    return parts


class SplitSpec(Spec):
    """Which data set to split, and into what."""

    dataset: DatasetRef = option(title="Data set", help="The data set to split.", group="Data")
    name: ArtifactName | None = option(
        None, title="Name", group="Result",
        help="First part of the names of the results (name-train); empty: the data set's name.",
    )  # fmt: skip
    parts: Annotated[dict[ArtifactName, Share], AfterValidator(_whole)] = option(
        {"train": 0.7, "validation": 0.1, "test": 0.2}, title="Parts", group="Parts",
        unit="share of records", min_length=1,
        help="Name and share of each part; the shares sum to 1.",
    )  # fmt: skip
    by: Literal["", "language", "source"] = option(
        "", title="Subset per", group="Parts",
        help="Make subsets of their own for each language or source, and split each into parts "
        f"(en-train, zh-train). Values with fewer than {FEWEST_ROWS} records go to 'other'.",
    )  # fmt: skip
    whole_sources: dict[str, ArtifactName] = option(
        {}, title="Sources kept whole", group="Parts",
        help="Sources that go to one part as they are, such as an official test set "
        "(source: part); the part may be a new one. Only the other records are dealt out.",
    )  # fmt: skip
    stratify: bool = option(
        True, title="Keep label shares", group="Parts",
        help="Give each part the same share of each label.",
    )  # fmt: skip
    unlabelled: Literal["keep", "drop", "own part"] = option(
        "keep", title="Unlabelled records", group="Parts",
        help="keep: split them like a label; drop: leave them out; own part: put them into a "
        "part called unlabelled.",
    )  # fmt: skip
    near_duplicate_jaccard: JaccardThreshold = option(
        0.7, title="Near-duplicate similarity", group="Leakage", unit="Jaccard similarity",
        ge=0, le=1,
        help="Records that share at least this much of their word sequences go to one part, so "
        "that no test record is a copy of a training record; 0: only records of the same words.",
    )  # fmt: skip
    shingle_words: int = option(
        3, title="Words per sequence", group="Leakage", unit="words", ge=2, le=10,
        help="Length of the compared word sequences.",
    )  # fmt: skip
    seed: int = option(
        0, title="Seed", group="Parts", ge=0,
        help="Another seed gives another split; the same seed always the same.",
    )  # fmt: skip


class SplitOutputs(Outputs):
    """One data set per part, or per value and part (en-train)."""

    subsets: dict[str, Draft]


@stage(title="Split", version=1)
def split(spec: SplitSpec, run: RunContext) -> SplitOutputs:
    """Split a data set into parts by the hash of record ids, near-duplicates together.

    Every record goes to exactly one subset. The result does not depend on the order of records
    or on partitions.
    """
    dataset = run.open(spec.dataset)
    records = read_records(dataset)
    check_sources(records, spec.whole_sources, "whole_sources")
    num_read = records.num_rows
    if spec.unlabelled == "drop":
        records = records.filter(records["label"].is_valid())
        run.log(f"left out {num_read - records.num_rows} unlabelled records")
    if not records.num_rows:
        raise DataError(f"{spec.dataset} holds no records to split", where=spec.dataset,
                        next_step="Keep unlabelled records, or clean less strictly.")  # fmt: skip
    parts, values = _assign(records, spec, run), _values(records, spec)
    names = np.array([f"{v}-{p}" if v else p for v, p in zip(values, parts, strict=True)], object)
    outputs = SplitOutputs(subsets={})
    stem = spec.name or parse_reference(spec.dataset).name
    for name in _names_in_order(parts, values, spec):
        subset = records.filter(pa.array(names == name))
        draft = outputs.subsets[name] = run.save("dataset", f"{stem}-{name}")
        write_records(draft, subset)
        draft.describe(labels=_count(subset["label"]))
    run.log("split", **{name: draft.summary["rows"] for name, draft in outputs.subsets.items()})
    run.count_rows(read=num_read, written=records.num_rows)
    return outputs


def _assign(records: pa.Table, spec: SplitSpec, run: RunContext) -> list[str]:
    """Return the part of each record: that of its whole source, or the one it is dealt to."""
    whole = [spec.whole_sources.get(source, "") for source in records["source"].to_pylist()]
    is_dealt = np.array([not part for part in whole])
    dealt = iter(_deal(records.filter(pa.array(is_dealt)), spec, run) if is_dealt.any() else [])
    return [part or next(dealt) for part in whole]


def _deal(records: pa.Table, spec: SplitSpec, run: RunContext) -> list[str]:
    """Return the part that each record is dealt to: groups of near-duplicates go whole."""

    def report(share: float) -> None:
        run.stop_if_asked()
        run.progress(share, 1, "share", "near-duplicates")

    found = near_duplicates(
        as_texts(records["text"]), spec.near_duplicate_jaccard or 1.0, spec.shingle_words, report
    )
    labels = records["label"].to_pylist()
    if not spec.stratify:
        labels = [None if label is None else "" for label in labels]
    dealt = deal_groups(
        found.keeper,
        hash_order(records["id"], spec.seed),
        subset=_codes(_values(records, spec)),
        stratum=_codes([UNLABELLED if label is None else f"={label}" for label in labels]),
        shares=np.array(list(spec.parts.values())),
    )
    names = list(spec.parts)
    own = spec.unlabelled == "own part"
    return [
        UNLABELLED if own and label is None else names[part]
        for label, part in zip(labels, dealt.tolist(), strict=True)
    ]


def _values(records: pa.Table, spec: SplitSpec) -> list[str]:
    """Return each record's value of ``by``, small ones as ``other``; empty without ``by``."""
    if not spec.by:
        return [""] * records.num_rows
    values = [value or UNKNOWN for value in records[spec.by].to_pylist()]
    counts = Counter(values)
    return [value if counts[value] >= FEWEST_ROWS else OTHER for value in values]


def _codes(values: list[str]) -> npt.NDArray[np.int64]:
    """Return each value's place among the sorted values."""
    codes: npt.NDArray[np.int64] = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return codes


def _names_in_order(parts: list[str], values: list[str], spec: SplitSpec) -> list[str]:
    """Return the names of all subsets that hold records: values sorted, parts as in the Spec.

    Raises:
        DataError: a part would hold no record at all.
    """
    present = set(zip(values, parts, strict=True))
    empty = [part for part in spec.parts if part not in set(parts)]
    if empty:
        raise DataError(
            f"Part {empty[0]!r} would be empty: {len(parts)} records are too few, or too alike",
            where=spec.dataset,
            next_step="Give the part a larger share, or raise the near-duplicate similarity.",
        )
    return [
        f"{value}-{part}" if value else part
        for value in sorted(set(values))
        for part in dict.fromkeys([*spec.parts, *spec.whole_sources.values(), UNLABELLED])
        if (value, part) in present
    ]


def _count(labels: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(labels.drop_null().to_pylist()).items()))
