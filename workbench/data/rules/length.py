"""Length: texts that are empty, too short or too long."""

from __future__ import annotations

from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Columns, Judgement, as_mask
from workbench.data.tokens import count_words


class LengthSetting(Spec):
    """How many words a text must and may have."""

    min_words: int = option(
        1, title="Fewest words", group="Rules", unit="words", ge=0,
        help="Drop shorter texts. An emoji is one word, and so is each character of Chinese, "
        "Japanese, Korean and Thai.",
    )  # fmt: skip
    max_words: int = option(
        0, title="Most words", group="Rules", unit="words", ge=0,
        help="Drop longer texts; 0: no bound.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.max_words and self.max_words < self.min_words:
            raise ValueError(f"max_words {self.max_words} is below min_words {self.min_words}")
        return self


def drop_empty(columns: Columns, _: Spec) -> Judgement:
    """Drop texts without any visible character."""
    is_empty = as_mask(pc.equal(pc.utf8_trim_whitespace(columns.text), ""))
    return Judgement(dropped=is_empty, threshold="at least one character")


def drop_too_few_words(columns: Columns, setting: LengthSetting) -> Judgement:
    """Drop texts with fewer than ``min_words`` words."""
    if not setting.min_words:
        return Judgement()
    counts = count_words(columns.text)
    return Judgement(
        dropped=counts < setting.min_words,
        value=pa.array(counts).cast(pa.string()),
        threshold=f"at least {setting.min_words}",
    )


def drop_too_many_words(columns: Columns, setting: LengthSetting) -> Judgement:
    """Drop texts with more than ``max_words`` words."""
    if not setting.max_words:
        return Judgement()
    counts = count_words(columns.text)
    return Judgement(
        dropped=counts > setting.max_words,
        value=pa.array(counts).cast(pa.string()),
        threshold=f"at most {setting.max_words}",
    )
