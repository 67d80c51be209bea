"""What Gopher, C4 and FineWeb drop in cleaning, and what the ledger says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_sets import data_set

from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError
from workbench.core.laws import FolderRun
from workbench.data.clean.checks import SHIPPED_CHECKS
from workbench.data.clean.repairs import LINE_RULES, REPAIRS
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.undo import UndoSpec
from workbench.data.clean.what_if import WhatIf
from workbench.data.records import partitions, read_records
from workbench.data.rules.c4 import LINE_REASONS
from workbench.data.rules.rule import Bound

ALL = {"gopher_repetition": True, "gopher_quality": True, "c4": True, "fineweb": True}
PROSE = (
    "The committee met again that evening, and nobody had slept well. A decision was needed before "
    "the boats left in the morning. Some members argued that the harbour should be closed until "
    "repairs were done. Others pointed out that fishermen would lose a whole season of work. In "
    "the end they agreed to keep one pier open and to pay for the rest with a small loan. It was "
    "not what anyone had hoped for, but they could live with it."
)
SENTENCE = "The committee met again that evening, and nobody had slept well."
CHINESE = (
    "委员会当天晚上又开会了，没有人睡得好。船只早上离开之前需要做出决定。有些人认为港口应该关闭，"
    "直到修理完成为止。其他人指出，渔民们会失去一整个季节的工作。最后他们同意保留一个码头开放。"
    "这不是大家所希望的，但是他们可以接受。"
)


def cleaned(folder: Path, texts: list[str], **setting: Any) -> dict[str, Artifact]:
    columns = {name: setting.pop(name) for name in ("source", "language") if name in setting}
    inputs = {"comments@latest": data_set(folder, texts, **columns)}
    return FolderRun(folder / "run", inputs).run(CleanSpec(dataset="comments", **setting))


def reasons(made: dict[str, Artifact]) -> list[tuple[Any, ...]]:
    rows = read_records(made["ledger"]).to_pylist()
    return [(r["row"], r["rule"], r["value"], r["threshold"], r["detail"]) for r in rows]


def test_without_a_family_cleaning_measures_what_it_always_did(tmp_path: Path) -> None:
    made = cleaned(tmp_path, ["a few words", PROSE])
    assert pq.read_schema(partitions(made["scores"])[0]).names == [
        "has_personal_data", "num_visible_characters", "num_words", "symbol_share", "repeat_share",
        "language", "rows_back_to_group", "rows_back_to_same_words", "protected",
    ]  # fmt: skip


def test_every_score_that_a_check_looks_at_is_stored_once(tmp_path: Path) -> None:
    names = pq.read_schema(partitions(cleaned(tmp_path, [PROSE], **ALL)["scores"])[0]).names
    assert len(set(names)) == len(names)
    assert {check.score for check in SHIPPED_CHECKS} <= set(names)


def test_no_two_rules_have_one_name() -> None:
    rewriting = [*REPAIRS, *LINE_RULES, *LINE_REASONS.values()]
    dropping = [check.rule for check in SHIPPED_CHECKS]
    assert len(set(rewriting)) == len(rewriting)
    assert len(set(dropping)) == len(dropping)
    assert set(rewriting) & set(dropping) == {"personal_data"}  # which does either


def test_the_guide_names_every_rule_of_a_family_with_its_setting_and_default() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/clean-text.md").read_text()
    told = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in guide.split("\n")
            if line.startswith("| `")]  # fmt: skip
    settings = CleanSpec.model_fields
    assert [
        (row[0], row[2], row[3]) for row in told if row[0][1:-1] not in LINE_REASONS.values()
    ] == [
        (f"`{check.rule}`", f"`{check.field}`", f"{check.sense} {settings[check.field].default}")
        for check in SHIPPED_CHECKS
        if isinstance(check, Bound) and check.switch
    ]
    assert [row[0][1:-1] for row in told][: len(LINE_REASONS)] == [*LINE_REASONS.values()]


def test_running_text_passes_all_families_in_english_and_chinese(tmp_path: Path) -> None:
    made = cleaned(tmp_path, [PROSE, CHINESE], **ALL)
    assert read_records(made["dataset"])["text"].to_pylist() == [PROSE, CHINESE]
    assert reasons(made) == []


@pytest.mark.parametrize(
    ("family", "text", "reason"),
    [
        ("gopher_repetition", "A line that comes again.\n" * 6 + PROSE,
         ("gopher_duplicate_lines", 5 / 7, 0.3, "at most")),
        ("gopher_quality", PROSE[:160], ("gopher_few_words", 28, 50, "at least")),
        ("gopher_quality", PROSE.replace(". ", " # # # "),
         ("gopher_hashes", 5 / 33, 0.1, "at most")),
        ("c4", "One sentence only, which ends.", ("c4_few_sentences", 1, 5, "at least")),
        ("fineweb", "Menu\nHome\nAbout us\n" + PROSE, ("fineweb_short_lines", 0.75, 0.67,
                                                       "at most")),
    ],
)  # fmt: skip
def test_a_drop_tells_what_was_measured_and_the_threshold(
    tmp_path: Path, family: str, text: str, reason: tuple[Any, ...]
) -> None:
    ((_, *told),) = reasons(cleaned(tmp_path, [text], **{family: True}))
    assert [told[0], told[3]] == [reason[0], reason[3]]
    assert told[1:3] == [pytest.approx(reason[1], abs=1e-3), pytest.approx(reason[2])]


def test_stop_words_are_those_of_the_record_s_language(tmp_path: Path) -> None:
    setting: dict[str, Any] = {"gopher_quality": True, "near_duplicate_jaccard": 0,
                               "drop_exact_duplicates": False}  # fmt: skip
    made = cleaned(tmp_path, [PROSE] * 3, language=["en", "de", "tlh"], **setting)
    # Of German words only "in" and "an" can be in it; of Klingon there is no list.
    assert reasons(made) == [(1, "gopher_few_stop_words", 1.0, 2.0, "at least")]


def test_each_line_that_goes_stands_in_the_ledger_with_its_place(tmp_path: Path) -> None:
    text = f"Home | About\n{PROSE[:-1]}[2].\nPlease enable javascript to go on.\nToo short."
    made = cleaned(tmp_path, [text, f"{PROSE.upper()}\n \n"], c4=True, tidy_whitespace=False,
                   drop_exact_duplicates=False, near_duplicate_jaccard=0)  # fmt: skip
    rows = read_records(made["ledger"]).to_pylist()
    places = [
        (r["row"], r["rule"], text[r["start"] : r["end"]], r["threshold"], r["detail"])
        for r in rows
        if r["row"] == 0
    ]
    assert places == [
        (0, "c4_no_terminal_mark", "Home | About", None, None),
        (0, "c4_citation", "[2]", None, None),
        (0, "c4_javascript", "Please enable javascript to go on.", None, None),
        (0, "c4_few_words", "Too short.", 3.0, "at least"),
    ]
    assert [r["rule"] for r in rows if r["row"] == 1] == ["c4_lines"]
    assert made["dataset"].summary["changed"] == {
        "c4_citation": 1, "c4_few_words": 1, "c4_javascript": 1, "c4_lines": 1,
        "c4_no_terminal_mark": 1,
    }  # fmt: skip
    assert read_records(made["dataset"])["text"].to_pylist() == [PROSE, PROSE.upper()]


def test_a_record_counts_once_for_a_rule_whatever_it_loses(tmp_path: Path) -> None:
    made = cleaned(tmp_path, [f"Home\nAbout\n{PROSE}\nContact"], c4=True)
    assert made["dataset"].summary["changed"] == {"c4_no_terminal_mark": 1}
    assert len(reasons(made)) == 3


def test_lines_of_a_protected_source_stay(tmp_path: Path) -> None:
    texts = [f"Home\n{PROSE}", f"About\n{PROSE.lower()}"]
    made = cleaned(tmp_path, texts, source=["test", "web"], protect=["test"], c4=True,
                   near_duplicate_jaccard=0, drop_exact_duplicates=False)  # fmt: skip
    assert read_records(made["dataset"])["text"].to_pylist() == [texts[0], PROSE.lower()]


def test_lines_can_be_taken_back(tmp_path: Path) -> None:
    texts = [f"Home\n{PROSE}", CHINESE]
    original = data_set(tmp_path, texts)
    made = FolderRun(tmp_path / "run", {"comments@latest": original}).run(
        CleanSpec(dataset="comments", c4=True)
    )
    inputs = {"comments@latest": original, "clean@latest": made["dataset"],
              "ledger@latest": made["ledger"]}  # fmt: skip
    spec = UndoSpec(original="comments", cleaned="clean", ledger="ledger",
                    rules=["c4_no_terminal_mark"])  # fmt: skip
    undone = FolderRun(tmp_path / "undo", inputs).run(spec)["dataset"]
    assert read_records(undone)["text"].to_pylist() == texts


def test_thresholds_of_families_that_were_measured_can_be_moved(tmp_path: Path) -> None:
    what_if = WhatIf(cleaned(tmp_path, [SENTENCE, PROSE], gopher_quality=True, c4=True)["scores"])
    assert what_if.decide().dropped == {"gopher_few_words": 1}
    assert what_if.decide(gopher_min_words=5).dropped == {"c4_few_sentences": 1}
    assert what_if.decide(gopher_quality=False, c4_min_sentences=None).dropped == {}
    for name in ("c4", "fineweb_max_newlines", "c4_min_words_per_line"):
        with pytest.raises(SpecError, match="decides more than a threshold"):
            what_if.decide(**{name: None if name != "c4" else False})


def test_c4_scores_count_what_its_lines_held(tmp_path: Path) -> None:
    text = f"{PROSE}\nLorem ipsum dolor sit amet.\nif (x) {{ y(); }} is code."
    made = cleaned(tmp_path, [text], c4=True)
    assert reasons(made)[-1][:4] == (0, "c4_lorem_ipsum", 1.0, 0.0)
    scores = read_records(made["scores"]).to_pylist()[0]
    assert {name: scores[name] for name in scores if name.startswith("c4_")} == {
        "c4_num_sentences": 8, "c4_num_lorem_ipsum_lines": 1, "c4_num_curly_bracket_lines": 1,
    }  # fmt: skip


def test_an_absent_text_and_broken_characters_are_measured() -> None:
    from workbench.data.rules.measure import measure

    texts = pa.array([None, "\ud7ff\U0010ffff", "\x00"], pa.large_string())
    scores = measure(texts, frozenset({"gopher_quality"}), "en")
    assert scores["gopher_num_words"].tolist() == [0, 1, 0]
