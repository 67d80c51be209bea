"""What each cleaning rule changes and drops, and what the ledger says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from data_sets import data_set

from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.data.clean.checks import checks_of
from workbench.data.clean.partition import measure
from workbench.data.clean.repairs import REPAIRS
from workbench.data.clean.spec import CleanSpec
from workbench.data.duplicates import near_duplicates
from workbench.data.records import SCHEMA, read_records
from workbench.data.rules.language import detect_languages
from workbench.data.rules.personal_data import is_card, redact
from workbench.data.rules.rule import Columns
from workbench.data.tokens import as_texts, count_words, normalise

DATA = Path(__file__).parents[3] / "shared" / "data"


def applied(rule: str, *texts: str, **setting: Any) -> list[str]:
    """Return the texts after one rule."""
    spec = CleanSpec(dataset="x", **setting)
    columns = Columns(as_texts(pa.array(texts)), pa.nulls(len(texts), pa.string()))
    judgement = REPAIRS[rule](columns, spec)
    return (judgement.text if judgement.text is not None else columns.text).to_pylist()  # type: ignore[no-any-return]


def dropped(rule: str, *texts: str, **setting: Any) -> list[bool]:
    """Return which texts one rule drops."""
    spec = CleanSpec(dataset="x", **setting)
    records = pa.table({name: pa.nulls(len(texts), pa.string()) for name in SCHEMA.names})
    scores = measure(as_texts(pa.array(texts)), records, spec)
    (check,) = (check for check in checks_of(spec) if check.rule == rule)
    failed: list[bool] = check.fails(scores[check.score], spec).tolist()
    return failed


def cleaned(
    folder: Path, texts: list[str], columns: dict[str, Any] | None = None, **setting: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return kept records and ledger rows of a whole run."""
    inputs = {"comments@latest": data_set(folder, texts, **(columns or {}))}
    outputs = FolderRun(folder / "run", inputs).run(CleanSpec(dataset="comments", **setting))
    kept, ledger = (read_records(outputs[name]).to_pylist() for name in ("dataset", "ledger"))
    return kept, ledger


# -- repairs --------------------------------------------------------------------------------------


def test_mojibake_escapes_and_control_characters_are_mended() -> None:
    texts = ("schÃ¶n", "Don\\u2019t \\ud83d\\ude02", "a\x00b\x1b[31mc", "“quoted”，全角！", "plain")
    assert applied("unicode", *texts) == ["schön", "Don’t 😂", "abc", "“quoted”，全角！", "plain"]


def test_equal_characters_get_one_form() -> None:
    assert applied("unicode", "cafe\u0301") == ["caf\u00e9"]


def test_tags_and_entities_go_but_hearts_and_placeholders_stay() -> None:
    texts = (
        "a&amp;amp;b", "<p>One</p><p class=x>Two<br/>x</p>", "I <3 you & <user> a<b",
        "H<sub>2</sub>O",
        "x<script>alert(1)</script>y<!-- z -->", "&lt;b&gt;bold&lt;/b&gt;", "AT&T; 5 > 3",
    )  # fmt: skip
    assert applied("html", *texts) == [
        "a&b", " One  Two x ", "I <3 you & <user> a<b", "H2O", "x y ", "bold", "AT&T; 5 > 3",
    ]  # fmt: skip


def test_white_space_gets_one_form_and_joined_emoji_stay() -> None:
    texts = (
        "  a \t b\u00a0c  ",
        "a \r\n\r\n\r\n\n b",
        "x\u200by\ufeff",
        "👩\u200d💻",
        "中\u3000文",
    )
    assert applied("whitespace", *texts) == ["a b c", "a\n\nb", "xy", "👩\u200d💻", "中 文"]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("write to ann.lee+x@mail.example.co.uk, now", "write to <mail>, now"),
        ("call (212) 555-0123 x2", "call <phone> x2"),
        ("call (06021) 46206, 020 7946 0958.", "call <phone>, <phone>."),
        ("call +49 30 901820 or 13812345678", "call <phone> or <phone>"),
        ("from 192.168.0.1 and 2001:db8::1", "from <ip> and <ip>"),
        ("card 4111 1111 1111 1111.", "card <card>."),
        ("not a card: 4111 1111 1111 1112", "not a card: 4111 1111 1111 1112"),
        ("on 2016-07-08 12, 10-9, 1,000,000, $1 000 000 000, 1 200 300 400", None),
        ("id 729837492837492 at 12:30:45, v1.2.3, @user, 555-0123", None),
        ("ISBN 964-6264-28-X", None),
        ("999.1.1.1 and 3.14159265358979", None),
    ],
)
def test_personal_data_is_redacted_and_other_numbers_stay(text: str, redacted: str | None) -> None:
    assert applied("personal_data", text) == [redacted or text]
    assert redact(redacted or text) == (redacted or text)


def test_personal_data_can_drop_a_record_or_stay() -> None:
    texts = ("mail me: a@b.com", "call nobody")
    assert dropped("personal_data", *texts, personal_data="drop") == [True, False]
    assert applied("personal_data", *texts, personal_data="keep") == list(texts)


def test_cards_have_an_issuer_and_a_right_check_digit() -> None:
    assert is_card("5500-0000-0000-0004")
    assert is_card("3782 822463 10005")
    assert not is_card("5500-0000-0000-0005")
    assert not is_card("9500-0000-0000-0004")


# -- drops ----------------------------------------------------------------------------------------


def test_words_are_counted_in_every_script() -> None:
    texts = ["It's 5 o'clock", "今天天气很好 ok", "😂😂", "", "?!", "नमस्ते दुनिया", "สวัสดี"]
    assert count_words(as_texts(pa.array(texts))).tolist() == [5, 7, 2, 0, 0, 2, 6]
    assert normalise(as_texts(pa.array(["Hello, WORLD！好的"]))).to_pylist() == [
        "hello world 好 的"
    ]


def test_texts_out_of_bounds_are_dropped() -> None:
    texts = ("", " \u00a0", "...", "one", "one two three")
    assert dropped("empty", *texts) == [True, True, False, False, False]
    assert dropped("too_few_words", *texts, min_words=2) == [True, True, True, True, False]
    assert dropped("too_many_words", *texts, max_words=2) == [False] * 4 + [True]
    assert dropped("too_many_words", *texts) == [False] * 5


def test_symbols_and_repetition_are_spam_but_laughing_is_not() -> None:
    texts = (
        "$$$ >>> !!! a",
        "What?!",
        "😂😂😂😂😂😂😂😂😂😂",
        "哈哈哈哈哈哈哈哈哈哈哈",
        "aaaaaaaaaaaaaaaaaa",
        "sooooo good",
    )
    assert dropped("symbols", *texts) == [True, False, False, False, False, False]
    assert dropped("repetition", *texts) == [False, False, False, False, True, False]


def test_languages_are_found_out_and_short_texts_stay_unknown() -> None:
    texts = [
        "This is a perfectly ordinary sentence.", "Das ist ein ganz gewöhnlicher deutscher Satz.",
        "今天的天气真不错", "今日はとても良い天気ですね", "오늘 날씨가 정말 좋네요", "ok",
        "@someone https://x.org/y",
        "iPhone 的电池真的很好用",
    ]  # fmt: skip
    found = detect_languages(as_texts(pa.array(texts)), 0.5).to_pylist()
    assert found == ["en", "de", "zh", "ja", "ko", None, None, "zh"]


def test_only_wanted_languages_stay_and_known_ones_are_believed(tmp_path: Path) -> None:
    texts = [
        "This is a perfectly ordinary sentence.", "C'est une phrase tout à fait ordinaire.", "ok",
        "Voilà une autre phrase française.",
    ]  # fmt: skip
    kept, ledger = cleaned(
        tmp_path, texts, {"language": [None, None, None, "en"]}, languages=["en"]
    )
    assert [record["language"] for record in kept] == ["en", None, "en"]
    assert [(row["rule"], row["detail"]) for row in ledger] == [("language", "fr, kept: en")]


# -- duplicates -----------------------------------------------------------------------------------

SENTENCE = "the quick brown fox jumps over the lazy dog near the river bank today"


def test_exact_duplicates_ignore_case_punctuation_and_space(tmp_path: Path) -> None:
    kept, ledger = cleaned(tmp_path, ["Good, phone!", "other words here", "good  PHONE"])
    assert [record["text"] for record in kept] == ["Good, phone!", "other words here"]
    (row,) = (row for row in ledger if row["action"] == "dropped")
    assert (row["rule"], row["keeper"], row["jaccard"]) == ("exact_duplicate", kept[0]["id"], 1.0)


def test_near_duplicates_name_their_keeper_and_exact_similarity(tmp_path: Path) -> None:
    kept, ledger = cleaned(tmp_path, [SENTENCE, "unrelated words", f"{SENTENCE} again"])
    assert len(kept) == 2
    (row,) = ledger
    assert row["rule"] == "near_duplicate"
    assert (row["keeper"], row["relative"]) == (kept[0]["id"], kept[0]["id"])
    assert row["jaccard"] == pytest.approx(12 / 13)
    assert row["row"] == 2


def test_a_chain_of_near_duplicates_keeps_the_first_and_names_the_link() -> None:
    words = SENTENCE.split()
    chain = [" ".join(words), " ".join([*words, "a", "b"]), " ".join([*words, "a", "b", "c", "d"])]
    found = near_duplicates(as_texts(pa.array(chain)), 0.8, 3)
    assert found.keeper.tolist() == [0, 0, 0]
    assert found.relative.tolist() == [-1, 0, 1]
    assert found.jaccard.tolist() == pytest.approx([0, 12 / 14, 14 / 16])


def test_chinese_near_duplicates_are_found_by_character(tmp_path: Path) -> None:
    text = "今天的天气真的很不错我们一起去公园散步吧好不好"
    kept, ledger = cleaned(tmp_path, [text, text + "呀", "完全不同的另外一句话"])
    assert len(kept) == 2
    assert [row["rule"] for row in ledger] == ["near_duplicate"]


def test_a_crowd_that_fills_in_one_template_is_no_duplicate() -> None:
    texts = [f"order number {n} was sent to you by our friendly team" for n in range(1500)]
    found = near_duplicates(as_texts(pa.array(texts)), 0.8, 3)
    assert (found.relative == -1).all()


def test_planted_near_duplicates_of_real_articles_are_all_found() -> None:
    folder = DATA / "minhash_articles"
    if not folder.exists():
        pytest.skip(f"LOUD SKIP: the data set minhash_articles is not at {DATA}")
    lines = (folder / "articles_1000.train").read_text().strip().split("\n")
    ids, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    found = near_duplicates(as_texts(pa.array(texts)), 0.5, 3)
    pairs = {frozenset((ids[row], ids[found.keeper[row]])) for row in range(len(ids))
             if found.relative[row] >= 0}  # fmt: skip
    truth = (folder / "articles_1000.truth").read_text().strip().split("\n")
    assert pairs == {frozenset(line.split()) for line in truth}


# -- the whole stage ------------------------------------------------------------------------------


def test_the_ledger_says_what_was_changed_and_where(tmp_path: Path) -> None:
    texts = ["<b>Fine</b>  thing &amp; all", "!!!", "fine thing, all"]
    kept, ledger = cleaned(tmp_path, texts, {"label": ["a", "b", None]})
    assert [record["text"] for record in kept] == ["Fine thing & all"]
    assert [(r["action"], r["rule"], r["row"], r["start"], r["end"]) for r in ledger] == [
        ("changed", "html", 0, 0, 24),
        ("changed", "whitespace", 0, 5, 6),
        ("dropped", "too_few_words", 1, None, None),
        ("dropped", "exact_duplicate", 2, None, None),
    ]
    assert [(r["value"], r["threshold"], r["detail"]) for r in ledger[2:]] == [
        (0.0, 1.0, "at least"), (None, None, None)
    ]  # fmt: skip
    assert [json.loads(row["provenance"])["row"] for row in ledger] == [0, 0, 1, 2]


def test_the_summary_counts_rules_and_shows_no_personal_data(tmp_path: Path) -> None:
    inputs = {
        "comments@latest": data_set(
            tmp_path, ["mail  ann@example.com please", "", "&lt; less words"]
        )
    }
    outputs = FolderRun(tmp_path / "run", inputs).run(CleanSpec(dataset="comments", name="tidy"))
    assert {name: artifact.name for name, artifact in outputs.items()} == {
        "dataset": "tidy", "ledger": "tidy-ledger", "scores": "tidy-scores",
        "report": "tidy-report",
    }  # fmt: skip
    summary = outputs["dataset"].summary
    assert summary["rows_in"] == 3
    assert summary["rows"] == 2
    assert summary["dropped"] == {"empty": 1}
    assert summary["changed"] == {"html": 1, "personal_data": 1, "whitespace": 1}
    assert outputs["ledger"].summary["dropped"] == summary["dropped"]
    assert {"rule": "html", "before": "&lt; less words", "after": "< less words"} in summary[
        "examples"
    ]
    assert "ann@example.com" not in json.dumps(summary)


def test_every_rule_can_be_turned_off(tmp_path: Path) -> None:
    texts = ["&amp;  schÃ¶n a@b.com", "!!!", "aaaaaaaaaaaaaaaaaa", "!!!", SENTENCE, SENTENCE + " x"]
    kept, ledger = cleaned(
        tmp_path, texts, repair_unicode=False, strip_html=False, tidy_whitespace=False,
        personal_data="keep", min_words=0, max_symbol_share=1, max_repeat_share=1,
        detect_language=False, drop_exact_duplicates=False, near_duplicate_jaccard=0,
    )  # fmt: skip
    assert [record["text"] for record in kept] == texts
    assert ledger == []


def test_a_data_set_without_a_single_good_record_leaves_an_empty_one(tmp_path: Path) -> None:
    kept, ledger = cleaned(tmp_path, ["", "?"])
    assert kept == []
    assert [row["rule"] for row in ledger] == ["empty", "too_few_words"]


def test_other_columns_pass_through(tmp_path: Path) -> None:
    kept, _ = cleaned(tmp_path, ["some words"], {"extra": ['{"user": 1}'], "label": ["x"]})
    assert (kept[0]["extra"], kept[0]["label"], kept[0]["source"]) == ('{"user": 1}', "x", "test")


def test_a_data_set_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        FolderRun(tmp_path / "run").run(CleanSpec(dataset="comments"))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"min_words": 5, "max_words": 4}, "below min_words"),
        ({"near_duplicate_jaccard": 0.2}, "not nearly the same"),
        ({"languages": ["English"]}, "languages"),
        ({"personal_data": "hide"}, "personal_data"),
        ({"max_symbol_share": 1.5}, "max_symbol_share"),
    ],
)
def test_settings_out_of_bounds_are_refused(values: dict[str, Any], what: str) -> None:
    with pytest.raises(SpecError) as caught:
        CleanSpec.parse({"dataset": "comments", **values})
    assert what in caught.value.what


def test_a_mistyped_setting_is_told_with_the_nearest() -> None:
    with pytest.raises(SpecError) as caught:
        CleanSpec.parse({"dataset": "comments", "min_word": 2})
    assert caught.value.next_step == "Did you mean 'min_words'?"


def test_forms_show_the_settings_in_the_order_of_the_rules() -> None:
    names = list(CleanSpec.model_fields)
    assert names[:2] == ["dataset", "name"]
    assert (
        names.index("repair_unicode")
        < names.index("min_words")
        < names.index("languages")
        < names.index("shingle_words")
    )


def test_repair_matches_the_gold_cases(tmp_path: Path) -> None:
    folder = DATA / "ftfy_cases"
    if not folder.exists():
        pytest.skip(f"LOUD SKIP: the data set ftfy_cases is not at {DATA}")
    for name in ("negative", "synthetic"):
        cases = json.loads((folder / f"{name}.json").read_text())
        originals = [case["original"] for case in cases]
        # Quotes and widths, which ftfy's own defaults also change, are not damage here.
        mended = applied("unicode", *originals)
        right = sum(m == c.get("fixed", c["original"]) for m, c in zip(mended, cases, strict=True))
        assert right / len(cases) > 0.8, name


# -- protected sources ----------------------------------------------------------------------------


def test_a_protected_source_loses_nothing_and_what_repeats_it_goes(tmp_path: Path) -> None:
    long = "the tram was late again and nobody at the stop could say why it happened"
    texts = [f"{long} today", "cafÃ© is open", "", f"{long} today", f"{long} now", "cafÃ© is open"]
    sources = ["crawl", "crawl", "official", "official", "official", "official"]
    kept, ledger = cleaned(tmp_path, texts, {"source": sources}, protect=["official"])
    assert [(record["source"], record["text"]) for record in kept] == [
        ("official", ""),
        ("official", f"{long} today"),
        ("official", f"{long} now"),
        ("official", "café is open"),  # repaired all the same
    ]
    gone = {row["id"]: row for row in ledger if row["action"] == "dropped"}
    assert {sources[row["row"]] for row in gone.values()} == {"crawl"}
    assert {row["keeper"] for row in gone.values()} == {kept[1]["id"], kept[3]["id"]}
    assert len(kept) + len(gone) == len(texts)


def test_a_protected_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises((DataError, SpecError)) as refused:
        cleaned(tmp_path, ["one text of some words"], protect=["tset"])
    assert "Did you mean 'test'?" in refused.value.next_step
