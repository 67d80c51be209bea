"""The live view of a cleaning: its account, moved thresholds, ledger, undo, and what is gone."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sets import data_set
from folder_cleaning import FolderCleaning, FolderWorkspace, clean_in_folder
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from widgets.cleaning import CleaningView
from widgets.cleaning_outputs import open_outputs
from widgets.cleaning_session import CleaningSession
from widgets.cleaning_threshold import Threshold, read_value, scale_of, thresholds_of
from widgets.ledger_table import PAGE_ROWS, LedgerTable
from widgets.visible_text import SIGN, visible, visible_text
from workbench.core.errors import DataError, RunPaused, SpecError
from workbench.core.laws import FolderRun
from workbench.data.clean.so_far import PartReader
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.undo import UndoSpec
from workbench.data.records import read_records
from workbench.data.rules.user_rule import rule

HOSTILE = "<img src=x onerror=alert(1)> \u202eevil and\x00 more words here"
TEXTS = [
    "Caf\u00c3\u00a9 by the river is open again today",
    "Caf\u00e9 by the river is open again today",  # once it is mended, the same
    "one two",
    "too short",
    HOSTILE,
    "!!! ??? !!! yes",
    "write to ann.lee@mail.example.org about the bridge",
    "The board said on time and the tram said nothing at all to anybody",
    "the board said on time and the tram said nothing at all to anybody!",
    "Die Stra\u00dfe ist schon wieder gesperrt, und niemand wei\u00df warum",
]


@pytest.fixture
def run(tmp_path: Path) -> FolderCleaning:
    texts = data_set(tmp_path, TEXTS, partition_rows=4)
    return clean_in_folder(tmp_path / "workspace", texts, min_words=3, languages=["en"])


@contextmanager
def shown(run: FolderCleaning) -> Iterator[CleaningView]:
    view = CleaningView(run)  # type: ignore[arg-type]
    yield view
    view.close()


def ask(view: CleaningView, intent: str, **message: Any) -> dict[str, Any]:
    """Ask as a page does; return what is shown of the cleaning then."""
    view._receive(view, {"intent": intent, **message}, [])
    return dict(view.snapshot["cleaning"])


def change(view: CleaningView, name: str, raw: Any) -> dict[str, Any]:
    return ask(view, "change", name=name, raw=raw, edit=1)


def until(claim: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rule_row(cleaning: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in cleaning["rules"] if row["rule"] == name)


def text_of(pieces: list[Any]) -> str:
    return "".join(text for _, text in pieces)


# -- the account ----------------------------------------------------------------------------------


def test_every_row_in_is_kept_or_in_the_ledger(run: FolderCleaning) -> None:
    with shown(run) as view:
        cleaning = view.snapshot["cleaning"]
    kept = read_records(run.results["dataset"]).num_rows
    dropped = {row["rule"]: row["num_dropped"] for row in cleaning["rules"] if row["num_dropped"]}
    assert dropped == {"too_few_words": 3, "language": 1, "exact_duplicate": 2}
    assert kept + sum(dropped.values()) == len(TEXTS)
    assert cleaning["sum"] == {"text": "10 in = 4 kept + 6 in the ledger", "is_exact": True}
    assert [row["left"] for row in cleaning["rules"]][-1] == "4"
    json.dumps(cleaning)


def test_an_account_that_does_not_add_up_says_so(run: FolderCleaning) -> None:
    outputs = open_outputs(run)  # type: ignore[arg-type]
    outputs.report = {**outputs.report, "rows_out": 5}  # type: ignore[dict-item]
    told = CleaningSession(outputs).content()["sum"]
    assert told == {"text": "10 in ≠ 5 kept + 6 in the ledger", "is_exact": False}


def test_the_waterfall_ends_where_the_drops_do(run: FolderCleaning) -> None:
    with shown(run) as view:
        rows = change(view, "threshold:min_words", "5")["rules"]
    ends = [row["bar"]["end"] for row in rows]
    assert ends == sorted(ends) and all(0 <= end <= 1 for end in ends)
    for row in rows:
        bar = row["bar"]
        assert bar["start"] + bar["same"] + bar["back"] == pytest.approx(bar["end"])


def test_examples_mark_what_changed_and_show_what_cannot_be_seen(run: FolderCleaning) -> None:
    with shown(run) as view:
        examples = view.snapshot["cleaning"]["examples"]["report"]
        record = view.record()
    mended = next(example for example in examples if example["rule"] == "unicode")
    assert ["removed", "Caf\u00c3\u00a9"] in [list(piece) for piece in mended["before"]]
    assert ["added", "Caf\u00e9"] in [list(piece) for piece in mended["after"]]
    assert HOSTILE[:20] not in record and "&lt;img" in record
    assert "\x00" not in record and "\u202e" not in record


def test_languages_lengths_and_duplicates_are_told(run: FolderCleaning) -> None:
    with shown(run) as view:
        facts = view.snapshot["cleaning"]["facts"]
    assert facts["duplicates"] | {"bars": []} == {
        "exact": "2", "near": "0", "share": "20 %", "bars": [],
    }  # fmt: skip
    assert "en" in {bar["name"] for bar in facts["languages"]}
    assert facts["sources"] == [{"name": "test", "share": 0.4, "count": "10 → 4"}]
    assert sum(int(bar["count"]) for bar in facts["lengths"]) == 4


# -- thresholds -----------------------------------------------------------------------------------


def test_a_moved_threshold_is_decided_as_the_new_run_decides(run: FolderCleaning) -> None:
    with shown(run) as view:
        change(view, "slide:min_words", "2")
        moved = change(view, "languages", "en de")
        assert moved["move"]["from"] == "4" and rule_row(moved, "too_few_words")["is_moved"]
        assert moved["copy"]["command"].endswith('--min-words 2 --languages \'["en", "de"]\'')
        ask(view, "rerun")
        until(lambda: view.snapshot["child"] and view.snapshot["child"]["state"] == "succeeded")
        again = ask(view, "open_child")
    (spec,) = run.workspace.submitted[1:]
    assert spec == CleanSpec(dataset=run.spec.dataset, min_words=2, languages=["en", "de"])
    assert again["kept"] == moved["move"]["to"] and again["sum"]["is_exact"]
    assert {row["rule"]: row["num_dropped"] for row in again["rules"]} == {
        row["rule"]: row["num_dropped"] - signed(row["change"]) for row in moved["rules"]
    }


def signed(change: str) -> int:
    return int(change.replace("−", "-").replace(",", "") or 0)


def test_records_that_would_change_are_shown_with_their_rule(run: FolderCleaning) -> None:
    with shown(run) as view:
        change(view, "threshold:min_words", "0")
        change(view, "threshold:max_words", "9")
        until(lambda: view.snapshot["cleaning"]["examples"]["is_settled"])
        examples = view.snapshot["cleaning"]["examples"]
    assert {text_of(r["text"]) for r in examples["gained"]} >= {"one two", "too short"}
    assert {r["rule"] for r in examples["gained"]} == {"too few words"}
    assert {r["rule"] for r in examples["lost"]} == {"too many words"}


def test_reset_goes_back_to_what_ran(run: FolderCleaning) -> None:
    with shown(run) as view:
        before = view.snapshot["cleaning"]
        assert change(view, "switch:symbols", False)["move"]["num_moved"] == 1
        assert ask(view, "reset")["rules"] == before["rules"]
        assert view.snapshot["cleaning"]["move"] == {"num_moved": 0}


def test_a_wrong_value_is_told_and_moves_nothing(run: FolderCleaning) -> None:
    with shown(run) as view:
        cleaning = change(view, "threshold:min_words", "many")
        assert "'many' is not a number" in view.snapshot["notice"]
        assert cleaning["move"] == {"num_moved": 0}
        change(view, "threshold:max_symbol_share", "2")
        assert view.snapshot["notice"] != "" and view.snapshot["cleaning"]["move"]["num_moved"] == 0
        ask(view, "rerun")
        assert "No setting was moved" in view.snapshot["notice"]
        change(view, "threshold:max_words", "7")
        assert view.snapshot["notice"] == ""


def test_a_bound_of_an_own_rule_can_be_moved(tmp_path: Path) -> None:
    @rule(at_most=3)
    def num_vowels(text: str) -> int:
        return sum(letter in "aeiou" for letter in text)

    run = clean_in_folder(tmp_path / "w", data_set(tmp_path, ["bcd", "a" * 5, "axe"]),
                          rules=[num_vowels])  # fmt: skip
    with shown(run) as view:
        row = rule_row(view.snapshot["cleaning"], "num_vowels")
        assert row["keeps"] == "num vowels ≤" and row["num_dropped"] == 1
        moved = change(view, "slide:rules.num_vowels.at_most", "5")
        assert rule_row(moved, "num_vowels")["change"] == "+1"
        assert ask(view, "reset")["move"] == {"num_moved": 0}


@given(
    scores=arrays(np.int32, st.integers(1, 60), elements=st.integers(0, 400))
    | arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 1, width=32))
    | arrays(np.float32, st.integers(1, 60), elements=st.floats(-50, 900, width=32)),
    sense=st.sampled_from(["at least", "at most"]),
    present=st.none() | st.integers(0, 400),
)
def test_the_bars_beside_a_threshold_count_what_it_would_drop(
    scores: Any, sense: Any, present: int | None
) -> None:
    threshold = Threshold("x", "x", "x", sense, field="x")
    scale = scale_of(scores, threshold, present)
    assert sum(scale.counts) == len(scores)
    assert sum(scale.bars()[1]) == len(scores)
    for at, stop in enumerate(scale.stops):
        bound = np.asarray(stop).astype(scores.dtype)
        failing = scores < bound if sense == "at least" else scores > bound
        told = scale.counts[:at] if sense == "at least" else scale.counts[at + 1 :]
        is_outermost = at == (0 if sense == "at least" else len(scale.stops) - 1)
        assert sum(told) == failing.sum() or is_outermost


@given(spec=st.builds(CleanSpec, dataset=st.just("a@b"), min_words=st.integers(0, 9),
                      max_symbol_share=st.floats(0, 1), gopher_quality=st.booleans()))  # fmt: skip
def test_each_threshold_can_be_read_moved_and_put_back(spec: CleanSpec) -> None:
    for sides in thresholds_of(spec).values():
        for threshold in sides:
            value = threshold.value(spec)
            assert threshold.moved(spec, value) == spec or value is None
            if threshold.can_be_off:
                off = threshold.moved(spec, None)
                assert not threshold.is_on(off)
                assert (
                    threshold.moved(off, value).canonical_json()
                    == (spec if value is not None else off).canonical_json()
                )


def test_nothing_typed_turns_a_threshold_off() -> None:
    threshold = thresholds_of(CleanSpec(dataset="a@b"))["too_many_words"][0]
    assert read_value(threshold, " ") is None and read_value(threshold, "1,000") == 1000.0
    with pytest.raises(SpecError, match="is not a number"):
        read_value(threshold, "nan")


# -- the ledger and undo --------------------------------------------------------------------------


def test_the_ledger_is_found_by_rule_and_by_record_a_page_at_a_time(tmp_path: Path) -> None:
    texts = [f"w{number}" for number in range(30)] + ["this one is long enough"]
    run = clean_in_folder(tmp_path / "w", data_set(tmp_path, texts, partition_rows=7), min_words=2)
    table = LedgerTable(run.results["ledger"])
    whole = read_records(run.results["ledger"]).to_pylist()
    pages = [table.page(number) for number in range(4)]
    assert [entry for page in pages for entry in page.entries] == whole
    assert [len(page.entries) for page in pages] == [PAGE_ROWS, PAGE_ROWS, PAGE_ROWS, 6]
    assert table.page(99) == pages[-1]
    assert table.page(0, search=whole[9]["id"]).entries == [whole[9]]
    assert table.page(0, search="few_wo").num_found == 30
    assert table.page(0, rule="symbols").num_found == 0
    with shown(run) as view:
        found = change(view, "ledger-search", whole[9]["id"][:5])["ledger"]
        assert found["rows"][0]["id"] == whole[9]["id"]
        assert len(change(view, "ledger-search", "")["ledger"]["rows"]) == PAGE_ROWS
        assert ask(view, "page", number="3")["ledger"]["range"] == "25–30 of 30"


def test_a_duplicate_stands_beside_its_keeper(run: FolderCleaning) -> None:
    with shown(run) as view:
        rows = ask(view, "rule", name="exact_duplicate")["ledger"]["rows"]
    assert [(row["jaccard"], text_of(row["after"])) for row in rows] == [
        ("1.00", TEXTS[0]), ("1.00", TEXTS[7]),
    ]  # fmt: skip
    assert all(row["keeper"] for row in rows)


def test_personal_data_stays_out_of_the_page(run: FolderCleaning) -> None:
    with shown(run) as view:
        (row,) = ask(view, "rule", name="personal_data")["ledger"]["rows"]
        assert text_of(row["after"]) == "write to <mail> about the bridge"
        assert "ann.lee" not in json.dumps(view.snapshot) + view.record()


def test_chosen_drops_come_back_byte_for_byte(run: FolderCleaning) -> None:
    with shown(run) as view:
        ask(view, "rule", name="too_few_words")
        row = view.snapshot["cleaning"]["ledger"]["rows"][0]
        ask(view, "restore", id=row["id"])
        cleaning = ask(view, "restore_rule", name="language")
        assert cleaning["undo"] == {"num_chosen": 2, "text": "all of language, 1 single record"}
        assert cleaning["copy"]["command"].startswith("workbench run undo")
        ask(view, "undo")
        assert ask(view, "keep_dropped")["undo"]["num_chosen"] == 0
    spec = run.workspace.submitted[-1]
    assert isinstance(spec, UndoSpec) and spec.rules == ["language"] and spec.ids == [row["id"]]
    (back,) = (a for a in run.workspace.artifacts.values() if a.summary.get("restored") is not None)
    assert {TEXTS[2], TEXTS[9]} <= set(read_records(back)["text"].to_pylist())


def test_an_undo_of_nothing_is_refused(run: FolderCleaning) -> None:
    with shown(run) as view:
        ask(view, "undo")
        assert "Nothing is chosen to come back" in view.snapshot["notice"]
    assert len(run.workspace.submitted) == 1


# -- what is gone, and what is not there yet ------------------------------------------------------


@pytest.mark.parametrize("gone", ["ledger", "scores", "report", "dataset", "original"])
def test_an_artifact_that_is_gone_is_told_and_the_rest_is_shown(
    gone: str, run: FolderCleaning
) -> None:
    workspace = run.workspace
    reference = run.spec.dataset if gone == "original" else run.results[gone].reference
    kind = "report" if gone == "report" else "dataset"
    workspace.forget(workspace.artifact(reference, kind))
    with shown(run) as view:
        cleaning = view.snapshot["cleaning"]
        assert [missing["name"] for missing in cleaning["missing"]] == [gone]
        assert gone in view.record()
        assert {row["rule"]: row["num_dropped"] for row in cleaning["rules"]}["language"] == 1
        assert cleaning["can_move"] == (gone != "scores")
        assert (cleaning["ledger"] is None) == (gone == "ledger")
        change(view, "threshold:min_words", "1")
        if gone == "scores":
            assert "The scores are gone" in view.snapshot["notice"]


def test_files_that_are_gone_are_told_too(run: FolderCleaning) -> None:
    shutil.rmtree(run.results["scores"].path)
    with shown(run) as view:
        assert view.snapshot["cleaning"]["missing"][0]["loss"] == "No threshold can be moved."


def test_a_run_that_goes_on_shows_the_parts_that_are_done(tmp_path: Path) -> None:
    texts = data_set(tmp_path, TEXTS, partition_rows=5)
    spec = CleanSpec(dataset=texts.reference, min_words=3)
    workspace = FolderWorkspace(tmp_path / "workspace", texts)
    folder = workspace.root / "runs" / "r-1"
    run = FolderCleaning(workspace, "r-1", spec, {})
    with shown(run) as view:
        assert view.snapshot["cleaning"] is None and view.snapshot["so_far"]["num_parts"] == 0
        inputs = {texts.reference: texts}
        with pytest.raises(RunPaused):
            FolderRun(folder, inputs, pause_after=1).run(spec)
        view.refresh()
        so_far = view.snapshot["so_far"]
        assert (so_far["num_read"], so_far["num_left"], so_far["num_parts"]) == ("5", "3", 1)
        assert rule_row(so_far, "too_few_words")["num_dropped"] == 2
        assert "so far 5 records" in view.record()
        whole = FolderRun(folder, inputs).run(spec)
        assert PartReader(folder / "checkpoints").read().num_read == len(TEXTS)
        workspace.artifacts |= {(a.kind, a.reference): a for a in whole.values()}
        run.results = whole
        until(lambda: view.snapshot["cleaning"] is not None)
        assert view.snapshot["cleaning"]["sum"]["is_exact"]


def test_another_stages_run_is_refused(tmp_path: Path) -> None:
    spec = UndoSpec(original="a@b", cleaned="b@c", ledger="c@d")
    run = FolderCleaning(FolderWorkspace(tmp_path), "r-1", spec, {})
    with pytest.raises(DataError, match="not a cleaning"):
        CleaningView(run)  # type: ignore[arg-type]


# -- texts ----------------------------------------------------------------------------------------


@given(text=st.text(max_size=40))
def test_no_unseen_sign_is_left_in_a_shown_text(text: str) -> None:
    shown = visible([("same", text)])
    for kind, part in shown:
        assert part
        if kind == "same":
            assert not set(part) & set("\x00\x1b\u202e\u200b\n\t") and part in text
        else:
            assert kind == f"same{SIGN}"
    assert visible_text("a\tb\u202ec")[1:4] == [("same sign", "⇥"), ("same", "b"), ("same sign", "U+202E")]  # noqa: E501  # fmt: skip
