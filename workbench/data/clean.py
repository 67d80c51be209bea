"""Clean: visible rules in a fixed order; what they change or drop stands in a ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, Spec, option, parse_reference
from workbench.data.duplicates import near_duplicates, same_texts
from workbench.data.ledger import (
    CHANGED,
    DROPPED,
    LEDGER_SCHEMA,
    ORIGINAL_COLUMNS,
    count_rules,
    ledger_rows,
)
from workbench.data.records import (
    check_sources,
    partitions,
    read_records,
    write_partition,
    write_records,
)
from workbench.data.rules.duplicate import DuplicateSetting
from workbench.data.rules.html_residue import HtmlSetting, strip_html
from workbench.data.rules.language import LanguageSetting, judge_language
from workbench.data.rules.length import (
    LengthSetting,
    drop_empty,
    drop_too_few_words,
    drop_too_many_words,
)
from workbench.data.rules.personal_data import (
    PersonalDataSetting,
    redact,
    redact_personal_data,
)
from workbench.data.rules.rule import Columns, Rule, as_mask
from workbench.data.rules.spam import SpamSetting, drop_repetition, drop_symbols
from workbench.data.rules.unicode_repair import UnicodeSetting, repair_unicode
from workbench.data.rules.whitespace import WhitespaceSetting, tidy_whitespace
from workbench.data.tokens import as_texts

# In this order, on each record by itself; then duplicates are dropped, exact ones first.
ROW_RULES: dict[str, Rule] = {
    "unicode": repair_unicode,
    "html": strip_html,
    "whitespace": tidy_whitespace,
    "personal_data": redact_personal_data,
    "empty": drop_empty,
    "too_few_words": drop_too_few_words,
    "too_many_words": drop_too_many_words,
    "symbols": drop_symbols,
    "repetition": drop_repetition,
    "language": judge_language,
}
EXACT_DUPLICATE = "exact_duplicate"
NEAR_DUPLICATE = "near_duplicate"

_ROW = "input_row"  # where a kept record stood in the input
_EXAMPLES_PER_RULE = 2
_EXAMPLE_CHARACTERS = 120
_EXAMPLE_CONTEXT = 30


class CleanInput(Spec):
    """What is cleaned."""

    dataset: DatasetRef = option(
        title="Data set", help="The data set to clean.", group="Data"
    )  # fmt: skip
    name: ArtifactName | None = option(
        None, title="Name", group="Result",
        help="The name of the cleaned data set; empty: that of the input with -clean.",
    )  # fmt: skip
    protect: list[str] = option(
        [], title="Never drop from", group="Data",
        help="Sources whose records are repaired but never dropped, such as an official test set; "
        "what repeats one of them elsewhere goes instead.",
    )  # fmt: skip


# Forms show the fields of the last base first: read this list from below.
class CleanSpec(
    DuplicateSetting,
    LanguageSetting,
    SpamSetting,
    LengthSetting,
    PersonalDataSetting,
    WhitespaceSetting,
    HtmlSetting,
    UnicodeSetting,
    CleanInput,
):
    """Which data set to clean, and the setting of each rule."""


class CleanOutputs(Outputs):
    """The kept records, and the ledger of all that was changed or dropped."""

    dataset: Draft
    ledger: Draft


@stage(title="Clean", version=1)
def clean(spec: CleanSpec, run: RunContext) -> CleanOutputs:
    """Repair texts, drop what is no use and what repeats, and say why in a ledger.

    The records of the input are those of the result and the dropped ones of the ledger, exactly.
    """
    dataset = run.open(spec.dataset)
    check_sources(read_records(dataset, ["source"]), spec.protect, "protect")
    kept, ledger = _apply_row_rules(dataset, spec, run)
    kept, *duplicates = _drop_duplicates(dataset, kept, spec, run)
    ledger = pa.concat_tables([ledger, *duplicates])
    name = spec.name or f"{parse_reference(spec.dataset).name}-clean"
    outputs = CleanOutputs(
        dataset=run.save("dataset", name), ledger=run.save("dataset", f"{name}-ledger")
    )
    write_records(outputs.dataset, kept)
    write_records(outputs.ledger, ledger)
    _describe(outputs, kept, ledger, spec, run)
    return outputs


def _apply_row_rules(
    dataset: Artifact, spec: CleanSpec, run: RunContext
) -> tuple[pa.Table, pa.Table]:
    """Apply the rules to each partition, a durable part each; return kept records and ledger."""
    files = partitions(dataset)
    kept, ledgers, num_rows = [], [], 0
    for number, path in enumerate(files):
        run.stop_if_asked()
        run.progress(number, len(files) + 1, "partitions", "rules")
        folder = run.checkpoint(f"rules-{number:05d}", _rule_writer(path, num_rows, spec))
        num_rows += pq.read_metadata(path).num_rows
        kept.append(pq.read_table(folder / "kept.parquet"))
        ledgers.append(pq.read_table(folder / "ledger.parquet", schema=LEDGER_SCHEMA))
    return pa.concat_tables(kept), pa.concat_tables(ledgers)


def _rule_writer(path: Path, first_row: int, spec: CleanSpec) -> Any:
    def write(folder: Path) -> None:
        records = pq.read_table(path)
        kept, ledger = apply_rules(records, spec)
        rows = pc.add(kept[_ROW], first_row)
        kept = kept.set_column(kept.column_names.index(_ROW), _ROW, rows)
        write_partition(folder / "kept.parquet", kept)
        write_partition(folder / "ledger.parquet", ledger)

    return write


def apply_rules(records: pa.Table, spec: CleanSpec) -> tuple[pa.Table, pa.Table]:
    """Return the records that pass all rules, with their row in ``input_row``, and the ledger."""
    columns = Columns(as_texts(records["text"]), records["language"].combine_chunks())
    is_protected = _is_protected(records, spec)
    rows = np.arange(records.num_rows)
    order, entries = [rows[:0]], [LEDGER_SCHEMA.empty_table()]
    for name, rule in ROW_RULES.items():
        judgement = rule(columns, spec)
        if judgement.text is not None:
            is_changed = as_mask(pc.not_equal(judgement.text, columns.text))
            result = judgement.text.filter(pa.array(is_changed))
            order.append(rows[is_changed])
            entries.append(ledger_rows(records, order[-1], CHANGED, name, result=result))
            columns = columns._replace(text=judgement.text)
        if judgement.language is not None:
            columns = columns._replace(language=judgement.language)
        if judgement.dropped is not None:
            is_dropped = judgement.dropped & ~is_protected[rows]
            dropped, passed = pa.array(is_dropped), pa.array(~is_dropped)
            value = {} if judgement.value is None else {"value": judgement.value.filter(dropped)}
            threshold = [judgement.threshold] * int(is_dropped.sum())
            order.append(rows[is_dropped])
            entries.append(
                ledger_rows(records, order[-1], DROPPED, name, threshold=threshold, **value)
            )
            columns = Columns(columns.text.filter(passed), columns.language.filter(passed))
            rows = rows[~is_dropped]
    by_row = pa.array(np.argsort(np.concatenate(order), kind="stable"))
    return _with_columns(records, rows, columns), pa.concat_tables(entries).take(by_row)


def _is_protected(records: pa.Table, spec: CleanSpec) -> npt.NDArray[np.bool_]:
    return as_mask(pc.is_in(records["source"], pa.array(spec.protect, pa.string())))


def _with_columns(records: pa.Table, rows: npt.NDArray[np.int64], columns: Columns) -> pa.Table:
    kept = records.take(pa.array(rows))
    for name, values in (("text", columns.text), ("language", columns.language)):
        field = kept.schema.field(name)
        kept = kept.set_column(kept.column_names.index(name), field, values.cast(field.type))
    return kept.append_column(_ROW, pa.array(rows))


def _drop_duplicates(
    dataset: Artifact, kept: pa.Table, spec: CleanSpec, run: RunContext
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the records that repeat no earlier one, and the ledgers of exact and near copies."""
    originals = read_records(dataset, ORIGINAL_COLUMNS)
    empty = LEDGER_SCHEMA.empty_table()
    exact = near = empty
    # A group's first record stays: protected ones stand first while duplicates are looked for.
    is_protected = _is_protected(kept, spec)
    kept = kept.take(pa.array(np.argsort(~is_protected, kind="stable")))
    num_protected = int(is_protected.sum())
    if spec.drop_exact_duplicates:
        first = same_texts(as_texts(kept["text"]))
        kept, exact = _without(
            kept, originals, EXACT_DUPLICATE, "same words", first, first, np.ones(len(first)),
            num_protected,
        )  # fmt: skip
    if spec.near_duplicate_jaccard:
        num_parts = len(partitions(dataset))

        def report(share: float) -> None:
            run.stop_if_asked()
            run.progress(num_parts + share, num_parts + 1, "partitions", "near-duplicates")

        found = near_duplicates(
            as_texts(kept["text"]), spec.near_duplicate_jaccard, spec.shingle_words, report
        )
        kept, near = _without(
            kept, originals, NEAR_DUPLICATE, f"below {spec.near_duplicate_jaccard:g}",
            found.keeper, found.relative, found.jaccard, num_protected,
        )  # fmt: skip
    kept = kept.take(pa.array(np.argsort(kept[_ROW].to_numpy(), kind="stable")))
    return kept.drop_columns([_ROW]), exact, near


def _without(
    kept: pa.Table,
    originals: pa.Table,
    rule: str,
    threshold: str,
    keeper: npt.NDArray[np.int64],
    relative: npt.NDArray[np.int64],
    jaccard: npt.NDArray[np.float64],
    num_protected: int,
) -> tuple[pa.Table, pa.Table]:
    """Split off the rows whose keeper is another row; all arrays are rows of ``kept``.

    The first ``num_protected`` rows stay whatever they repeat.
    """
    is_copy = keeper != np.arange(len(keeper))
    is_copy[:num_protected] = False
    ids = kept["id"]
    ledger = ledger_rows(
        originals, kept[_ROW].to_numpy()[is_copy], DROPPED, rule,
        value=[f"{similarity:.4g}" for similarity in jaccard[is_copy]],
        threshold=[threshold] * int(is_copy.sum()),
        keeper=ids.take(pa.array(keeper[is_copy])),
        relative=ids.take(pa.array(relative[is_copy])),
        jaccard=pa.array(jaccard[is_copy]),
    )  # fmt: skip
    return kept.filter(pa.array(~is_copy)), ledger


def _describe(
    outputs: CleanOutputs, kept: pa.Table, ledger: pa.Table, spec: CleanSpec, run: RunContext
) -> None:
    dropped, changed = count_rules(ledger, DROPPED), count_rules(ledger, CHANGED)
    num_read = kept.num_rows + sum(dropped.values())
    facts = {
        "rows_in": num_read,
        "dropped": dropped,
        "changed": changed,
        "examples": _examples(ledger, spec),
    }
    outputs.dataset.describe(rows=kept.num_rows, **facts)
    outputs.ledger.describe(rows=ledger.num_rows, **facts)
    run.count_rows(read=num_read, written=kept.num_rows)
    run.progress(1, 1, "partitions")
    run.log(f"kept {kept.num_rows} of {num_read} records", dropped=dropped, changed=changed)


def _examples(ledger: pa.Table, spec: CleanSpec) -> list[dict[str, str]]:
    """Return a few texts before and after each rule, where they differ.

    What was redacted stays so here: summaries are shown to everyone.
    """
    show = redact if spec.personal_data != "keep" else str
    rules = ledger["rule"].to_numpy()
    examples = []
    for rule in [*ROW_RULES, EXACT_DUPLICATE, NEAR_DUPLICATE]:
        rows = np.flatnonzero(rules == rule)[:_EXAMPLES_PER_RULE]
        for row in ledger.take(pa.array(rows)).to_pylist():
            reason = f"dropped: {row['value']}, {row['threshold']}".replace("None, ", "")
            start = _first_difference(row["text"], row["result"] or row["text"])
            before, after = (show(text)[start:] for text in (row["text"], row["result"] or ""))
            after = after if row["action"] == CHANGED else reason
            if before != after:
                examples.append({
                    "rule": rule,
                    "before": before[:_EXAMPLE_CHARACTERS],
                    "after": after[:_EXAMPLE_CHARACTERS],
                })  # fmt: skip
    return examples


def _first_difference(before: str, after: str) -> int:
    """Return where to begin to show two texts: a little before they differ."""
    pairs = enumerate(zip(before, after, strict=False))
    first = next((place for place, (a, b) in pairs if a != b), min(len(before), len(after)))
    return max(0, first - _EXAMPLE_CONTEXT) if before != after else 0
