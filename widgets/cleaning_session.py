"""A cleaning being looked at: thresholds moved, drops to take back, a page of its ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from widgets.cleaning_model import (
    Counts,
    Movable,
    present_axis,
    present_example,
    present_facts,
    present_move,
    present_record,
    present_rules,
    present_sum,
)
from widgets.cleaning_outputs import CleaningOutputs
from widgets.cleaning_texts import CleaningTexts
from widgets.cleaning_threshold import Threshold, read_value, scale_of, thresholds_of
from widgets.ledger_model import filters_of, present_page
from widgets.ledger_table import LedgerPage
from widgets.view import Intent
from widgets.wording import count, share
from workbench.core.copy_as import as_command, as_papermill, as_python
from workbench.core.errors import SpecError
from workbench.core.spec import Spec
from workbench.data.clean.ledger import DROPPED
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.undo import UndoSpec
from workbench.data.clean.what_if import Decision
from workbench.data.records import partitions

THRESHOLD, SLIDER, SWITCH = "threshold:", "slide:", "switch:"
LANGUAGES, SEARCH, RULE = "languages", "ledger-search", "ledger-rule"

PageTexts = dict[str, dict[int, Any]]


class CleaningSession:
    """What a person does with a finished cleaning; nothing is run until it is submitted."""

    def __init__(self, outputs: CleaningOutputs) -> None:
        self.outputs = outputs
        self.spec = self.now = outputs.spec
        self.answered = 0
        self._texts = CleaningTexts(outputs)
        self._decision: Decision | None = None
        self._seconds = 0.0
        self._examples: dict[str, Any] = {"gained": [], "lost": []}
        self._explained: Decision | None = None
        self._thresholds = thresholds_of(self.spec)
        self._rule, self._search, self._page = "", "", 0
        self._shown_page: tuple[tuple[str, str, int], LedgerPage, PageTexts] | None = None
        self._undo_rules: dict[str, None] = {}  # in the order they were chosen
        self._undo_ids: dict[str, None] = {}
        self._is_undoing = False  # what "copy as" tells of: undo, or the cleaning

    # -- what is shown ----------------------------------------------------------------------------

    def content(self) -> dict[str, Any]:
        """Return all that a view shows of the cleaning."""
        counts, proposed = self._counts, self._proposed
        ledger = self.outputs.ledger
        num_in_ledger = sum(ledger.counts[DROPPED].values()) if ledger else None
        num_kept = int((self.outputs.report or {}).get("rows_out", counts.num_kept))
        gained, lost = self._changes()
        return {
            "reference": self.spec.dataset,
            "read": count(counts.num_read),
            "kept": count(num_kept),
            "kept_share": num_kept / max(counts.num_read, 1),
            "kept_percent": share(num_kept / max(counts.num_read, 1)),
            "rules": present_rules(counts, proposed, self.spec, self.now, self._movable),
            "axis": present_axis(counts, proposed),
            "sum": present_sum(counts, num_kept, num_in_ledger),
            "move": present_move(counts, proposed, len(self._moved()), gained, lost, self._seconds),
            "can_move": self.outputs.what_if is not None,
            "examples": self._present_examples(),
            "facts": self._facts,
            "ledger": self._ledger(),
            "undo": self._undo(),
            "copy": self._copy(),
            "missing": self.outputs.missing,
        }

    @cached_property
    def _counts(self) -> Counts:
        ledger, report = self.outputs.ledger, self.outputs.report
        if report is not None:
            return Counts(int(report["rows_in"]), report["dropped"], report["changed"])
        if self.outputs.what_if is not None:
            decision = self.outputs.what_if.decide()
            changed = ledger.changed_records if ledger else {}
            return Counts(self.outputs.what_if.num_rows, decision.dropped, changed)
        dropped = ledger.counts[DROPPED] if ledger else {}
        changed = ledger.changed_records if ledger else {}
        num_kept = 0
        if self.outputs.dataset is not None:
            files = partitions(self.outputs.dataset)
            num_kept = sum(pq.read_metadata(path).num_rows for path in files)
        return Counts(num_kept + sum(dropped.values()), dropped, changed)

    @property
    def _proposed(self) -> Counts | None:
        if self._decision is None:
            return None
        return Counts(self._counts.num_read, self._decision.dropped)

    @cached_property
    def _movable(self) -> Movable:
        what_if = self.outputs.what_if
        if what_if is None:
            return Movable(self._thresholds, {})
        known = what_if.movable().values()
        scales = {
            side.key: scale_of(what_if.scores(side.score), side, side.value(self.spec))
            for sides in self._thresholds.values()
            for side in sides
            if side.score in known
        }
        return Movable(self._thresholds, scales, self._languages())

    def _languages(self) -> dict[str, int]:
        """Return how many records are in each language, before any is dropped."""
        assert self.outputs.scores is not None
        found: dict[str, int] = {}
        for path in partitions(self.outputs.scores):
            column = pq.read_table(path, columns=["language"])["language"]
            for entry in pc.value_counts(column).to_pylist():
                name = entry["values"] or "unknown"
                found[name] = found.get(name, 0) + entry["counts"]
        return found

    @cached_property
    def _facts(self) -> dict[str, Any]:
        bars = None
        if self.outputs.ledger is not None:
            numbers, edges = self.outputs.ledger.jaccards()
            bars = list(zip(edges.tolist(), numbers.tolist(), strict=False))
        return present_facts(self.outputs.report, self._counts, bars)

    @cached_property
    def _report_examples(self) -> list[dict[str, Any]]:
        return [
            present_example(example) for example in (self.outputs.report or {}).get("examples", [])
        ]

    def _present_examples(self) -> dict[str, Any]:
        return {
            "report": self._report_examples,
            "gained": [present_record(record) for record in self._examples["gained"]],
            "lost": [present_record(record) for record in self._examples["lost"]],
            "is_settled": self._explained is self._decision,
        }

    def _changes(self) -> tuple[int, int]:
        if self._decision is None:
            return 0, 0
        return len(self._decision.gained), len(self._decision.lost)

    def _ledger(self) -> dict[str, Any] | None:
        ledger = self.outputs.ledger
        if ledger is None:
            return None
        wanted = (self._rule, self._search, self._page)
        if self._shown_page is None or self._shown_page[0] != wanted:
            page = ledger.page(self._page, self._rule, self._search)
            rows = [int(entry["row"]) for entry in page.entries]
            texts: PageTexts = {
                "before": self._texts.before(rows),
                "after": self._texts.after(rows),
                "keeper": self._texts.keepers(page.entries),
            }
            self._shown_page = (wanted, page, texts)
        return {
            **present_page(*self._shown_page[1:], self._undo_ids, self._undo_rules),
            "filters": filters_of(ledger.counts, self._rule),
            "num_of_rule": sum(by_rule.get(self._rule, 0) for by_rule in ledger.counts.values()),
            "rule": self._rule,
            "search": self._search,
            "is_rule_chosen": self._rule in self._undo_rules,
            "can_undo": self._can_undo,
        }

    @property
    def _can_undo(self) -> bool:
        found = self.outputs
        return None not in (found.original, found.dataset, found.ledger)

    def _undo(self) -> dict[str, Any]:
        told = [f"all of {rule.replace('_', ' ')}" for rule in self._undo_rules]
        if self._undo_ids:
            num = len(self._undo_ids)
            told.append(f"{num:,} single record{'s' if num > 1 else ''}")
        return {"num_chosen": len(told), "text": ", ".join(told)}

    def _copy(self) -> dict[str, str]:
        spec = self.undo_spec() if self._is_undoing else self.now
        return {
            "of": "undo" if self._is_undoing else "clean",
            "python": as_python(spec),
            "command": as_command(spec),
            "papermill": as_papermill(spec),
        }

    # -- what a person asks -----------------------------------------------------------------------

    def intents(self) -> dict[str, Intent]:
        """Return what a page can ask of the cleaning, by name."""
        return {
            "change": self.change,
            "reset": lambda _: self._move_to(self.spec),
            "rule": lambda message: self._narrow(rule=message["name"]),
            "page": lambda message: self._turn(int(message["number"])),
            "restore": lambda message: self._choose(self._undo_ids, message["id"]),
            "restore_rule": lambda message: self._choose(self._undo_rules, message["name"]),
            "keep_dropped": lambda _: self._forget_undo(),
            "copy_of": lambda message: self._tell_of(message["value"]),
        }

    def change(self, message: Mapping[str, Any]) -> None:
        """Put what was typed or dragged into its place.

        Raises:
            SpecError: it is no value that the setting may have; nothing has changed then.
        """
        self.answered = int(message.get("edit", self.answered))
        name, raw = str(message["name"]), message["raw"]
        if name.startswith((THRESHOLD, SLIDER)):
            threshold = self._threshold(name.partition(":")[2])
            self._move_to(threshold.moved(self.now, read_value(threshold, str(raw))))
        elif name.startswith(SWITCH):
            self._switch(name.removeprefix(SWITCH), bool(raw))
        elif name == LANGUAGES:
            wanted = [part.strip() for part in str(raw).replace(",", " ").split()]
            self._move_to(CleanSpec.parse({**self.now.model_dump(), "languages": wanted}))
        elif name == SEARCH:
            self._narrow(search=str(raw))
        elif name == RULE:
            self._narrow(rule=str(raw))

    def explain(self) -> bool:
        """Read a few of the records that the newest decision changes; False: none was new."""
        decision = self._decision
        if decision is self._explained:
            return False
        examples = {"gained": [], "lost": []} if decision is None else self._texts.explain(decision)
        if decision is self._decision:
            self._examples, self._explained = examples, decision
        return True

    def undo_spec(self) -> UndoSpec:
        """Return what takes the chosen drops back; with nothing chosen, all of them."""
        record = self.outputs
        return UndoSpec(
            original=self.spec.dataset,
            cleaned=record.dataset.reference if record.dataset else "",
            ledger=record.ledger_reference,
            rules=list(self._undo_rules),
            ids=list(self._undo_ids),
        )

    def submission(self, wish: str) -> Spec:
        """Return the Spec to submit: of the cleaning with moved thresholds, or of the undo.

        Raises:
            SpecError: nothing was moved, or nothing chosen.
        """
        if wish == "rerun" and self.now == self.spec:
            raise SpecError("No setting was moved", where="cleaning",
                            next_step="Move one, then run again.")  # fmt: skip
        if wish == "undo" and not (self._undo_rules or self._undo_ids):
            raise SpecError("Nothing is chosen to come back", where="cleaning",
                            next_step="Press Restore beside a row of the ledger.")  # fmt: skip
        return self.undo_spec() if wish == "undo" else self.now

    def _move_to(self, spec: CleanSpec) -> None:
        what_if = self.outputs.what_if
        if what_if is None:
            raise SpecError("The scores are gone: nothing can be decided anew", where="cleaning",
                            next_step="Run clean again; its scores come with it.")  # fmt: skip
        moved = {name: getattr(spec, name) for name in what_if.movable()}
        began = time.perf_counter()
        decision = what_if.decide(**moved)
        self._seconds = time.perf_counter() - began
        self.now, self._is_undoing = spec, False
        self._decision = decision if spec != self.spec else None

    def _threshold(self, key: str) -> Threshold:
        for sides in self._thresholds.values():
            for threshold in sides:
                if threshold.key == key:
                    return threshold
        raise SpecError(f"There is no threshold {key!r}", where="cleaning")

    def _switch(self, rule: str, is_on: bool) -> None:
        spec = self.now
        for threshold in self._thresholds.get(rule, ()):
            was = threshold.value(self.spec)
            # On again where it stood when it ran, or, off then, where it is typed or dragged to.
            back = was if threshold.is_on(self.spec) else self._default(threshold)
            spec = threshold.moved(spec, back if is_on else None)
        self._move_to(spec)

    def _default(self, threshold: Threshold) -> float | None:
        if not threshold.field:
            return None
        default = CleanSpec.model_fields[threshold.field].get_default()
        return None if default is None else float(default)

    def _moved(self) -> list[str]:
        return [
            name for name in CleanSpec.model_fields
            if getattr(self.now, name) != getattr(self.spec, name)
        ]  # fmt: skip

    def _narrow(self, rule: str | None = None, search: str | None = None) -> None:
        self._rule = self._rule if rule is None else rule
        self._search = self._search if search is None else search
        self._page = 0

    def _turn(self, number: int) -> None:
        self._page = max(number, 0)

    def _choose(self, chosen: dict[str, None], name: str) -> None:
        if name in chosen:
            del chosen[name]
        else:
            chosen[name] = None
        self._is_undoing = bool(self._undo_rules or self._undo_ids)

    def _forget_undo(self) -> None:
        self._undo_rules, self._undo_ids, self._is_undoing = {}, {}, False

    def _tell_of(self, what: str) -> None:
        self._is_undoing = what == "undo" and self._can_undo
