"""What of HTML goes from plain text, and which look-alikes stay."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.data.clean.spec import CleanSpec
from workbench.data.rules.html_residue import remove_html, strip_html
from workbench.data.rules.rule import Columns
from workbench.data.tokens import as_texts

PIECES = st.sampled_from([
    "<b>", "</b>", "<br/>", "<P class=x>", "</p>", "<script>", "</script>", "<style>", "<!--",
    "-->", "&amp;", "&lt;", "&gt;", "&#60;", "&#x3C;", "&nosuch;", "&copy", "<!DOCTYPE html>",
    "<?xml version='1.0'?>", "<![endif]>", "a < b", "<3", "<ann@x.example>", "List<Object>", "word",
    " ", "<", ">", "&", ";", "/", "=", "\n", "é",
])  # fmt: skip
TEXTS = st.lists(PIECES, max_size=8).map("".join)


def stripped(*texts: str, **setting: Any) -> list[str]:
    """Return the texts after the rule, gate and all."""
    columns = Columns(as_texts(pa.array(texts, pa.string())), pa.nulls(len(texts), pa.string()))
    judged = strip_html(columns, CleanSpec(dataset="x", **setting))
    return (columns.text if judged.text is None else judged.text).to_pylist()  # type: ignore[no-any-return]


# -- laws -----------------------------------------------------------------------------------------


@given(text=TEXTS)
def test_removing_twice_is_removing_once(text: str) -> None:
    once = remove_html(text)
    assert remove_html(once) == once


@given(texts=st.lists(TEXTS, max_size=5))
@example(["&copy 2020"])
@example(["<!DOCTYPE html>"])
def test_the_gate_skips_no_text_that_holds_residue(texts: list[str]) -> None:
    assert stripped(*texts) == [remove_html(text) for text in texts]


@given(text=st.text().filter(lambda text: "<" not in text and "&" not in text))
def test_text_without_brackets_and_ampersands_stays(text: str) -> None:
    assert remove_html(text) == text


@given(text=TEXTS)
def test_nothing_goes_where_the_rule_is_off(text: str) -> None:
    assert stripped(text, strip_html=False) == [text]


# -- examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("One<br>two<BR />three", "One two three"),
        ("<div class='a b'>x</div>", " x "),
        ('<a href="https://x.example/?a=1&amp;b=2" target=_blank>here</a>', "here"),
        ("<input disabled><option selected>red", "  red"),
        ("H<sub>2</sub>O and 10<sup>3</sup>", "H2O and 103"),
        ("end</p><p>start", "end  start"),
        ("word<p>word, cell<td>cell", "word word, cell cell"),
        ("<!DOCTYPE html><html lang=en>x", "  x"),
        ('<?xml version="1.0"?>x', " x"),
        ("<!--[if IE]>old<![endif]-->new", " new"),
        ("<![if !IE]>new<![endif]>", " new "),
        ("x<style type='text/css'>p { color: red }</style>y", "x y"),
        ("x<SCRIPT>if (a < b) {}</script >y<!-- a\n > b -->z", "x y z"),
        ("&quot;a&quot; &amp;amp; b &#8217;&#x2019; &hellip;", '"a" & b ’’ …'),
        ("&lt;p&gt;twice&lt;/p&gt;", " twice "),
    ],
)
def test_residue_goes(text: str, left: str) -> None:
    assert stripped(text) == [left]


@pytest.mark.parametrize(
    "text",
    [
        "a < b, b > a, a<b, x <y and z> w, 1<2>0",
        "I <3 you, <333, >_<, <- and ->, <>",
        "Ann <ann@mail.example>, <i@x.example>, <https://x.example/a>",
        "List<int>, Map<String, List<Object>> m, vector<a> v, Array<Button>(), Option<S>;",
        "if a <b and c> d, if (i <s && t> u), while (p <q == r> s)",
        "<user>, <card>, <mail>, <unk>, </unknown>",
        "AT&T, R&D;, &nosuch; ?a=1&copy=2&lt=3, &copy 2020, &notit;",
        "<script> that never ends, <!-- nor this"[9:],
    ],
)
def test_what_only_looks_like_html_stays(text: str) -> None:
    assert stripped(text) == [text]


def test_a_number_of_ten_thousand_digits_is_no_entity() -> None:
    text = f"&#{'1' * 10_000};"
    assert stripped(text) == [text]
