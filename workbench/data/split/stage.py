"""Split: self-contained subsets, no record of one being a near copy of one in another part."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field, model_validator

from workbench.core.artifact import Artifact, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, Spec, option, parse_reference
from workbench.data.order import hash_order
from workbench.data.record_field import FIELD_HELP, FieldName, encode, read_field
from workbench.data.records import check_sources, read_records
from workbench.data.rules.duplicate import JaccardThreshold
from workbench.data.split.parts import (
    REPEATS,
    RESERVED,
    UNDATED_PART,
    UNLABELLED,
    Candidates,
    among,
    choose_parts,
    with_groups,
)
from workbench.data.split.record_time import UNDATED, parse_times
from workbench.data.split.relatives import find_relatives
from workbench.data.subset_report import write_split_report
from workbench.data.subsets import LEFT_OUT, save_codes, write_subsets

OTHER = "other"
UNKNOWN = "unknown"
FEWEST_ROWS = 20
MOST_SHARDS = 10_000
_DECIDED = "decided.json"
_REPORT = "report"

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Share = Annotated[float, Field(gt=0, le=1)]
_PARTS = {"train": 0.7, "validation": 0.1, "test": 0.2}
_TAKEN = {
    UNLABELLED: "records without a label",
    REPEATS: "records that repeat what they may not stand beside",
    UNDATED_PART: "records without a time",
    _REPORT: "the report",
}


def _whole(parts: dict[str, float]) -> dict[str, float]:
    if not math.isclose(sum(parts.values()), 1, abs_tol=1e-6):
        raise ValueError(f"the shares must sum to 1, they sum to {sum(parts.values()):.6g}")
    for name, what in _TAKEN.items():
        if name in parts:
            raise ValueError(f"{name!r} is the name for {what}")
    return parts


class SplitSpec(Spec):
    """Which data set to split, and into what."""

    dataset: DatasetRef = option(title="Data set", help="The data set to split.", group="Data")
    name: ArtifactName | None = option(
        None, title="Name", group="Result",
        help="First part of the names of the results (name-train); empty: the data set's name.",
    )  # fmt: skip
    parts: Annotated[dict[ArtifactName, Share], AfterValidator(_whole)] = option(
        _PARTS, title="Parts", group="Parts", unit="share of records", min_length=1,
        help="Name and share of each part; the shares sum to 1.",
    )  # fmt: skip
    shards: int = option(
        0, title="Numbered subsets", group="Parts", unit="subsets", ge=0, le=MOST_SHARDS,
        help="Make so many equal subsets instead (shard-000, shard-001 ...), each readable alone, "
        "for example to train a model on each; 0: the parts above.",
    )  # fmt: skip
    time: FieldName = option(
        "", title="Split by time", group="Parts",
        help=f"Give the earliest records to the first part and the latest to the last, by the "
        f"time in {FIELD_HELP}. Later records that repeat an earlier part go to a part called "
        f"{REPEATS}, those without a time to {UNDATED_PART}. Label shares are then not kept.",
    )  # fmt: skip
    by: Literal["", "language", "source"] = option(
        "", title="Subset per", group="Parts",
        help="Make subsets of their own for each language or source, and split each into parts "
        f"(en-train, zh-train). Values with fewer than {FEWEST_ROWS} records go to 'other'.",
    )  # fmt: skip
    whole_sources: dict[str, ArtifactName] = option(
        {}, title="Sources kept whole", group="Parts",
        help="Sources that go to one part as they are, such as an official test set "
        "(source: part); the part may be a new one. Only the other records are dealt out, and "
        f"near copies of these sources are kept out of other parts (see {REPEATS}).",
    )  # fmt: skip
    stratify: bool = option(
        True, title="Keep label shares", group="Parts",
        help="Give each part the same share of each label.",
    )  # fmt: skip
    group: FieldName = option(
        "", title="Keep together", group="Leakage",
        help=f"Records of one value always share a part, such as those of one user or site: "
        f"{FIELD_HELP}.",
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

    @model_validator(mode="after")
    def _parts_or_shards(self) -> Self:
        if self.shards and self.parts != _PARTS:
            raise ValueError("give parts or shards, not both")
        return self

    def shares(self) -> dict[str, float]:
        """Return the share of each part that is dealt out, by name."""
        if not self.shards:
            return dict(self.parts)
        return {f"shard-{number:03d}": 1 / self.shards for number in range(self.shards)}


class SplitOutputs(Outputs):
    """One data set per part, or per value and part (en-train), and a report of what they hold."""

    subsets: dict[str, Draft]
    report: Draft


@stage(title="Split", version=2)
def split(spec: SplitSpec, run: RunContext) -> SplitOutputs:
    """Split a data set into parts by the hash of record ids or by time, relatives together.

    Every record goes to exactly one subset. The result does not depend on the order of records
    or on partitions. Only what decides is read for all records at once; the records themselves go
    through partition by partition.
    """
    dataset = run.open(spec.dataset)
    known = read_records(dataset, ["id", "label", "source", "language"])
    check_sources(known, spec.whole_sources, "whole_sources")
    is_kept = _kept(known, spec, run)

    def decide(folder: Path) -> None:
        codes, facts = _assign(dataset, known, is_kept, spec, run)
        save_codes(folder, codes)
        (folder / _DECIDED).write_text(json.dumps(facts))

    decided = run.checkpoint("decided", decide)
    facts = json.loads((decided / _DECIDED).read_text())
    stem = spec.name or parse_reference(spec.dataset).name
    subsets = {name: run.save("dataset", f"{stem}-{name}") for name in facts.pop("names")}
    found = write_subsets(dataset, decided, list(subsets.values()), run)
    profiles = dict(zip(subsets, found, strict=True))
    for name, draft in subsets.items():
        draft.describe(labels={k: n for k, n in profiles[name].labels.items() if k})
    report = run.save("report", f"{stem}-split")
    write_split_report(report.path, profiles, facts)
    report.describe(rows=int(is_kept.sum()), subsets=len(subsets), **facts)
    run.log("split", **{name: draft.summary["rows"] for name, draft in subsets.items()})
    run.count_rows(read=known.num_rows, written=int(is_kept.sum()))
    return SplitOutputs(subsets=subsets, report=report)


def _kept(known: pa.Table, spec: SplitSpec, run: RunContext) -> Mask:
    """Say which records are split.

    Raises:
        DataError: none is.
    """
    is_kept = np.ones(known.num_rows, dtype=bool)
    if spec.unlabelled == "drop":
        is_kept = pc.is_valid(known["label"]).to_numpy()
        run.log(f"left out {int((~is_kept).sum())} unlabelled records")
    if not is_kept.any():
        raise DataError(f"{spec.dataset} holds no records to split", where=spec.dataset,
                        next_step="Keep unlabelled records, or clean less strictly.")  # fmt: skip
    return is_kept


def _assign(
    dataset: Artifact, known: pa.Table, is_kept: Mask, spec: SplitSpec, run: RunContext
) -> tuple[Integers, dict[str, Any]]:
    """Return the subset of each record (``LEFT_OUT`` for none), and facts.

    These are the ``names`` of the subsets, and how many records are ``left_out``, have a relative
    (``related``) and are in the ``largest`` group.
    """
    chosen = pa.array(is_kept)
    known = known.filter(chosen)
    values, value_names = _values(known, spec)
    sources = known["source"].to_pylist()
    keeper = _relatives(dataset, is_kept, spec, run)
    parts = choose_parts(
        Candidates(
            keeper=keeper,
            order=hash_order(known["id"], spec.seed),
            subset=values,
            labels=known["label"],
            whole=np.array([spec.whole_sources.get(source, "") for source in sources], object),
            times=_times(dataset, is_kept, spec, run),
        ),
        spec.shares(),
        stratify=spec.stratify,
        own_unlabelled=spec.unlabelled == "own part",
    )
    part_names = list(dict.fromkeys([*spec.shares(), *spec.whole_sources.values(), *RESERVED]))
    place = {name: number for number, name in enumerate(part_names)}
    numbers = np.array([place[part] for part in parts.tolist()])
    _refuse_empty(part_names, numbers, spec)
    subsets, place_of = np.unique(values * len(part_names) + numbers, return_inverse=True)
    codes = np.full(len(is_kept), LEFT_OUT, np.int64)
    codes[is_kept] = place_of
    sizes = np.bincount(keeper)
    run.log(f"the largest group of records that stay together has {sizes.max()}")
    named = [divmod(n, len(part_names)) for n in subsets.tolist()]
    return codes, {
        "names": ["-".join(filter(None, (value_names[v], part_names[p]))) for v, p in named],
        "left_out": int((~is_kept).sum()),
        "related": int(sizes[sizes > 1].sum()),
        "largest": int(sizes.max()),
    }


def _relatives(dataset: Artifact, is_kept: Mask, spec: SplitSpec, run: RunContext) -> Integers:
    """Return for each kept record the first one of those that must go with it; int64 [n]."""
    keeper = find_relatives(dataset, spec.near_duplicate_jaccard, spec.shingle_words, run)
    keeper = among(keeper, np.flatnonzero(is_kept))
    if spec.group:
        keeper = with_groups(keeper, read_field(dataset, spec.group).filter(pa.array(is_kept)))
    return keeper


def _times(dataset: Artifact, is_kept: Mask, spec: SplitSpec, run: RunContext) -> Integers | None:
    """Return the time of each chosen record; None where the split is not by time.

    Raises:
        DataError: no record has a time.
    """
    if not spec.time:
        return None
    texts = read_field(dataset, spec.time).filter(pa.array(is_kept)).to_pylist()
    times = parse_times(texts)
    num_undated = int((times == UNDATED).sum())
    if num_undated == len(times):
        example = next((text for text in texts if text is not None), "")
        raise DataError(f"No record has a time in {spec.time!r}, such as {example[:40]!a}",
                        where=spec.dataset, next_step="Name a field with times in ISO 8601 or "
                        "in seconds since 1970.")  # fmt: skip
    run.log(f"{num_undated} records have no time", undated=num_undated)
    return times


def _values(known: pa.Table, spec: SplitSpec) -> tuple[Integers, list[str]]:
    """Return each record's value of ``by`` as a number, and the names of the values, sorted.

    Small values are ``other``; without ``by`` all records have one value with an empty name.
    """
    if not spec.by:
        return np.zeros(known.num_rows, np.int64), [""]
    codes, names = encode(pc.if_else(pc.equal(known[spec.by], ""), None, known[spec.by]))
    names = [*names, UNKNOWN]
    counts = np.bincount(np.where(codes < 0, len(names) - 1, codes), minlength=len(names))
    merged = [
        name if count >= FEWEST_ROWS else OTHER
        for name, count in zip(names, counts.tolist(), strict=True)
    ]
    present = sorted({merged[code] for code in np.flatnonzero(counts).tolist()})
    place = np.array([present.index(name) if name in present else -1 for name in merged])
    return place[codes], present


def _refuse_empty(part_names: list[str], numbers: Integers, spec: SplitSpec) -> None:
    """Refuse a split in which a part that was asked for holds no record.

    Raises:
        DataError: there is such a part.
    """
    counts = np.bincount(numbers, minlength=len(part_names)).tolist()
    empty = [name for name, count in zip(part_names, counts, strict=True)
             if not count and name in spec.shares()]  # fmt: skip
    if empty:
        raise DataError(
            f"Part {empty[0]!r} would be empty: {len(numbers)} records are too few, or too alike",
            where=spec.dataset,
            next_step="Give the part a larger share, or raise the near-duplicate similarity.",
        )
