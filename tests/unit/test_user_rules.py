"""Rules that users write clean as the shipped ones do, and travel with the Spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import data_set

from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError, StageError
from workbench.core.laws import FolderRun
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.what_if import WhatIf
from workbench.data.records import read_records
from workbench.data.rules.user_rule import rule

SHOP_WORDS = ("buy now", "discount")


@rule
def no_ads(text: str) -> bool:
    return not any(words in text.lower() for words in SHOP_WORDS)


@rule(at_most=1)
def num_links(text: str, scheme: str = "http") -> int:
    return text.count(f"{scheme}://")


@rule
def no_signature(text: str) -> str:
    return text.split(" -- ")[0]


@rule
def only_press(text: str, source: str) -> bool:
    return source == "press"


@rule
def broken(text: str) -> float:
    return 1 / text.count("z")


TEXTS = [
    "A fine day -- Ann", "Buy now and save", "see http://a.example and http://b.example",
    "see http://c.example or https://d.example",
]  # fmt: skip


def clean(folder: Path, rules: list[Any], **columns: list[str]) -> dict[str, Artifact]:
    inputs = {"comments@latest": data_set(folder, TEXTS, **columns)}
    spec = CleanSpec(dataset="comments", rules=rules, personal_data="keep")
    # As the queue does: the Spec goes through JSON, and its code is loaded from there.
    return FolderRun(folder / "run", inputs).run(CleanSpec.parse(json.loads(spec.canonical_json())))


def test_own_rules_keep_measure_and_rewrite(tmp_path: Path) -> None:
    made = clean(tmp_path, [no_ads, num_links, no_signature])
    kept = read_records(made["dataset"])["text"].to_pylist()
    assert kept == ["A fine day", TEXTS[3]]
    ledger = read_records(made["ledger"]).to_pylist()
    assert [(r["row"], r["action"], r["rule"], r["value"], r["detail"]) for r in ledger] == [
        (0, "changed", "no_signature", None, None),
        (1, "dropped", "no_ads", 0.0, "the rule says so"),
        (2, "dropped", "num_links", 2.0, "at most 1"),
    ]
    assert made["dataset"].summary["dropped"] == {"no_ads": 1, "num_links": 1}


def test_parameters_and_bounds_can_be_set(tmp_path: Path) -> None:
    made = clean(tmp_path, [num_links.set(scheme="https", at_most=0)])
    assert read_records(made["dataset"])["text"].to_pylist() == TEXTS[:3]
    with pytest.raises(SpecError, match="num_links has no parameter 'shceme'") as caught:
        num_links.set(shceme="https")
    assert caught.value.next_step == "Did you mean 'scheme'?"


def test_a_rule_may_ask_for_columns_of_the_record(tmp_path: Path) -> None:
    made = clean(tmp_path, [only_press], source=["press", "forum", "forum", "press"])
    assert read_records(made["dataset"])["text"].to_pylist() == [TEXTS[0], TEXTS[3]]


def test_a_bound_of_an_own_rule_can_be_moved_afterwards(tmp_path: Path) -> None:
    what_if = WhatIf(clean(tmp_path, [num_links])["scores"])
    assert what_if.decide().dropped == {"num_links": 1}
    assert what_if.decide(rules=[num_links.set(at_most=2)]).dropped == {}
    assert what_if.decide(rules=[num_links.set(at_most=0)]).dropped == {"num_links": 2}
    with pytest.raises(SpecError, match="Other rules than those of the run"):
        what_if.decide(rules=[num_links.set(scheme="ftp")])


def test_the_code_stands_in_the_spec_and_so_in_the_lineage(tmp_path: Path) -> None:
    summary = clean(tmp_path, [no_ads])["scores"].summary
    (kept,) = summary["spec"]["rules"]
    assert "SHOP_WORDS = ('buy now', 'discount')" in kept["source"]
    assert "return not any(words in text.lower()" in kept["source"]


def test_another_code_is_another_spec() -> None:
    @rule
    def no_ads(text: str) -> bool:
        return "advertisement" not in text

    shipped, changed = (CleanSpec(dataset="x", rules=[r]) for r in (globals()["no_ads"], no_ads))
    assert shipped.canonical_json() != changed.canonical_json()
    assert no_ads("an advertisement") is False


def test_a_rule_that_fails_names_itself_and_the_text(tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match="The rule broken failed on a text: ZeroDivisionError"
    ) as caught:
        clean(tmp_path, [broken])
    assert "A fine day" in caught.value.where


def test_a_rule_says_what_it_returns() -> None:
    with pytest.raises(SpecError, match="does not say what it returns"):

        @rule
        def silent(text: str):  # type: ignore[no-untyped-def]
            return True


def test_settings_of_a_rule_need_defaults() -> None:
    with pytest.raises(SpecError, match="needs a default for 'most'"):

        @rule
        def short(text: str, most: int) -> bool:
            return len(text) < most


@pytest.mark.parametrize("name", ["symbols", "html", "near_duplicate"])
def test_a_shipped_rule_keeps_its_name_for_itself(name: str) -> None:
    taken = no_ads.model_dump() | {
        "name": name, "source": f"def {name}(text: str) -> bool:\n    return True\n"
    }  # fmt: skip
    with pytest.raises(SpecError, match=f"there is a rule called '{name}' already"):
        CleanSpec.parse({"dataset": "x", "rules": [taken]})
