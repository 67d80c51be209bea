"""What cleaning does with what records share: passages, test sets, and groups of duplicates."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_sets import data_set

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, RunPaused, SpecError
from workbench.core.laws import FolderRun
from workbench.core.registry import load_stage
from workbench.data.clean.ledger import reason_words
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.undo import UndoSpec
from workbench.data.clean.what_if import WhatIf
from workbench.data.records import read_records

MENU = "Home | News | Sports | Subscribe to our newsletter"
NOTICE = "We use cookies on this site.\nBy going on you agree to that."
STORIES = [
    "The council met on Monday and spoke of the bridge for four hours.",
    "A ferry to the islands was late by two days, and nobody knows why.",
    "Apples are dear this autumn as it rained through all of the spring.",
]
QUESTION = "Which river flows through the town where the bridge was built in the year of the flood?"


def clean(
    folder: Path, texts: list[str], others: dict[str, Artifact] | None = None,
    columns: dict[str, Any] | None = None, **setting: Any,
) -> tuple[list[str], list[dict[str, Any]], dict[str, Artifact]]:  # fmt: skip
    """Return kept texts, rows of the ledger, and all that a run made."""
    inputs = {"pages@latest": data_set(folder, texts, **(columns or {})), **(others or {})}
    outputs = FolderRun(folder / "run", inputs).run(CleanSpec(dataset="pages", **setting))
    kept = read_records(outputs["dataset"])["text"].to_pylist()
    return kept, read_records(outputs["ledger"]).to_pylist(), outputs


# -- passages -------------------------------------------------------------------------------------


def test_a_menu_stays_where_it_stood_first_and_goes_elsewhere(tmp_path: Path) -> None:
    texts = [f"{MENU}\n{STORIES[0]}", f"{STORIES[1]}\n{MENU.upper()}", f"a\n{MENU}\n{STORIES[2]}"]
    kept, ledger, outputs = clean(tmp_path, texts, repeated_passages="lines")
    assert kept == [texts[0], STORIES[1], f"a\n{STORIES[2]}"]
    told = [(r["action"], r["rule"], r["row"], r["start"], r["end"]) for r in ledger]
    start = len(STORIES[1]) + 1
    assert told == [
        ("changed", "repeated_lines", 1, start, start + len(MENU)),
        ("changed", "repeated_lines", 2, 2, 2 + len(MENU)),
    ]
    first = read_records(outputs["dataset"])["id"][0].as_py()
    assert [reason_words(row) for row in ledger] == [f"also in: {first}"] * 2
    assert outputs["dataset"].summary["changed"] == {"repeated_lines": 2}
    assert outputs["dataset"].summary["examples"][0]["rule"] == "repeated_lines"


def test_a_paragraph_goes_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    texts = [
        f"{STORIES[0]}\n\n{NOTICE}\n\n{STORIES[1]}",
        f"{NOTICE}\n\n{STORIES[2]}",
        f"{NOTICE.splitlines()[0]}\n\nan ending of its own",
    ]
    kept, _, _ = clean(tmp_path, texts, repeated_passages="paragraphs")
    assert kept == [texts[0], STORIES[2], texts[2]]
    everywhere, _, _ = clean(
        tmp_path / "b", texts, repeated_passages="paragraphs", passage_keep_first=False
    )
    assert everywhere == [f"{STORIES[0]}\n\n{STORIES[1]}", STORIES[2], texts[2]]


def test_short_and_rare_passages_stay(tmp_path: Path) -> None:
    texts = [f"short\n{MENU}\n{story}" for story in STORIES]
    kept, ledger, _ = clean(
        tmp_path, texts, repeated_passages="lines", passage_min_characters=len(MENU) + 1,
        near_duplicate_jaccard=0,
    )  # fmt: skip
    assert (kept, ledger) == (texts, [])
    kept, ledger, _ = clean(
        tmp_path / "b", texts, repeated_passages="lines", passage_min_records=4,
        near_duplicate_jaccard=0,
    )  # fmt: skip
    assert (kept, ledger) == (texts, [])


def test_a_record_of_nothing_but_repeated_lines_is_dropped_as_empty(tmp_path: Path) -> None:
    kept, ledger, _ = clean(tmp_path, [f"{MENU}\n{STORIES[0]}", MENU], repeated_passages="lines")
    assert kept == [f"{MENU}\n{STORIES[0]}"]
    assert [(row["row"], row["rule"]) for row in ledger] == [(1, "repeated_lines"), (1, "empty")]


def test_a_protected_record_loses_no_passage(tmp_path: Path) -> None:
    texts = [f"{MENU}\n{story}" for story in STORIES]
    kept, _, _ = clean(
        tmp_path, texts, columns={"source": ["web", "exam", "web"]}, repeated_passages="lines",
        protect=["exam"],
    )  # fmt: skip
    assert kept == [texts[0], texts[1], STORIES[2]]


def test_undoing_a_passage_rule_brings_the_lines_back(tmp_path: Path) -> None:
    texts = [f"{MENU}\n{STORIES[0]}", f"{MENU}\n<b>{STORIES[1]}</b>", f"<i>{STORIES[2]}</i>"]
    original = data_set(tmp_path, texts)
    spec = CleanSpec(dataset="pages", repeated_passages="lines")
    made = FolderRun(tmp_path / "run", {"pages@latest": original}).run(spec)
    inputs = {"pages@latest": original, "clean@latest": made["dataset"],
              "ledger@latest": made["ledger"]}  # fmt: skip
    undone = FolderRun(tmp_path / "undo", inputs).run(
        UndoSpec(original="pages", cleaned="clean", ledger="ledger", rules=["repeated_lines"])
    )["dataset"]
    assert read_records(undone)["text"].to_pylist() == [
        texts[0],
        texts[1],
        STORIES[2],
    ]


# -- test sets ------------------------------------------------------------------------------------


def test_a_record_that_shares_a_sequence_with_a_test_text_is_dropped(tmp_path: Path) -> None:
    exam = data_set(tmp_path / "exam", ["unrelated words of no use here", QUESTION])
    quoted = f"They were asked: {QUESTION.lower()[:-1]}!"
    part = " ".join(QUESTION.split()[2:16]) + " and so on"
    texts = [quoted, STORIES[0], part, " ".join(QUESTION.split()[:12])]
    kept, ledger, outputs = clean(
        tmp_path, texts, {"exam@latest": exam}, test_sets=["exam"], near_duplicate_jaccard=0
    )
    assert kept == [STORIES[0], texts[3]]
    test_id = read_records(exam)["id"][1].as_py()
    assert [reason_words(row) for row in ledger] == [
        f"1, of a text of exam@latest, at most 0: {test_id}",
        f"0.4, of a text of exam@latest, at most 0: {test_id}",
    ]
    assert [(r["rule"], r["action"], r["row"]) for r in ledger] == [
        ("contamination", "dropped", 0), ("contamination", "dropped", 2),
    ]  # fmt: skip
    what_if = WhatIf(outputs["scores"])
    assert what_if.movable()["max_test_overlap"] == "test_overlap"
    assert what_if.decide(max_test_overlap=0.5).dropped == {"contamination": 1}


@pytest.mark.parametrize("name", ["exam.txt", "exam.jsonl", "exam.csv", "exam.txt.gz", "e.parquet"])
def test_test_texts_come_from_files_of_many_kinds(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    line = {"txt": QUESTION, "jsonl": json.dumps({"text": QUESTION}), "csv": f"text\n{QUESTION}"}
    if name == "exam.txt.gz":
        path.write_bytes(gzip.compress(f"first line\n{QUESTION}\n".encode()))
    elif name == "e.parquet":
        pq.write_table(pa.table({"text": [None, QUESTION]}), path)
    else:
        path.write_text(line[name.rsplit(".", 1)[1]] + "\n")
    kept, ledger, _ = clean(tmp_path, [QUESTION, STORIES[0]], test_files=[str(path)])
    assert kept == [STORIES[0]]
    assert ledger[0]["detail"] == f"of a text of {path}, at most"
    assert ledger[0]["relative"].startswith(name)


def test_the_cache_key_holds_the_content_of_test_files(tmp_path: Path) -> None:
    fingerprint = load_stage("clean").fingerprint
    assert fingerprint is not None
    assert fingerprint(CleanSpec(dataset="pages")) == ""
    path = tmp_path / "exam.txt"
    path.write_text("one\n")
    spec = CleanSpec(dataset="pages", test_files=[str(path)])
    before = fingerprint(spec)
    path.write_text("two\n")
    assert before != fingerprint(spec) != ""


def test_a_test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No file is called"):
        clean(tmp_path, STORIES, test_files=[str(tmp_path / "absent.txt")])


def test_a_test_file_with_a_bad_row_is_told_and_not_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "exam.jsonl"
    path.write_text(json.dumps({"text": QUESTION}) + "\n{\n")
    with pytest.raises(DataError, match="Line 2 is not JSON") as caught:
        clean(tmp_path, STORIES, test_files=[str(path)])
    assert "exam.jsonl:2" in caught.value.where


def test_a_protected_record_stays_though_a_test_set_holds_it(tmp_path: Path) -> None:
    exam = data_set(tmp_path / "exam", [QUESTION])
    kept, ledger, _ = clean(
        tmp_path, [QUESTION, STORIES[0]], {"exam@latest": exam},
        {"source": ["exam", "web"]}, test_sets=["exam"], protect=["exam"],
    )  # fmt: skip
    assert (kept, ledger) == ([QUESTION, STORIES[0]], [])


@pytest.mark.parametrize("name", ["repeated_lines", "repeated_paragraphs", "contamination"])
def test_an_own_rule_cannot_take_the_name_of_one_of_these(name: str) -> None:
    own = {"kind": "keep", "name": name, "code": {"name": "f", "source": "def f(text): ..."}}
    with pytest.raises(SpecError):
        CleanSpec.parse({"dataset": "pages", "rules": [own]})


# -- duplicates -----------------------------------------------------------------------------------


def test_a_copy_that_goes_for_a_protected_record_is_told_the_exact_similarity(
    tmp_path: Path,
) -> None:
    long = "the tram was late again and nobody at the stop could say why it happened today"
    texts = [long, STORIES[0], f"{long} again"]
    kept, ledger, outputs = clean(
        tmp_path, texts, columns={"source": ["web", "web", "exam"]}, protect=["exam"]
    )
    assert kept == texts[1:]
    (row,) = ledger
    keeper = read_records(outputs["dataset"])["id"][1].as_py()
    assert (row["row"], row["keeper"], row["relative"]) == (0, keeper, keeper)
    assert row["jaccard"] == pytest.approx(14 / 15)


def test_only_columns_of_fixed_width_leave_a_partition_of_a_cleaning(tmp_path: Path) -> None:
    texts = [f"{MENU} unmistakable\n{STORIES[n % 3]} {n // 2} {n // 2} {n}" for n in range(90)]
    inputs = {
        "pages@latest": data_set(tmp_path, texts, partition_rows=20),
        "exam@latest": data_set(tmp_path / "exam", ["unmistakable questions of the next exam"]),
    }
    spec = CleanSpec(dataset="pages", repeated_passages="lines", test_sets=["exam"],
                     near_duplicate_jaccard=0.6)  # fmt: skip
    run = FolderRun(tmp_path / "run", inputs)
    assert run.run(spec)["dataset"].summary["dropped"]["near_duplicate"] > 0
    parts = {key: folder for key, folder in run.checkpoints().items() if "rules-" not in key}
    kinds = {key.rsplit("-", 1)[0] for key in parts}
    assert kinds == {
        "passages", "repeats", "test", "fingerprints", "candidates", "edges", "groups",
    }  # fmt: skip
    shuffled = [path for key, folder in parts.items() if not key.startswith("test")
                for path in folder.iterdir()]  # fmt: skip
    assert {path.suffix for path in shuffled} == {".npy", ".json"}
    for path in shuffled:
        assert b"unmistakable" not in path.read_bytes()
        if path.suffix == ".npy":
            dtype = np.load(path).dtype
            fields = [kind for kind, *_ in (dtype.fields or {"": (dtype,)}).values()]
            assert all(kind.kind in "uif" and kind.itemsize <= 8 for kind in fields)


def test_a_cleaning_paused_after_any_part_ends_equal(tmp_path: Path) -> None:
    texts = [f"{MENU}\n{STORIES[n % 3]} {n}" for n in range(12)]
    inputs = {"pages@latest": data_set(tmp_path, texts, partition_rows=5),
              "exam@latest": data_set(tmp_path / "exam", [QUESTION])}  # fmt: skip
    spec = CleanSpec(dataset="pages", repeated_passages="lines", test_sets=["exam"])
    undisturbed = FolderRun(tmp_path / "whole", inputs)
    whole = {name: made.version for name, made in undisturbed.run(spec).items()}
    num_parts = undisturbed.num_written_checkpoints
    num_pauses = 0
    while True:
        try:
            run = FolderRun(tmp_path / "often", inputs, pause_after=1)
            made = run.run(spec)
        except RunPaused:
            num_pauses += 1
            continue
        break
    assert {name: artifact.version for name, artifact in made.items()} == whole
    assert 5 < num_pauses <= num_parts
