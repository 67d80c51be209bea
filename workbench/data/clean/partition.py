"""The rules on one partition: repaired texts, scores of every record, and what the ledger says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.clean.checks import Scores, checks_of, held_against
from workbench.data.clean.decide import first_failing
from workbench.data.clean.ledger import CHANGED, DROPPED, join_entries, ledger_rows, reason_words
from workbench.data.clean.repairs import REPAIRS
from workbench.data.clean.spec import CleanSpec
from workbench.data.rules.language import judge_language
from workbench.data.rules.length import measure_length
from workbench.data.rules.personal_data import redact, redact_personal_data
from workbench.data.rules.rule import Columns, Judgement, Mask, Rule, as_mask, changed_spans
from workbench.data.rules.spam import measure_spam
from workbench.data.rules.user_rule import COLUMNS, UserRule, measure_user_rules
from workbench.data.tokens import as_texts

EXAMPLES_PER_RULE = 2
_EXAMPLE_CHARACTERS = 120
_EXAMPLE_CONTEXT = 30


@dataclass(frozen=True)
class Cleaned:
    """What became of the n records of a partition."""

    records: pa.Table  # with repaired texts and languages; also those that are dropped
    scores: pa.Table  # a row for each record
    dropped: Mask  # by a rule; duplicates are found later
    protected: Mask
    ledger: pa.Table
    examples: list[dict[str, str]]  # before and after each rule


def clean_partition(records: pa.Table, first_row: int, spec: CleanSpec) -> Cleaned:
    """Repair, measure and judge the records of a partition, each by itself."""
    original = as_texts(records["text"])
    texts, entries, examples = repair(original, records, spec)
    scores = measure(texts, records, spec)
    protected = as_mask(pc.is_in(records["source"], pa.array(spec.protect, pa.string())))
    checks = checks_of(spec)
    reason = first_failing(scores, checks, spec)
    reason[protected] = 0
    for number, check in enumerate(checks, 1):
        rows = np.flatnonzero(reason == number)
        if len(rows):
            entries.append(_drops(rows, check, scores, spec))
            examples += _dropped_examples(check.rule, rows, original, entries[-1], spec)
    cleaned = _with_columns(records, texts, scores["language"])
    ledger = join_entries([ledger_rows(np.arange(0), DROPPED, ""), *entries], records, first_row)
    return Cleaned(cleaned, pa.table(dict(scores)), reason > 0, protected, ledger, examples)


def repair(
    texts: pa.Array, records: pa.Table, spec: CleanSpec
) -> tuple[pa.Array, list[pa.Table], list[dict[str, str]]]:
    """Apply the rules that rewrite; return texts, entries of the ledger, and examples."""
    entries, examples = [], []
    language = records["language"].combine_chunks()
    for name, mend in _repairs(records, spec).items():
        mended = mend(Columns(texts, language), spec).text
        if mended is None:
            continue
        rows = np.flatnonzero(as_mask(pc.not_equal(mended, texts)))
        if len(rows):
            picked = pa.array(rows)
            before, after = texts.take(picked), mended.take(picked)
            start, end = changed_spans(before, after)
            entries.append(ledger_rows(rows, CHANGED, name, start=start, end=end))
            if name != "personal_data":  # an example would show what was redacted, or nothing
                examples += _changed_examples(name, before, after, spec)
        texts = mended
    return texts, entries, examples


def rule_order(spec: CleanSpec) -> list[str]:
    """Return the names of all rules in the order in which they are applied."""
    own = [found.name for found in spec.rules if found.kind == "rewrite"]
    return [*REPAIRS, *own, *(check.rule for check in checks_of(spec))]


def _repairs(records: pa.Table, spec: CleanSpec) -> dict[str, Rule]:
    own = {r.name: _user_repair(r, records) for r in spec.rules if r.kind == "rewrite"}
    return {**REPAIRS, **own}


def _user_repair(rule: UserRule, records: pa.Table) -> Rule:
    def mend(columns: Columns, _: CleanSpec) -> Judgement:
        written = rule.apply(columns.text, _columns_for_users(records))
        return Judgement(text=pa.array(written, columns.text.type))

    return mend


def _columns_for_users(records: pa.Table) -> dict[str, pa.Array]:
    return {name: records[name].combine_chunks() for name in COLUMNS}


def measure(texts: pa.Array, records: pa.Table, spec: CleanSpec) -> Scores:
    """Return every score of every record, also of those that fail: thresholds may move later."""
    columns = Columns(texts, records["language"].combine_chunks())
    language = judge_language(columns, spec).language
    return {
        "has_personal_data": _has_personal_data(columns, spec),
        **measure_length(texts),
        **measure_spam(texts),
        "language": columns.language if language is None else language,
        **measure_user_rules(spec.rules, texts, _columns_for_users(records)),
    }


def _has_personal_data(columns: Columns, spec: CleanSpec) -> npt.NDArray[np.uint8]:
    found = redact_personal_data(columns, spec).dropped
    return np.zeros(len(columns.text), np.uint8) if found is None else found.astype(np.uint8)


def _drops(rows: npt.NDArray[np.int64], check: Any, scores: Scores, spec: CleanSpec) -> pa.Table:
    threshold, words = held_against(check, spec)
    column = scores[check.score]
    if isinstance(column, pa.Array):
        detail = [f"{value}, {words}" for value in column.take(pa.array(rows)).to_pylist()]
        return ledger_rows(rows, DROPPED, check.rule, detail=detail)
    value = column[rows].astype(np.float32)
    return ledger_rows(rows, DROPPED, check.rule, value=value, threshold=threshold, detail=words)


def _with_columns(records: pa.Table, texts: pa.Array, language: pa.Array) -> pa.Table:
    for name, values in (("text", texts), ("language", language)):
        field = records.schema.field(name)
        place = records.column_names.index(name)
        records = records.set_column(place, field, values.cast(field.type))
    return records


# -- examples -------------------------------------------------------------------------------------


def _changed_examples(
    rule: str, before: pa.Array, after: pa.Array, spec: CleanSpec
) -> list[dict[str, str]]:
    """Return a few texts around their first change.

    What is redacted stays so here: summaries and reports are shown to everyone.
    """
    some = slice(0, EXAMPLES_PER_RULE)
    pairs = zip(before[some].to_pylist(), after[some].to_pylist(), strict=True)
    examples = []
    for old, new in ((shown(old, spec), shown(new, spec)) for old, new in pairs):
        start = _first_difference(old, new)
        examples.append(_example(rule, old[start:], new[start:]))
    return examples


def _dropped_examples(
    rule: str, rows: npt.NDArray[np.int64], texts: pa.Array, entries: pa.Table, spec: CleanSpec
) -> list[dict[str, str]]:
    some = entries.slice(0, EXAMPLES_PER_RULE).to_pylist()
    originals = texts.take(pa.array(rows[:EXAMPLES_PER_RULE])).to_pylist()
    return [
        _example(rule, shown(text, spec), f"dropped: {reason_words(row)}")
        for text, row in zip(originals, some, strict=True)
    ]


def shown(text: str, spec: CleanSpec) -> str:
    """Return a text as others may see it: without what is redacted."""
    return redact(text) if spec.personal_data != "keep" else text


def _example(rule: str, before: str, after: str) -> dict[str, str]:
    cut = slice(0, _EXAMPLE_CHARACTERS)
    return {"rule": rule, "before": before[cut], "after": after[cut]}


def _first_difference(before: str, after: str) -> int:
    """Return where to begin to show two texts: a little before they differ."""
    pairs = enumerate(zip(before, after, strict=False))
    first = next((place for place, (a, b) in pairs if a != b), min(len(before), len(after)))
    return max(0, first - _EXAMPLE_CONTEXT) if before != after else 0
