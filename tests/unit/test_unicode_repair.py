"""Which characters are mended, which stay, and that the fast gate overlooks nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.data.clean.spec import CleanSpec
from workbench.data.rules.rule import Columns
from workbench.data.rules.unicode_repair import mend_characters, repair_unicode
from workbench.data.tokens import as_texts

CASES = Path(__file__).parents[3] / "shared" / "data" / "ftfy_cases"
SETS = ("in-the-wild", "synthetic", "negative", "language-names", "known-failures")

PROSE = st.text(st.sampled_from("aou éüßñ çøЖдя你好。！“”’–…😂ابת"), max_size=20)
ESCAPES = st.sampled_from(["\\u2019", "\\ud83d\\ude02", "\\ud83d", "\\u0041", "\\u000a", "\\u005c"])
DAMAGE = st.sampled_from(
    ["\r", "\r\n", "\n", "\x85", "\x00", "\x1b[31m", "\x7f", "\u2028", "\ufb01", "e\u0301", "\x0c"]
)


def mojibake(text: str, right: str, wrong: str) -> str:
    """Return what a text looks like that was written in one encoding and read in another."""
    return text.encode(right, "replace").decode(wrong, "replace")


MOJIBAKE = st.builds(
    mojibake, PROSE, st.just("utf-8"), st.sampled_from(["latin-1", "cp1252", "cp1251", "mac-roman"])
)
DAMAGED = st.lists(PROSE | ESCAPES | DAMAGE | MOJIBAKE | st.text(max_size=5), max_size=6).map(
    "".join
)


def repaired(texts: list[str], **setting: Any) -> list[str]:
    """Return the texts after the rule, gate and all."""
    columns = Columns(as_texts(pa.array(texts, pa.string())), pa.nulls(len(texts), pa.string()))
    judged = repair_unicode(columns, CleanSpec(dataset="x", **setting))
    return (columns.text if judged.text is None else judged.text).to_pylist()  # type: ignore[no-any-return]


# -- laws -----------------------------------------------------------------------------------------


@given(text=DAMAGED)
@example("\\u005cu0041")
@example("\\\x00u0041")
@example("Ã\x85\x85Â\r©")
def test_mending_twice_is_mending_once(text: str) -> None:
    once = mend_characters(text)
    assert mend_characters(once) == once


@given(texts=st.lists(DAMAGED | st.text(st.characters(max_codepoint=127)), max_size=5))
@example(["a\rb"])
@example(["a\r\nb"])
def test_the_gate_skips_no_text_that_the_full_repair_would_change(texts: list[str]) -> None:
    assert repaired(texts) == [mend_characters(text) for text in texts]


@given(text=st.text(st.sampled_from([chr(code) for code in range(32, 127)] + ["\t", "\n"])))
def test_printed_ascii_without_escapes_stays(text: str) -> None:
    plain = text.replace("\\", "/")
    assert mend_characters(plain) == plain


_WORDS = ["abc", "xyz", "äöü", "ßéñ", "，。", "你好", "Привет", "мир", "“quoted”", "it’s", "\n"]


@given(text=st.lists(st.sampled_from(_WORDS)).map(" ".join))
def test_clean_prose_of_one_form_stays(text: str) -> None:
    assert repaired([text]) == [text]


@given(text=DAMAGED)
def test_nothing_is_mended_where_the_rule_is_off(text: str) -> None:
    assert repaired([text], repair_unicode=False) == [text]


# -- gold -----------------------------------------------------------------------------------------


def test_every_case_that_ftfy_repairs_is_repaired_as_its_gold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not CASES.exists():
        pytest.skip(f"LOUD SKIP: the data set ftfy_cases is not at {CASES}")
    import ftfy
    from ftfy.fixes import fix_character_width, uncurl_quotes

    cases = [case for name in SETS for case in json.loads((CASES / f"{name}.json").read_text())]
    gold = {
        case["original"]: case["fixed"]
        for case in cases
        # Entities are the next rule's work.
        if ftfy.fix_text(case["original"], unescape_html=False) == case["fixed"]
    }
    mended = repaired([*gold])
    # Quotes and widths are no damage here, and stay as written; gold has them in one form.
    wrong = [
        (original, text)
        for original, text in zip(gold, mended, strict=True)
        if uncurl_quotes(fix_character_width(text)) != gold[original]
    ]
    with capsys.disabled():
        print(f"\nftfy_cases: {len(gold) - len(wrong)} of {len(gold)} as gold, of {len(cases)}")
    assert wrong == []
    assert (len(gold), len(cases)) == (150, 161)
