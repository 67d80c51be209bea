"""The rules on one partition: repaired texts, scores of every record, and what the ledger says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from workbench.data.clean.checks import Scores, checks_of, held_against
from workbench.data.clean.contamination import measure_overlaps, name_test_texts
from workbench.data.clean.decide import first_failing
from workbench.data.clean.ledger import CHANGED, DROPPED, join_entries, ledger_rows, reason_words
from workbench.data.clean.passages import cut_repeated
from workbench.data.clean.repairs import LINE_RULES, REPAIRS
from workbench.data.clean.spec import CleanSpec
from workbench.data.rules.contamination import CONTAMINATION_BOUND
from workbench.data.rules.language import judge_language
from workbench.data.rules.length import measure_length
from workbench.data.rules.measure import Family
from workbench.data.rules.measure import measure as measure_documents
from workbench.data.rules.personal_data import redact, redact_personal_data
from workbench.data.rules.repeated_passage import PASSAGE_RULES
from workbench.data.rules.rule import (
    Columns,
    Judgement,
    Mask,
    Pieces,
    Rule,
    as_mask,
    changed_spans,
)
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


class Surroundings(BaseModel):
    """What is known of the world outside of a partition, as folders and files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[Path, ...] = ()  # all partitions of the input
    repeated: tuple[Path, ...] = ()  # spans of passages that other records hold, too
    test_texts: Path | None = None


def clean_partition(
    records: pa.Table, first_row: int, spec: CleanSpec, around: Surroundings
) -> Cleaned:
    """Repair, measure and judge the records of a partition, each by itself."""
    original = as_texts(records["text"])
    protected = is_protected(records, spec)
    repaired = repair(original, records, protected, spec)
    entries, examples = repaired.entries, repaired.examples
    if around.repeated:
        before = repaired.texts
        repaired.texts, cut = cut_repeated(
            before, first_row, protected, around.repeated, around.files, spec
        )
        if repaired.whole is before:  # no line went before: rules see what is left
            repaired.whole = repaired.texts
        entries.append(cut)
        examples += _cut_examples(before, repaired.texts, spec)
    scores = measure(repaired.texts, records, spec, repaired.whole) | repaired.scores
    if around.test_texts:
        overlaps = measure_overlaps(repaired.texts, around.test_texts)
        scores[CONTAMINATION_BOUND.score] = overlaps.share
    checks = checks_of(spec)
    reason = first_failing(scores, checks, spec)
    reason[protected] = 0
    for number, check in enumerate(checks, 1):
        rows = np.flatnonzero(reason == number)
        if len(rows):
            entries.append(_drops(rows, check, scores, spec))
            if check is CONTAMINATION_BOUND and around.test_texts:
                test_rows = overlaps.test_row[rows]
                entries[-1] = name_test_texts(entries[-1], test_rows, around.test_texts)
            examples += _dropped_examples(check.rule, rows, original, entries[-1], spec)
    cleaned = _with_columns(records, repaired.texts, scores["language"])
    ledger = join_entries([ledger_rows(np.arange(0), DROPPED, ""), *entries], records, first_row)
    return Cleaned(cleaned, pa.table(dict(scores)), reason > 0, protected, ledger, examples)


def is_protected(records: pa.Table, spec: CleanSpec) -> Mask:
    """Return which records are of a source that loses nothing; [n]."""
    return as_mask(pc.is_in(records["source"], pa.array(spec.protect, pa.string())))


@dataclass
class Repaired:
    """What rules that rewrite made of the n texts of a partition."""

    texts: pa.Array
    whole: pa.Array  # the same texts before lines were taken out of them
    entries: list[pa.Table] = field(default_factory=list)  # of the ledger
    examples: list[dict[str, str]] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)  # what was measured on the way

    def take(self, name: str, judgement: Judgement, spec: CleanSpec) -> None:
        """Take over what one rule made of the texts."""
        self.scores |= judgement.scores or {}
        if judgement.text is None:
            return
        rows = np.flatnonzero(as_mask(pc.not_equal(judgement.text, self.texts)))
        if len(rows):
            picked = pa.array(rows)
            before, after = self.texts.take(picked), judgement.text.take(picked)
            self.entries += _changes(name, rows, before, after, judgement.pieces)
            if name != "personal_data":  # an example would show what was redacted, or nothing
                self.examples += _changed_examples(name, before, after, spec)
        self.texts = judgement.text


def repair(texts: pa.Array, records: pa.Table, protected: Mask, spec: CleanSpec) -> Repaired:
    """Apply the rules that rewrite, then those that take lines out of texts."""
    language = records["language"].combine_chunks()
    repaired = Repaired(texts, texts)
    for name, mend in _repairs(records, spec).items():
        repaired.take(name, mend(Columns(repaired.texts, language), spec), spec)
    repaired.whole = repaired.texts
    for name, drop in LINE_RULES.items():
        judged = drop(Columns(repaired.texts, language), spec)
        repaired.take(name, _sparing(protected, repaired.texts, judged), spec)
    return repaired


def _sparing(protected: Mask, texts: pa.Array, judgement: Judgement) -> Judgement:
    """Return what a rule made of texts but for those that lose nothing."""
    if judgement.text is None or not protected.any():
        return judgement
    text = pc.if_else(pa.array(protected), texts, judgement.text)
    pieces = judgement.pieces and judgement.pieces.of_rows(~protected)
    return replace(judgement, text=text, pieces=pieces)


def _changes(
    name: str,
    rows: npt.NDArray[np.int64],
    before: pa.Array,
    after: pa.Array,
    pieces: Pieces | None,
) -> list[pa.Table]:
    """Return a row for each piece that a rule took out, else one for each changed text."""
    entries = []
    if pieces is not None:
        entries.append(
            ledger_rows(pieces.rows, CHANGED, pieces.rule, start=pieces.start, end=pieces.end,
                        threshold=pieces.threshold, detail=pieces.detail)
        )  # fmt: skip
        is_left = ~np.isin(rows, pieces.rows)  # blank lines and the like
        rows, mask = rows[is_left], pa.array(is_left)
        before, after = before.filter(mask), after.filter(mask)
    start, end = changed_spans(before, after)
    return [*entries, ledger_rows(rows, CHANGED, name, start=start, end=end)]


def rule_order(spec: CleanSpec) -> list[str]:
    """Return the names of all rules in the order in which they are applied."""
    own = [found.name for found in spec.rules if found.kind == "rewrite"]
    cut = [rule for unit, rule in PASSAGE_RULES.items() if unit == spec.repeated_passages]
    return [*REPAIRS, *own, *LINE_RULES, *cut, *(check.rule for check in checks_of(spec))]


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


def measure(
    texts: pa.Array, records: pa.Table, spec: CleanSpec, whole: pa.Array | None = None
) -> dict[str, Any]:
    """Return every score of every record, also of those that fail: thresholds may move later.

    ``whole`` holds the texts before lines were taken out of them, if any were.
    """
    columns = Columns(texts, records["language"].combine_chunks())
    judged = judge_language(columns, spec).language
    language = columns.language if judged is None else judged
    return {
        "has_personal_data": _has_personal_data(columns, spec),
        **measure_length(texts),
        **measure_spam(texts),
        "language": language,
        **_measure_documents(texts, texts if whole is None else whole, language, spec),
        **measure_user_rules(spec.rules, texts, _columns_for_users(records)),
    }


def _measure_documents(
    texts: pa.Array, whole: pa.Array, language: pa.Array, spec: CleanSpec
) -> dict[str, Any]:
    """Return the scores of the families that are on: Gopher's before C4, as it came first.

    FineWeb's are those of what C4 leaves, as in the making of FineWeb.
    """
    wanted = {name for name in get_args(Family) if getattr(spec, name)}
    short = spec.fineweb_short_line_characters
    passes = [(whole, wanted)] if whole is texts else [
        (whole, wanted - {"fineweb"}), (texts, wanted & {"fineweb"}),
    ]  # fmt: skip
    scores: dict[str, Any] = {}
    for column, families in passes:
        if families:
            scores |= measure_documents(column, frozenset(families), language, short)
    return scores


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


def _cut_examples(before: pa.Array, after: pa.Array, spec: CleanSpec) -> list[dict[str, str]]:
    rows = pa.array(np.flatnonzero(as_mask(pc.not_equal(after, before)))[:EXAMPLES_PER_RULE])
    rule = PASSAGE_RULES[spec.repeated_passages]
    return _changed_examples(rule, before.take(rows), after.take(rows), spec)


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
    return redact(text, spec.personal_data_kinds) if spec.personal_data != "keep" else text


def _example(rule: str, before: str, after: str) -> dict[str, str]:
    cut = slice(0, _EXAMPLE_CHARACTERS)
    return {"rule": rule, "before": before[cut], "after": after[cut]}


def _first_difference(before: str, after: str) -> int:
    """Return where to begin to show two texts: a little before they differ."""
    pairs = enumerate(zip(before, after, strict=False))
    first = next((place for place, (a, b) in pairs if a != b), min(len(before), len(after)))
    return max(0, first - _EXAMPLE_CONTEXT) if before != after else 0
