"""Length: texts that are empty, too short or too long."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Bound
from workbench.data.tokens import count_words


class LengthSetting(Spec):
    """How many words a text must and may have."""

    min_words: int = option(
        1, title="Fewest words", group="Rules", unit="words", ge=0,
        help="Drop shorter texts. An emoji is one word, and so is each character of Chinese, "
        "Japanese, Korean and Thai.",
    )  # fmt: skip
    max_words: int | None = option(
        None, title="Most words", group="Rules", unit="words", ge=1,
        help="Drop longer texts; empty: no bound.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.max_words is not None and self.max_words < self.min_words:
            raise ValueError(f"max_words {self.max_words} is below min_words {self.min_words}")
        return self


LENGTH_BOUNDS = (
    Bound("empty", "num_visible_characters", "", "at least", fixed=1),
    Bound("too_few_words", "num_words", "min_words", "at least"),
    Bound("too_many_words", "num_words", "max_words", "at most"),
)


def measure_length(texts: pa.Array) -> dict[str, npt.NDArray[np.int32]]:
    """Count visible characters and words; int32 [n]."""
    visible = pc.utf8_length(pc.utf8_trim_whitespace(texts)).to_numpy(zero_copy_only=False)
    return {
        "num_visible_characters": visible.astype(np.int32),
        "num_words": count_words(texts).astype(np.int32),
    }
