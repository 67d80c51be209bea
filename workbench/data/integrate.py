"""Integrate: many sources of many kinds become one data set in one schema."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, Spec, option
from workbench.data.records import SCHEMA, RecordWriter
from workbench.data.sources.kinds import AnySource, source_kinds
from workbench.data.sources.part import REJECTED_SCHEMA, read_batches, read_counts, write_part
from workbench.data.sources.source import CutSource, Part, Source

__all__ = ["IntegrateOutputs", "IntegrateSpec", "fingerprint", "integrate", "source_kinds"]


_PART = "source-"
_PLAN = "plan.json"
_LONGEST_SCHEME = 4_000  # characters of all labels of a data set, which stand in each labelled row


class IntegrateSpec(Spec):
    """What to collect, from where, and what its labels mean here."""

    name: ArtifactName = option(
        "comments", title="Name", help="The name of the data set.", group="Result"
    )  # fmt: skip
    sources: list[AnySource] = option(
        title="Sources", help="Where the records come from, in order.", group="Sources",
        min_length=1,
    )  # fmt: skip
    on_bad_row: Literal["reject", "stop"] = option(
        "reject", title="A bad row", group="Bad rows",
        help="What becomes of a row that is no record (broken JSON, a row of another width): "
        "reject it, to the data set of rejected rows, or stop the run.",
    )  # fmt: skip
    max_rejected_share: float = option(
        0.1, title="Most rejected rows", group="Bad rows", ge=0, le=1,
        help="The run fails if more than this share of a source's rows is rejected: then its "
        "settings are wrong rather than its rows.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are called {twice[0]!r}; each needs its own name")
        return self


class IntegrateOutputs(Outputs):
    """One data set with the records of all sources, and one with the rows that are no records."""

    dataset: Draft
    rejected: Draft


def fingerprint(spec: IntegrateSpec) -> str | None:
    """Return a hash of all that the sources hold now; None if one of them cannot tell."""
    parts = [source.fingerprint() for source in spec.sources]
    if None in parts:
        return None
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@stage(title="Integrate", version=2, fingerprint=fingerprint)
def integrate(spec: IntegrateSpec, run: RunContext) -> IntegrateOutputs:
    """Collect texts from files, databases and web pages into one data set.

    Each source is read in durable parts (files, stretches of a file, ranges of a key): a pause or
    a kill costs at most one of them for each worker. Rows read = records + rejected rows, exactly.
    """
    folders = _read_parts(spec, run)
    counts = [read_counts(folder) for folder in folders]
    _check_counts(spec, counts)
    outputs = IntegrateOutputs(
        dataset=run.save("dataset", spec.name),
        rejected=run.save("dataset", f"{spec.name}-rejected"),
    )
    labels = sorted(
        {label for source in spec.sources for label in source.labels.values() if label}
        | {label for count in counts for label in count["labels"]}
    )
    if len("|".join(labels)) > _LONGEST_SCHEME:
        run.log(f"{len(labels)} labels are too many to be named in every row: their set is not "
                "kept as a label scheme, each row has its own label")  # fmt: skip
        labels = []
    _write(outputs.dataset, (folder / "records.parquet" for folder in folders), SCHEMA, run, labels)
    _write(
        outputs.rejected, (folder / "rejected.parquet" for folder in folders), REJECTED_SCHEMA, run
    )
    _describe(outputs, spec, counts, run)
    return outputs


def _read_parts(spec: IntegrateSpec, run: RunContext) -> list[Path]:
    values = spec.model_dump(mode="json")
    parts = {}
    for number, source in enumerate(spec.sources):
        for name, part in _plan(source, number, run).items():
            value = {"spec": values, "source": number, "part": part}
            parts[f"{_PART}{number:03d}-{name}"] = value
    for key in run.checkpoints():
        if key.startswith(_PART) and key not in parts:  # of a file that is another one now
            run.forget_checkpoint(key)
    return run.checkpoint_each(parts, _read_part, "parts")


def _plan(source: Source, number: int, run: RunContext) -> dict[str, Part]:
    """Return what of a source is read apart, by a name under which it counts as read."""
    if source.limit or not isinstance(source, CutSource):  # a bound needs it to be one
        return {"whole": {}}
    if getattr(source, "plans_anew", False):
        return {
            hashlib.sha256(json.dumps(part).encode()).hexdigest()[:12]: part
            for part in source.parts()
        }
    list_parts = source.parts

    def write(folder: Path) -> None:
        (folder / _PLAN).write_text(json.dumps(list_parts()))

    planned = json.loads((run.checkpoint(f"plan-{number:03d}", write) / _PLAN).read_text())
    return {f"{at:05d}": part for at, part in enumerate(planned)}


def _read_part(folder: Path, value: dict[str, Any]) -> None:
    spec = IntegrateSpec.model_validate(value["spec"])
    source = spec.sources[value["source"]]
    part = value["part"]
    rows = source.read_part(part) if part and isinstance(source, CutSource) else source.read()
    write_part(folder, source, itertools.islice(rows, source.limit or None), spec.on_bad_row)


def _check_counts(spec: IntegrateSpec, counts: list[dict[str, Any]]) -> None:
    """Refuse a source without records, or with more rejected rows than the Spec allows.

    Raises:
        DataError: names the source, and its first rejected row.
    """
    for source in spec.sources:
        own = [count for count in counts if count["source"] == source.name]
        num_rows, num_rejected = (sum(c[name] for c in own) for name in ("rows", "rejected"))
        if num_rejected > spec.max_rejected_share * (num_rows + num_rejected):
            first = next(count["first"] for count in own if count["first"])
            raise DataError(
                f"{first['reason']}. {num_rejected} of {num_rows + num_rejected} rows of this "
                f"source are no records; allowed is a share of {spec.max_rejected_share:g}",
                where=f"source {source.name}, {first['position']}",
                next_step=f"{first['next_step']} Or raise the share of rejected rows.".strip(),
            )
        if not num_rows:
            raise DataError(
                f"Source {source.name} holds no records",
                where=f"source {source.name}",
                next_step="Check path, selector or query, or leave it out.",
            )


def _write(
    draft: Draft,
    files: Iterator[Path],
    schema: pa.Schema,
    run: RunContext,
    labels: list[str] | None = None,
) -> None:
    """Write the rows of all parts, in order, as the partitions of a data set."""
    with RecordWriter(draft, schema) as writer:
        for batch in read_batches(files):
            run.stop_if_asked()
            writer.write(batch if labels is None else _with_label_scheme(batch, labels))


def _with_label_scheme(records: pa.Table, labels: list[str]) -> pa.Table:
    """Fill ``label_scheme`` of labelled records: all labels that sources name or hold."""
    scheme = pc.if_else(
        pc.is_valid(records["label"]), "|".join(labels) or None, pa.scalar(None, pa.string())
    )
    return records.set_column(SCHEMA.get_field_index("label_scheme"), "label_scheme", scheme)


def _describe(
    outputs: IntegrateOutputs, spec: IntegrateSpec, counts: list[dict[str, Any]], run: RunContext
) -> None:
    labels, rules = Counter[str](), Counter[str]()
    sources = dict.fromkeys((source.name for source in spec.sources), 0)
    for count in counts:
        labels.update(count["labels"])
        rules.update(count["rules"])
        sources[count["source"]] += count["rows"]
    num_rows, num_rejected = sum(sources.values()), sum(rules.values())
    outputs.dataset.describe(
        sources=sources,
        labels={label: labels[label] for label in sorted(labels)},
        unlabelled=num_rows - sum(labels.values()),
        rejected=num_rejected,
    )
    outputs.rejected.describe(rules={rule: rules[rule] for rule in sorted(rules)})
    run.count_rows(read=num_rows + num_rejected, written=num_rows)
    run.log(f"{num_rows} records, {num_rejected} rejected rows", rules=dict(rules))
