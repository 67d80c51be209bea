"""A cleaning as plain values: its rules as a waterfall, and what moved thresholds would change.

Pure throughout; artifacts are opened in ``widgets.cleaning_outputs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from widgets.chart_model import ticks
from widgets.cleaning_threshold import Scale, Threshold
from widgets.fields import number_text
from widgets.rows_model import difference, window
from widgets.visible_text import Pieces, visible, visible_text
from widgets.wording import count, share
from workbench.data.clean.checks import LanguageCheck, UserCheck, checks_of
from workbench.data.clean.partition import rule_order
from workbench.data.clean.repairs import LINE_RULES, REPAIRS
from workbench.data.clean.spec import CleanSpec
from workbench.data.rules.duplicate import EXACT_DUPLICATE, NEAR_DUPLICATE

_MOST_LANGUAGES = 7
_MOST_SOURCES = 6


@dataclass(frozen=True)
class Counts:
    """What a cleaning, or another decision on the same records, comes to."""

    num_read: int
    dropped: Mapping[str, int]
    changed: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_dropped(self) -> int:
        """How many records are dropped, for whatever reason."""
        return sum(self.dropped.values())

    @property
    def num_kept(self) -> int:
        """How many records are kept."""
        return self.num_read - self.num_dropped


@dataclass(frozen=True)
class Movable:
    """What can be moved of a cleaning: its thresholds by rule, each with its scale."""

    thresholds: Mapping[str, Sequence[Threshold]]
    scales: Mapping[str, Scale]  # by the threshold's key; without one it cannot be moved
    languages: Mapping[str, int] = field(default_factory=dict)


def present_rules(
    counts: Counts, proposed: Counts | None, before: CleanSpec, now: CleanSpec, movable: Movable
) -> list[dict[str, Any]]:
    """Return a row for each rule in its order: what it does, how much it drops, what would change.

    ``before`` is the Spec that ran, ``now`` the one with moved thresholds; ``proposed`` what that
    would come to.
    """
    rows = []
    left = counts.num_read
    width = _width(counts, proposed)
    for rule, kind in _ordered(before, counts):
        dropped = 0 if kind == "repair" else counts.dropped.get(rule, 0)
        would = dropped if proposed is None else proposed.dropped.get(rule, 0)
        would = 0 if kind == "repair" else would
        so_far = counts.num_read - left
        left -= dropped
        sides = [
            _present_threshold(threshold, before, now, movable)
            for threshold in movable.thresholds.get(rule, ())
        ]
        rows.append({
            "rule": rule,
            "title": rule.replace("_", " "),
            "kind": kind,
            "keeps": _keeps(rule, kind, movable.thresholds.get(rule, ())),
            "help": next((t.help for t in movable.thresholds.get(rule, ())), ""),
            "thresholds": sides,
            "languages": _languages_setting(before, now, movable) if kind == "language" else None,
            "note": _note(rule, kind, counts, sides),
            "can_switch": any(side["can_be_off"] for side in sides),
            "is_on": kind not in ("check", "score") or any(side["is_on"] for side in sides)
            or not sides,
            "is_off_and_idle": _is_idle(rule, sides, kind, before)
            and not (dropped or would or counts.changed.get(rule)),
            "is_moved": any(side["is_moved"] for side in sides)
            or (kind == "language" and before.languages != now.languages),
            "left": count(left),
            "dropped": count(dropped),
            "num_dropped": dropped,
            "change": _change(dropped - would),
            "bar": {
                "start": so_far / width,
                "same": min(dropped, would) / width,
                "back": max(dropped - would, 0) / width,
                "more": max(would - dropped, 0) / width,
                "end": (so_far + dropped) / width,
            },
        })  # fmt: skip
    return rows


def _ordered(spec: CleanSpec, counts: Counts) -> Iterable[tuple[str, str]]:
    """Yield each rule with its kind, in the order in which they are applied."""
    drops_personal_data = spec.personal_data == "drop"
    kinds = {check.rule: _kind_of(check) for check in checks_of(spec)}
    own = {found.name for found in spec.rules if found.kind == "rewrite"}
    ends = {EXACT_DUPLICATE, NEAR_DUPLICATE}
    # Rules that take lines and passages out name what they took: reasons follow their rule.
    reasons = [rule for rule in counts.changed if rule not in {*rule_order(spec), *ends}]
    seen = set()
    for rule in rule_order(spec):
        is_repair = rule not in kinds or (rule in REPAIRS and not drops_personal_data)
        if rule in seen or (rule == "personal_data" and spec.personal_data == "keep"):
            continue
        seen.add(rule)
        yield rule, "repair" if is_repair or rule in own else kinds[rule]
        if rule in LINE_RULES:
            seen.update(reasons)
            yield from ((reason, "repair") for reason in reasons)
    for rule in (EXACT_DUPLICATE, NEAR_DUPLICATE):
        seen.add(rule)
        yield rule, "duplicate"
    for rule in [*counts.dropped, *counts.changed]:  # of a newer version: shown, not explained
        if rule not in seen:
            seen.add(rule)
            yield rule, "repair" if rule in counts.changed else "other"


def _kind_of(check: Any) -> str:
    if isinstance(check, LanguageCheck):
        return "language"
    return "own" if isinstance(check, UserCheck) else "check"


def _keeps(rule: str, kind: str, thresholds: Sequence[Threshold]) -> str:
    if thresholds:
        sign = "≥" if thresholds[0].sense == "at least" else "≤"
        family = f"{rule.partition('_')[0]}_"
        words = thresholds[0].score.removeprefix(family).removeprefix("num_")
        words = rule if kind == "own" else words
        return f"{words.replace('_', ' ')} {sign}"
    return _KEEPS.get(rule, "a rule of yours" if kind == "own" else "")


_KEEPS = {
    "unicode": "broken characters mended",
    "html": "tags and entities out",
    "whitespace": "one form of white space",
    "personal_data": "mail, phone, IP, card",
    "empty": "anything can be seen",
    "language": "language is one of",
    EXACT_DUPLICATE: "first of the same words",
    NEAR_DUPLICATE: "first of nearly the same",
}


def _note(rule: str, kind: str, counts: Counts, sides: Sequence[Mapping[str, Any]]) -> str:
    if kind == "repair":
        changed = counts.changed.get(rule, 0)
        told = f"{count(changed)} row{'s' if changed > 1 else ''} changed, none dropped"
        return told if changed else "no row changed"
    if kind == "duplicate":
        return "decided anew with each move"
    return "" if sides or kind == "language" else "yes or no, no threshold"


def _is_idle(rule: str, sides: Sequence[Mapping[str, Any]], kind: str, spec: CleanSpec) -> bool:
    """Whether a rule was off, and still is."""
    if rule in LINE_RULES:
        return True
    if kind in ("repair", "duplicate", "language", "own"):
        return False
    if not sides:
        return rule == "personal_data" and spec.personal_data != "drop"
    return not any(side["is_on"] or side["is_moved"] for side in sides)


def _present_threshold(
    threshold: Threshold, before: CleanSpec, now: CleanSpec, movable: Movable
) -> dict[str, Any]:
    was, value = threshold.value(before), threshold.value(now)
    scale = movable.scales.get(threshold.key)
    return {
        "key": threshold.key,
        "sense": threshold.sense,
        "unit": threshold.unit,
        "raw": "" if value is None else number_text(value),
        "was": "off" if was is None else number_text(was),
        "is_moved": was != value,
        "is_on": threshold.is_on(now),
        "can_be_off": threshold.can_be_off,
        "scale": _present_scale(scale, threshold, was, value) if scale else None,
    }


def _present_scale(
    scale: Scale, threshold: Threshold, was: float | None, value: float | None
) -> dict[str, Any]:
    together, bars = scale.bars()
    most = max(bars) or 1
    return {
        "stops": list(scale.stops),
        "at": scale.place(value, threshold.sense),
        "was_at": scale.place(was, threshold.sense),
        "together": together,
        # Roots of the counts: what a threshold is about is the few, not the many.
        "bars": [round((bar / most) ** 0.5, 3) for bar in bars],
        "unknown": count(scale.num_unknown) if scale.num_unknown else "",
    }


def _languages_setting(before: CleanSpec, now: CleanSpec, movable: Movable) -> dict[str, Any]:
    known = sorted(movable.languages.items(), key=lambda item: (-item[1], item[0]))
    return {
        "raw": ", ".join(now.languages),
        "was": ", ".join(before.languages) or "all",
        "can_move": bool(known),
        "known": " · ".join(f"{name} {count(n)}" for name, n in known[:4])
        + (f" · {len(known) - 4} more" if len(known) > 4 else ""),
    }


def _width(counts: Counts, proposed: Counts | None) -> float:
    """Return how many records the waterfall's axis holds."""
    more = 0
    if proposed is not None:
        more = max([0, *(n - counts.dropped.get(rule, 0) for rule, n in proposed.dropped.items())])
    return max((counts.num_dropped + more) * 1.04, 1.0)


def present_axis(counts: Counts, proposed: Counts | None) -> list[dict[str, Any]]:
    """Return the ticks of the waterfall's axis: records dropped so far."""
    width = _width(counts, proposed)
    return [{"at": tick / width, "text": count(tick)} for tick in ticks(0, width, 4)]


def _change(change: int) -> str:
    return f"{change:+,}".replace("-", "−") if change else ""


def present_sum(counts: Counts, num_kept: int, num_in_ledger: int | None) -> dict[str, Any]:
    """Return the account as one line, and whether it is exact."""
    told = counts.num_dropped if num_in_ledger is None else num_in_ledger
    where = "dropped" if num_in_ledger is None else "in the ledger"
    is_exact = counts.num_read == num_kept + told and told == counts.num_dropped
    sign = "=" if is_exact else "≠"
    line = f"{count(counts.num_read)} in {sign} {count(num_kept)} kept + {count(told)} {where}"
    return {"text": line, "is_exact": is_exact}


def present_move(
    counts: Counts, proposed: Counts | None, num_moved: int, gained: int, lost: int, seconds: float
) -> dict[str, Any]:
    """Return what moved thresholds would come to, in words."""
    if proposed is None or not num_moved:
        return {"num_moved": 0}
    return {
        "num_moved": num_moved,
        "title": f"{num_moved} settings moved" if num_moved > 1 else "One setting moved",
        "from": count(counts.num_kept),
        "to": count(proposed.num_kept),
        "gained": count(gained),
        "lost": count(lost),
        "took": f"{seconds * 1000:.0f} ms" if seconds >= 0.0015 else "a millisecond",
    }


def present_facts(
    report: Mapping[str, Any] | None, counts: Counts, jaccards: Sequence[tuple[float, int]] | None
) -> dict[str, Any]:
    """Return languages, lengths, sources and duplicates of a cleaning as bars."""
    report = report or {}
    dropped = counts.dropped
    return {
        "languages": _language_bars(report.get("languages", {})),
        "lengths": _length_bars(report.get("lengths", [])),
        "sources": _source_bars(report.get("sources", {})),
        "duplicates": {
            "exact": count(dropped.get(EXACT_DUPLICATE, 0)),
            "near": count(dropped.get(NEAR_DUPLICATE, 0)),
            "share": share(_duplicates(dropped) / counts.num_read) if counts.num_read else "0 %",
            "bars": _jaccard_bars(jaccards or ()),
        },
    }


def _duplicates(dropped: Mapping[str, int]) -> int:
    return dropped.get(EXACT_DUPLICATE, 0) + dropped.get(NEAR_DUPLICATE, 0)


def _bars(items: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    most = max((number for _, number in items), default=0) or 1
    return [
        {"name": name, "share": number / most, "count": count(number)} for name, number in items
    ]


def _language_bars(languages: Mapping[str, int]) -> list[dict[str, Any]]:
    items = list(languages.items())
    rest = sum(number for _, number in items[_MOST_LANGUAGES:])
    others = [(f"{len(items) - _MOST_LANGUAGES} others", rest)] if rest else []
    return _bars([*items[:_MOST_LANGUAGES], *others])


def _length_bars(lengths: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    return _bars([(_span(first, last), number) for first, last, number in lengths])


def _span(first: int, last: int) -> str:
    if last < 0:
        return f"{first:,}+"
    return f"{first:,}" if first == last else f"{first:,}–{last:,}"


def _source_bars(sources: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    items = sorted(sources.items(), key=lambda item: -item[1][0])
    return [
        {"name": name, "share": kept / max(read, 1), "count": f"{count(read)} → {count(kept)}"}
        for name, (read, kept) in items[:_MOST_SOURCES]
    ]


def _jaccard_bars(jaccards: Sequence[tuple[float, int]]) -> list[float]:
    most = max((number for _, number in jaccards), default=0)
    return [round(number / most, 3) if most else 0.0 for _, number in jaccards]


# -- texts ----------------------------------------------------------------------------------------


def present_example(example: Mapping[str, str]) -> dict[str, Any]:
    """Return an example of the report: before and after, or why it was dropped."""
    told = {"rule": example["rule"].replace("_", " ")}
    if example["after"].startswith("dropped: "):
        return {**told, "before": visible_text(example["before"]), "after": [],
                "note": example["after"]}  # fmt: skip
    return {**told, **compared(example["before"], example["after"]), "note": ""}


def compared(before: str, after: str) -> dict[str, Pieces]:
    """Return two texts as visible pieces, with what differs marked."""
    left, right = difference(*window(before, after))
    return {"before": visible(left), "after": visible(right)}


def present_record(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record that another decision would keep or drop."""
    text = told["text"]
    return {
        "id": told["id"],
        "rule": told["rule"].replace("_", " "),
        "text": visible_text(text) if text is not None else [],
        "note": "" if text is not None else "its text is gone",
    }
