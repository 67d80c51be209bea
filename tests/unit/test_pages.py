"""Main text of web pages: what counts as it, and that no bytes hold the extraction up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.html import load, mean_f1, shares_right
from workbench.data.pages.floods import MOST_ATTRIBUTES, without_floods
from workbench.data.pages.main_text import main_text
from workbench.data.pages.markup import to_utf8

DATA = Path(__file__).parents[3] / "shared" / "data" / "article_extraction"

PARAGRAPHS = [
    "The tram was late again, and nobody at the stop could say why it had happened so often.",
    "A spokesman said on Monday that the old lines would be repaired before the winter began.",
    "Until then, passengers are asked to take the bus, which runs every ten minutes or so.",
    "The council had set aside two million for the work; a third of it has been spent so far.",
    "Some shops along the line have lost half their customers since the works began in May.",
]
ARTICLE = "".join(f"<p>{paragraph}</p>" for paragraph in PARAGRAPHS)
TEXT = "\n".join(PARAGRAPHS)


def page(content: str, *, head: str = "") -> str:
    return f"<html><head><title>Tram</title>{head}</head><body>{content}</body></html>"


MENU = "<nav><ul><li><a href=/>Home</a></li><li><a href=/x>Sport</a></li></ul></nav>"
RELATED = (
    "<div class='related-posts'><p>Ten trams that you have to see before you are forty-one.</p>"
    "<p>She took the tram to work, and what happened next surprised everyone.</p></div>"
)
COMMENTS = (
    "<section id='comments'><p>First! I have waited for this tram for all of my life, really.</p>"
    "<p>I take the bus, which is no better, and it smells of wet dogs in winter.</p></section>"
)


@pytest.mark.parametrize(
    "content",
    [
        f"<article>{ARTICLE}</article>",
        f"{MENU}<div class='post-body'>{ARTICLE}</div><footer>All rights reserved.</footer>",
        f"<div class='has-sidebar widget'>{ARTICLE}</div>",  # a name that says the opposite
        f"<form id=aspnet>{MENU}<div>{ARTICLE}</div></form>",
        f"<table><tr><td>{MENU}</td><td>{ARTICLE}</td></tr></table>",
        f"<main>{ARTICLE}{RELATED}{COMMENTS}</main>",
        f"<div><div>{ARTICLE}<div style='display: none'><p>Hidden.</p></div></div></div>",
        f"<h1>Trams late</h1><div>{ARTICLE}<script>var x = '<p>no</p>';</script></div>",
        f"<div>{ARTICLE}<p><a href=/1>Read next: our guide to all the trams</a></p></div>",
        f"<p><div><p>{ARTICLE}",  # nothing is closed as it should be
        "<div>" + "<br><br>".join(PARAGRAPHS) + "</div>",
        f"<DIV CLASS=sidebar><P>Follow us now.</DIV><DIV>{ARTICLE}</DIV>",
    ],
)
def test_the_article_stays_and_what_is_around_it_goes(content: str) -> None:
    assert main_text(page(content)) == TEXT


def test_inline_markup_leaves_no_trace_and_blocks_are_lines() -> None:
    marked = ARTICLE.replace("tram", "<a href=x>tr<b>a</b>m</a>").replace("late", "\n  late\t ")
    assert main_text(page(f"<article>{marked}</article>")) == TEXT


def test_lists_headings_and_tables_of_the_article_are_part_of_it() -> None:
    more = "<h2>What is next</h2><ul><li>New rails.</li><li>New stops.</li></ul>"
    table = "<table><tr><th>Line</th><td>4</td></tr></table>"
    expected = [*PARAGRAPHS, "What is next", "New rails.", "New stops.", "Line", "4"]
    assert main_text(page(f"<article>{ARTICLE}{more}{table}</article>")).split("\n") == expected


def test_a_page_of_a_few_short_lines_keeps_them_all() -> None:
    lines = "<p class=c>One line</p><p>Another</p>"
    assert main_text(page(lines)) == "One line\nAnother"
    assert main_text(page(f"{MENU}<div></div><div>{lines}</div>")) == "One line\nAnother"


def test_what_a_page_declares_as_its_article_is_taken_where_nothing_else_is_found() -> None:
    declared = {"@graph": [{"@type": "NewsArticle", "articleBody": "\r\n\r\n".join(PARAGRAPHS)}]}
    script = f'<script type="application/ld+json">{json.dumps(declared)}</script>'
    assert main_text(page("<div id=root></div>", head=script)) == TEXT
    assert main_text(page(f"<article>{ARTICLE}</article>", head=script)) == TEXT


@pytest.mark.parametrize(
    "body",
    ['{"articleBody": "', '{"articleBody": 7}', "[" * 100_000 + '"articleBody":', '"articleBody":'],
)
def test_a_broken_declaration_is_no_declaration(body: str) -> None:
    script = f'<script type="application/ld+json">{body}</script>'
    assert main_text(page(f"<article>{ARTICLE}</article>{script}")) == TEXT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-2", "iso-2022-jp", "gb18030"])
def test_a_page_is_read_in_the_encoding_it_declares(encoding: str) -> None:
    text = {"iso-8859-2": "Zażółć", "iso-2022-jp": "日本語", "gb18030": "中文"}.get(encoding, "é")
    content = f"<meta charset='{encoding}'><p>{text} {PARAGRAPHS[0]}</p>"
    assert main_text(page(content).encode(encoding)) == f"{text} {PARAGRAPHS[0]}"


def test_nuls_and_bytes_that_cannot_be_decoded_do_not_end_a_page() -> None:
    raw = page(f"<p>a\0b \udcff {PARAGRAPHS[0]}</p>").encode(errors="surrogateescape")
    assert main_text(raw) == f"ab ÿ {PARAGRAPHS[0]}"  # as in browsers: windows-1252
    declared = raw.replace(b"<head>", b"<head><meta charset=utf-8>")
    assert main_text(declared) == f"ab \ufffd {PARAGRAPHS[0]}"


@pytest.mark.parametrize("empty", [b"", b"\0", "", " \n", b"<html></html>", b"<!-- -->", "\ud800"])
def test_nothing_has_no_main_text(empty: bytes | str) -> None:
    assert main_text(empty).strip("\ufffd?") == ""


# -- hostile pages --------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    ["<div>", "</div>", "<p>", "</p>", "<a href=x>", "</a>", "<br>", "<b>", "</b>", "<table>",
     "<td>", "<form>", "<ul>", "<li>", "<dl><dt>", "<dd>", "<h1>", "<pre>", "<script>", "</script>",
     "<style>", "<!--", "-->", "<![CDATA[", "<body class=comment>", "<div class='ad'>", "<svg>",
     "<template>", "<select>", "<noscript>", "<frameset>", "<div style='display:none'>", "</html>",
     "<p class='article-body'>", "&amp;", "&#0;", "&#x1f600;", "\0", "<", ">", '"', "'", "=", "\v",
     "\x1b$B", "\ufeff", "\u2028", "中文。", "a b ", "Some words of a sentence. "]
)  # fmt: skip
_RUNS = st.builds(lambda piece, times: piece * times, _PIECES, st.sampled_from([1, 1, 2, 50]))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.lists(_RUNS, max_size=80).map("".join)))
def test_any_page_has_one_main_text_that_is_clean_lines(html: bytes | str) -> None:
    text = main_text(html)
    assert text == main_text(html)
    assert "\0" not in text
    assert_clean_lines(text)


def assert_clean_lines(text: str) -> None:
    assert all(line and line == " ".join(line.split()) for line in text.split("\n") if text)


def test_what_only_the_last_resort_finds_is_clean_lines_too() -> None:
    cells = "<td>" + "a b c " * 50 + "<td>\v<td><tr><td><td>"
    text = main_text(f"<table><tr>{cells}", "https://news.example/tram")
    assert text.startswith("| a b c a b c")
    assert_clean_lines(text)


BOMBS: dict[str, Callable[[int], bytes]] = {
    "deep": lambda n: b"<div>" * n + b"text",
    "deep links": lambda n: b"<a href=x>" * n + b"text",
    "deep formatting": lambda n: b"<b><p><i>" * n + b"text",
    "attributes": lambda n: b"<div " + b" ".join(b"a%d=1" % i for i in range(n)) + b">text",
    "quoted attributes": lambda n: b"<p " + b"".join(b"a%d='>'" % i for i in range(n)) + b">text",
    "advertisements": lambda n: b"<div class=ad><p>some words</p>" * n,
    "line breaks": lambda n: b"<br>" * n,
    "links": lambda n: b"<p><a>x</a>" * n,
    "classes": lambda n: b"".join(b"<p class='c%dD-e'>x" % i for i in range(n)),
    "one class": lambda n: b"<div class='" + b"aB " * n + b"'>x",
    "script": lambda n: b"<p>x</p><script>" + b"if(a<b)" * n,
    "unclosed": lambda n: b"<" * n,
    "comments": lambda n: b"<!--" * n,
    "entities": lambda n: b"&amp" * n,
    "declared": lambda n: b"<script type=ld+json>" + b'"articleBody":' * n,
}


@pytest.mark.timeout(60)  # what is quadratic takes many minutes
@pytest.mark.parametrize("bomb", BOMBS)
def test_no_page_holds_the_extraction_up(bomb: str) -> None:
    assert len(main_text(BOMBS[bomb](200_000))) <= len(BOMBS[bomb](200_000))


def test_only_tags_with_thousands_of_attributes_are_cut_out() -> None:
    flood = b"<p " + b" ".join(b"a%d='>'" % i for i in range(MOST_ATTRIBUTES + 1)) + b">"
    plain = b"<script>if (a<b) x = \"'\"</script><p title='a > b' hidden data-x=1>text</p>"
    assert without_floods(plain) == plain
    assert bytes(without_floods(plain + flood + plain + flood)) == plain + b" " + plain + b" "
    assert bytes(without_floods(plain + flood[:-1])) == plain + b" "


@given(st.binary(max_size=300))
def test_small_tags_are_never_cut(page: bytes) -> None:
    assert without_floods(page) == page


@given(st.text(max_size=100))
def test_text_that_declares_utf_8_stays_as_it_is(text: str) -> None:
    declared = "<meta charset='utf-8'>" + text
    kept = declared.replace("\0", "").encode("utf-8", "replace")
    assert to_utf8(declared.encode("utf-8", "replace")) == kept


# -- real pages -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_pages() -> tuple[dict[str, bytes], dict[str, str]]:
    if not DATA.exists():
        pytest.skip(f"LOUD SKIP: the data set article_extraction is not at {DATA}")
    return load(DATA)


def test_the_scorer_gives_a_known_system_its_published_score(
    real_pages: tuple[dict[str, bytes], dict[str, str]],
) -> None:
    from trafilatura import extract

    pages, gold = real_pages
    shares = [shares_right(gold[key], extract(page) or "") for key, page in pages.items()]
    assert 0.955 <= mean_f1(shares)[0] <= 0.968


def test_main_text_of_real_pages_is_better_than_trafilatura(
    real_pages: tuple[dict[str, bytes], dict[str, str]],
) -> None:
    pages, gold = real_pages
    shares = [shares_right(gold[key], main_text(page)) for key, page in pages.items()]
    assert mean_f1(shares)[0] >= 0.965
