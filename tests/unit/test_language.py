"""Languages of texts: what is known is right, and what is unclear stays unknown."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.language import DATA, Labelled, accuracy, load, middle_words
from workbench.data.rules.language import LanguageSetting, detect_languages

LEAST = LanguageSetting().min_language_confidence


def languages(*texts: str, least: float = LEAST) -> list[str | None]:
    found: list[str | None] = detect_languages(
        pa.array(texts, pa.large_string()), least
    ).to_pylist()
    return found


_TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(["the", "und", "LA", "ça", "не", "है", "ไม่", "是", "は", "안녕", "\n", "\0",
                         "@a", "https://x.y", "12", "🙂", "ελ", "Straße", "İ", "e\u0301"]),
        max_size=12,
    ).map(" ".join),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(_TEXTS, max_size=6))
def test_a_text_has_one_code_or_none_whatever_stands_beside_it(texts: list[str]) -> None:
    found = languages(*texts)
    assert found == [languages(text)[0] for text in texts]
    assert all(code is None or re.fullmatch("[a-z]{2,3}", code) for code in found)


@settings(max_examples=100, deadline=None)
@given(_TEXTS, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_confidence_changes_no_language_but_leaves_more_unknown(
    text: str, one: float, other: float
) -> None:
    (bold,), (careful,) = (
        languages(text, least=min(one, other)),
        languages(text, least=max(one, other)),
    )
    assert careful in (bold, None)


def test_vowel_signs_are_letters_and_a_script_of_one_language_needs_no_model() -> None:
    assert languages("अभी अंतिम पाठ शेष है।", "วันนี้", "καλημέρα", "ok", "Хоть и блок.") == [
        "hi", "th", "el", None, "ru",
    ]  # fmt: skip


def test_capitals_are_read_as_small_letters() -> None:
    text = "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter."
    assert languages(text.upper()) == languages(text) == ["de"]


def test_short_texts_have_a_language_where_it_is_certain_or_asked_for_at_any_price() -> None:
    texts = ("Vielen Dank", "Wechsel", "ok lol")
    assert languages(*texts) == ["de", "de", None]
    assert None not in languages(*texts, least=0.0)


# -- real sentences -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sentences() -> Labelled:
    if not DATA.exists():
        pytest.skip(f"LOUD SKIP: the data set lingua_langid is not at {DATA}")
    return load(DATA)


def test_nearly_all_real_sentences_are_told(sentences: Labelled) -> None:
    assert accuracy(sentences, languages(*(text for _, text in sentences))) >= 0.985


def test_what_is_said_of_three_words_is_nearly_always_right(sentences: Labelled) -> None:
    words = middle_words(sentences, 3)
    told = zip(words, languages(*(text for _, text in words)), strict=True)
    is_right = [language == answer for (language, _), answer in told if answer]
    assert len(is_right) >= 0.8 * len(words)
    assert sum(is_right) >= 0.95 * len(is_right)
