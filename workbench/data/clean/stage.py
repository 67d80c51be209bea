"""Clean: visible rules in a fixed order; what they change or drop stands in a ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.registry import stage
from workbench.core.spec import parse_reference
from workbench.data.clean.contamination import fingerprint, read_test_sets
from workbench.data.clean.decide import (
    GROUP_BACK,
    PROTECTED,
    SAME_WORDS_BACK,
    choose_keepers,
    find_groups,
)
from workbench.data.clean.ledger import (
    CHANGED,
    DROPPED,
    LEDGER_SCHEMA,
    by_falling_count,
    count_rules,
    join_entries,
    ledger_rows,
)
from workbench.data.clean.partition import (
    EXAMPLES_PER_RULE,
    Surroundings,
    clean_partition,
    rule_order,
)
from workbench.data.clean.repeats import Repeats, find_repeated_passages, find_repeats
from workbench.data.clean.report import write_report
from workbench.data.clean.spec import CleanSpec
from workbench.data.duplicates.columns import release
from workbench.data.records import (
    RecordWriter,
    check_sources,
    num_rows_of,
    partitions,
    read_records,
    take_records,
    write_partition,
)
from workbench.data.rules.duplicate import EXACT_DUPLICATE, NEAR_DUPLICATE

_NOT_DROPPED, _DROPPED, _PROTECTED = 0, 1, 2


class CleanOutputs(Outputs):
    """What is kept, and three accounts of it: each is a row per record, per event, or a page."""

    dataset: Draft
    ledger: Draft
    scores: Draft
    report: Draft


@stage(title="Clean", version=3, fingerprint=fingerprint)
def clean(spec: CleanSpec, run: RunContext) -> CleanOutputs:
    """Repair texts, drop what is no use and what repeats, and say why in a ledger.

    The records of the input are those of the result and the dropped ones of the ledger, exactly.
    Every score is kept, so that thresholds can be moved without reading a text again. Partitions
    are durable parts, cleaned on all workers of the run, each in memory by itself.
    """
    dataset = run.open(spec.dataset)
    if spec.protect:
        check_sources(read_records(dataset, ["source"]), spec.protect, "protect")
    files = partitions(dataset)
    starts = np.concatenate([[0], np.cumsum(num_rows_of(files))]).tolist()
    around = Surroundings(
        files=tuple(files), repeated=find_repeated_passages(files, spec, run),
        test_texts=read_test_sets(spec, run),
    ).model_dump(mode="json")  # fmt: skip
    values = spec.model_dump(mode="json")
    parts = {
        f"rules-{number:05d}": [str(path), first_row, values, around]
        for number, (path, first_row) in enumerate(zip(files, starts[:-1], strict=True))
    }
    folders = run.checkpoint_each(parts, write_cleaned, "partitions", "rules")
    repeats = find_repeats(folders, spec, run)
    verdict = _judge(folders, repeats)
    name = spec.name or f"{parse_reference(spec.dataset).name}-clean"
    outputs = CleanOutputs(
        dataset=run.save("dataset", name), ledger=run.save("dataset", f"{name}-ledger"),
        scores=run.save("dataset", f"{name}-scores"), report=run.save("report", f"{name}-report"),
    )  # fmt: skip
    account = _write(folders, files, verdict, outputs, run)
    _describe(outputs, account, spec, run)
    return outputs


def write_cleaned(folder: Path, part: list[Any]) -> None:
    """Write what became of one partition: ``part`` is its path, first row, spec, surroundings."""
    path, first_row, values, around = part
    found = clean_partition(
        pq.read_table(path), first_row, CleanSpec.parse(values), Surroundings.model_validate(around)
    )
    write_partition(folder / "records.parquet", found.records)
    write_partition(folder / "scores.parquet", found.scores)
    write_partition(folder / "ledger.parquet", found.ledger)
    (folder / "examples.json").write_text(json.dumps(found.examples))
    np.save(folder / "fate.npy", _fate(found.dropped, found.protected))


def _fate(dropped: npt.NDArray[np.bool_], protected: npt.NDArray[np.bool_]) -> Any:
    return np.where(protected, _PROTECTED, np.where(dropped, _DROPPED, _NOT_DROPPED)).astype(
        np.uint8
    )


@dataclass(frozen=True)
class Verdict:
    """What is decided of each of the n records of the whole input."""

    repeats: Repeats
    fate: npt.NDArray[np.uint8]  # what the rules say; [n]
    copies: npt.NDArray[np.int64]  # records dropped as duplicates, ascending; [k]
    keepers: npt.NDArray[np.int64]  # the record that stays for the group of each of them; [k]

    def copies_in(self, rows: slice) -> slice:
        """Return which of the copies are among these records."""
        return slice(*np.searchsorted(self.copies, [rows.start, rows.stop]))

    def is_kept(self, rows: slice) -> npt.NDArray[np.bool_]:
        """Return which of these records stay."""
        is_kept: npt.NDArray[np.bool_] = self.fate[rows] != _DROPPED
        is_kept[self.copies[self.copies_in(rows)] - rows.start] = False
        return is_kept


def _judge(folders: list[Path], repeats: Repeats) -> Verdict:
    """Decide who stays of each group; records alone in theirs are not looked at."""
    fate = np.concatenate([np.load(folder / "fate.npy") for folder in folders])
    group = repeats.table["group"] if repeats.are_grouped else np.arange(len(fate))
    members, own_group = find_groups(group)
    by_rule, protected = fate[members] == _DROPPED, fate[members] == _PROTECTED
    keeper = choose_keepers(own_group, ~by_rule, protected)
    is_copy = ~by_rule & ~protected & (keeper != np.arange(len(members)))
    return Verdict(repeats, fate, members[is_copy], members[keeper[is_copy]])


@dataclass
class Account:
    """What is counted while the results are written."""

    num_read: int = 0
    num_kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    sources: dict[str, list[int]] = field(default_factory=dict)  # source -> read, kept
    lengths: Counter[int] = field(default_factory=Counter)  # words of kept texts
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, records: pa.Table, kept: pa.Table, ledger: pa.Table, words: Any) -> None:
        """Count one partition."""
        self.num_read += records.num_rows
        self.num_kept += kept.num_rows
        self.dropped += count_rules(ledger, DROPPED)
        self.changed += count_rules(ledger, CHANGED)
        self.languages.update(language or "unknown" for language in kept["language"].to_pylist())
        self.lengths.update(words.tolist())
        for place, table in enumerate((records, kept)):
            for found in table["source"].value_counts().to_pylist():
                counts = self.sources.setdefault(found["values"], [0, 0])
                counts[place] += found["counts"]

    def add_examples(self, examples: list[dict[str, str]]) -> None:
        """Keep the first few of each rule."""
        have = Counter(example["rule"] for example in self.examples)
        for example in examples:
            if have[example["rule"]] < EXAMPLES_PER_RULE:
                have[example["rule"]] += 1
                self.examples.append(example)


def _write(
    folders: list[Path], files: list[Path], verdict: Verdict, outputs: CleanOutputs, run: RunContext
) -> Account:
    """Write the results partition by partition; nothing larger is in memory."""
    account = Account()
    schema = pq.read_schema(folders[0] / "records.parquet")
    scores_schema = _scored(pq.read_table(folders[0] / "scores.parquet"), verdict, slice(0, 0))
    first_row = 0
    with (
        RecordWriter(outputs.dataset, schema) as kept_writer,
        RecordWriter(outputs.ledger, LEDGER_SCHEMA) as ledger_writer,
        RecordWriter(outputs.scores, scores_schema.schema) as scores_writer,
    ):
        for number, folder in enumerate(folders):
            run.stop_if_asked()
            run.progress(number, len(folders), "partitions", "writing")
            records = pq.read_table(folder / "records.parquet")
            scores = pq.read_table(folder / "scores.parquet")
            rows = slice(first_row, first_row + records.num_rows)
            is_kept = verdict.is_kept(rows)
            kept = records.filter(pa.array(is_kept))
            ledger = _ledger_of(folder, records, files, verdict, rows)
            kept_writer.write(kept)
            ledger_writer.write(ledger)
            scores_writer.write(_scored(scores, verdict, rows))
            account.add(records, kept, ledger, scores["num_words"].to_numpy()[is_kept])
            account.add_examples(json.loads((folder / "examples.json").read_text()))
            account.add_examples(list(_copy_examples(ledger, records, rows)))
            first_row = rows.stop
            release(verdict.repeats.table)
    return account


def _scored(scores: pa.Table, verdict: Verdict, rows: slice) -> pa.Table:
    """Return scores with what else decides: repetition, and what is never dropped.

    Repetition as distances: almost all are zero, and take no room.
    """
    at = np.arange(rows.start, rows.stop)
    scores = scores.slice(0, len(at))
    for name, first in (
        (GROUP_BACK, verdict.repeats.group(rows)),
        (SAME_WORDS_BACK, verdict.repeats.same_words(rows)),
    ):
        scores = scores.append_column(name, pa.array((at - first).astype(np.int32)))
    return scores.append_column(PROTECTED, pa.array(verdict.fate[rows] == _PROTECTED))


def _ledger_of(
    folder: Path, records: pa.Table, files: list[Path], verdict: Verdict, rows: slice
) -> pa.Table:
    """Return a partition's ledger: what its rules said, then its duplicates, by row."""
    own = pq.read_table(folder / "ledger.parquet", schema=LEDGER_SCHEMA)
    some = verdict.copies_in(rows)
    repeats, at, keeper = verdict.repeats, verdict.copies[some], verdict.keepers[some]
    if not len(at):
        return own
    is_exact = repeats.same_words(at) == repeats.same_words(keeper)
    near, jaccard = repeats.nearest(at, keeper)
    relative, jaccard = np.where(is_exact, keeper, near), np.where(is_exact, 1.0, jaccard)
    ids = take_records(files, np.concatenate([keeper, relative]), ["id"])["id"]
    rule = pa.array(np.where(is_exact, EXACT_DUPLICATE, NEAR_DUPLICATE))
    entries = ledger_rows(
        at - rows.start, DROPPED, rule, keeper=ids.slice(0, len(at)), relative=ids.slice(len(at)),
        jaccard=jaccard, threshold=np.where(is_exact, np.nan, repeats.threshold),
    )  # fmt: skip
    joined = pa.concat_tables([own, join_entries([entries], records, rows.start)])
    return joined.take(pa.array(np.argsort(joined["row"].to_numpy(), kind="stable")))


def _copy_examples(ledger: pa.Table, records: pa.Table, rows: slice) -> Iterator[dict[str, str]]:
    for rule in (EXACT_DUPLICATE, NEAR_DUPLICATE):
        some = ledger.filter(pc.equal(ledger["rule"], rule)).slice(0, EXAMPLES_PER_RULE)
        for row in some.to_pylist():
            text = records["text"][row["row"] - rows.start].as_py()
            told = f"dropped: {row['jaccard']:.3g} like {row['relative']}"
            yield {"rule": rule, "before": text[:120], "after": told}


def _describe(outputs: CleanOutputs, account: Account, spec: CleanSpec, run: RunContext) -> None:
    # In the order of the rules: in which partition an example stood must not show.
    order = [*rule_order(spec), EXACT_DUPLICATE, NEAR_DUPLICATE]
    account.examples.sort(key=lambda example: order.index(example["rule"]))
    facts = {
        "rows_in": account.num_read,
        "dropped": by_falling_count(account.dropped),
        "changed": by_falling_count(account.changed),
        "examples": account.examples,
    }
    outputs.dataset.describe(**facts)
    outputs.ledger.describe(**facts)
    outputs.scores.describe(spec=spec.model_dump(mode="json"), rows_out=account.num_kept)
    write_report(outputs.report, account, spec)
    run.count_rows(read=account.num_read, written=account.num_kept)
    run.progress(1, 1, "partitions")
    run.log(
        f"kept {account.num_kept} of {account.num_read} records",
        dropped=facts["dropped"], changed=facts["changed"],
    )  # fmt: skip
