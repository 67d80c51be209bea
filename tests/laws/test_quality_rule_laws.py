"""The kernels of the quality rules agree with a plain reference, however texts are cut."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import quality_reference as reference
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.data.rules.c4 import C4_BOUNDS, LINE_REASONS, C4Lines, C4Setting, c4_lines
from workbench.data.rules.measure import measure

ALL = frozenset({"gopher_repetition", "gopher_quality", "fineweb"})
# What rules look at: joints, quotes, breaks, spaces, marks, digits, scripts, marks to combine.
SIGNS = (
    "aAzZé9٣ß\u00a0 \t\n\r\v\f\x1c\x85\u2028\x00\x7f.…,;:!?'’\"“”()[]{}<>#*&_%=+-–—~/\\@|^$€•§°²"
    "中のカ한ไม🙂☀👩\u200d\u0301\u202eאبक।。？１●ſK𝒜𑂀\U000e0041\U0010ffff"
)
WORDS = re.split(
    r"\s*\|\s*",
    """the|be|to|of|and|that|have|with|don't|I'll|it’s|U.S.|Mr.|e.g.|5%|$5|3-4|well-known|a.bc/d
    |https://x.org/y?z|...|..|wow!?|(yes).|"No."|[1]|[edit]|[citation needed]|[x]|{}|#tag|--|a--b
    |javascript|JavaScript|lorem ipsum|privacy policy|use cookies|Terms of Use|end.Start|中文。|ไทย
    |🙂🙂|-|•|–|naïve|x,y|'tis|o'clock|10:30|A.B.|etc.""",
)
SPACES = (" ", " ", " ", "\n", "\n\n", "\r\n", "\n \n", "  ")


def running_text() -> st.SearchStrategy[str]:
    """Words and spaces that rules are about, so that sentences, lines and sequences come again."""
    pairs = st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES))
    few = st.lists(st.sampled_from(WORDS[:4]), max_size=40).map(" ".join)
    return few | st.lists(pairs, max_size=60).map(lambda found: "".join(map("".join, found)))


def any_text() -> st.SearchStrategy[str]:
    wild = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    return wild | st.text(SIGNS, max_size=40) | running_text()


def column(texts: list[str | None]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def rows_of(scores: dict[str, Any]) -> list[dict[str, float]]:
    return [
        dict(zip(scores, values, strict=True))
        for values in zip(*(score.tolist() for score in scores.values()), strict=True)
    ]


def rounded(scores: dict[str, float]) -> dict[str, str]:
    """Shares in the type in which they are stored; text, as NaN is not equal to itself."""
    return {
        name: str(value if isinstance(value, int) else float(np.float32(value)))
        for name, value in scores.items()
    }


def as_stored(scores: dict[str, float]) -> dict[str, str]:
    return {name: str(value) for name, value in scores.items()}


@given(st.lists(any_text(), max_size=4), st.sampled_from(["en", "zh", "xx", None]))
def test_scores_are_those_of_the_plain_rules(texts: list[str], language: str | None) -> None:
    measured = rows_of(measure(column(texts), ALL, language))
    for text, scores in zip(texts, measured, strict=True):
        expected = reference.repetition(text) | reference.quality(text, language)
        expected |= reference.fineweb(text, 30)
        if language == "en" or language == "zh":
            expected["gopher_num_stop_words"] = float(expected["gopher_num_stop_words"])
        assert as_stored(scores) == {name: rounded(expected)[name] for name in scores}


@given(any_text(), st.integers(0, 40))
@example("0ก–A\n", 0)  # the dash parts, though the letter before it is a word of its own
def test_a_line_is_short_up_to_the_length_that_is_asked_for(text: str, length: int) -> None:
    scores = measure(column([text]), frozenset({"fineweb"}), short_line_characters=length)
    expected = rounded(reference.fineweb(text, length))
    assert as_stored(rows_of(scores)[0]) == {name: expected[name] for name in scores}


def c4_settings() -> st.SearchStrategy[C4Setting]:
    return st.builds(
        C4Setting,
        c4_terminal_marks=st.booleans(),
        c4_min_words_per_line=st.sampled_from([None, 1, 3]),
        c4_max_word_characters=st.sampled_from([None, 4, 1000]),
        c4_drop_javascript=st.booleans(),
        c4_drop_policies=st.booleans(),
        c4_remove_citations=st.booleans(),
    )


def c4_texts() -> st.SearchStrategy[str]:
    line = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
    ended = st.tuples(line, st.sampled_from([".", "!", "。", '."', "...", "", " [2]"]))
    lines = st.lists(ended.map("".join), max_size=8)
    return any_text() | st.tuples(st.sampled_from(["\n", "\r\n", "\x85", "\n\n"]), lines).map(
        lambda pair: pair[0].join(pair[1])
    )


@given(st.lists(c4_texts(), max_size=4), c4_settings())
def test_c4_keeps_the_lines_of_the_plain_rules(texts: list[str], setting: C4Setting) -> None:
    lines = c4_lines(column(texts), setting)
    lines.texts.validate(full=True)
    kept = zip(lines.texts.to_pylist(), rows_of(lines.scores), strict=True)
    assert list(kept) == [reference.c4(text, setting) for text in texts]


@given(st.lists(c4_texts(), max_size=4), c4_settings())
def test_a_text_without_its_spans_is_what_is_kept(texts: list[str], setting: C4Setting) -> None:
    lines = c4_lines(column(texts), setting)
    for row, text in enumerate(texts):
        rest, done = b"", 0
        data = text.encode()
        for start, end in zip(
            lines.starts[lines.rows == row], lines.ends[lines.rows == row], strict=True
        ):
            assert done <= start < end <= len(data)
            rest, done = rest + data[done:start], end
        rest += data[done:]
        assert "".join(rest.decode().split()) == "".join(lines.texts[row].as_py().split())
    assert set(lines.reasons.tolist()) <= set(LINE_REASONS)


@given(st.lists(st.none() | any_text(), max_size=6), st.data())
def test_scores_do_not_depend_on_how_a_column_is_cut(
    texts: list[str | None], data: st.DataObject
) -> None:
    whole = column(texts)
    start = data.draw(st.integers(0, len(texts)))
    stop = data.draw(st.integers(start, len(texts)))
    chunks = pa.chunked_array([whole[:start], whole[start:stop], whole[stop:]], whole.type)
    languages = pa.array(["en", None, "de"] * len(texts), pa.string())[: len(texts)]
    expected = rows_of(measure(whole, ALL, languages))
    assert str(rows_of(measure(chunks, ALL, languages))) == str(expected)
    part = measure(whole[start:stop], ALL, languages[start:stop])
    assert str(rows_of(part)) == str(expected[start:stop])
    filled = column([text or "" for text in texts])
    assert str(rows_of(measure(filled, ALL, languages))) == str(expected)


@given(st.lists(st.none() | c4_texts(), max_size=6), st.data())
def test_c4_does_not_depend_on_how_a_column_is_cut(
    texts: list[str | None], data: st.DataObject
) -> None:
    whole, setting = column(texts), C4Setting()
    start = data.draw(st.integers(0, len(texts)))
    stop = data.draw(st.integers(start, len(texts)))
    cut = c4_lines(whole[start:stop], setting)
    assert cut.texts.to_pylist() == c4_lines(whole, setting).texts.to_pylist()[start:stop]
    assert spans_of(cut) == [
        (row - start, *span)
        for row, *span in spans_of(c4_lines(whole, setting))
        if start <= row < stop
    ]


def spans_of(lines: C4Lines) -> list[tuple[int, ...]]:
    spans = zip(lines.rows, lines.starts, lines.ends, lines.reasons, strict=True)
    return [tuple(map(int, span)) for span in spans]


# Breaks written longer than they need be, or cut short: none may go uncounted beforehand.
@example([b"a\xc0\x8a" * 2000, b"a\xe2\x80\x28" * 2000, b"a\xc2\x45" * 2000])
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_broken_text_is_measured_without_reading_beyond_it(texts: list[bytes]) -> None:
    data = b"".join(texts)
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    array = pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(data))
    alone = [
        pa.LargeStringArray.from_buffers(
            1, pa.py_buffer(np.array([0, len(text)], np.int64)), pa.py_buffer(text)
        )
        for text in texts
    ]
    together = rows_of(measure(array, ALL, "en"))
    assert str(together) == str([rows_of(measure(text, ALL, "en"))[0] for text in alone])
    kept = c4_lines(array, C4Setting())
    kept_alone = [c4_lines(text, C4Setting()) for text in alone]
    assert bytes_of(kept.texts) == [bytes_of(lines.texts)[0] for lines in kept_alone]
    assert rows_of(kept.scores) == [rows_of(lines.scores)[0] for lines in kept_alone]


def bytes_of(texts: pa.Array) -> list[bytes]:
    return list(texts.cast(pa.large_binary()).to_pylist())


def test_c4_bounds_name_scores_that_are_measured() -> None:
    scores = c4_lines(column(["One sentence that ends."]), C4Setting()).scores
    assert [bound.score in scores for bound in C4_BOUNDS] == [True] * len(C4_BOUNDS)
