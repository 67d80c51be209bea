"""Spam: texts of symbols, and texts that repeat one character."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Bound

_SYMBOL = r"[\pP\p{Sm}\p{Sc}\p{Sk}]"  # no emoji (So): they are words
_FREE_REPEATS = 4  # sooooo is emphasis
# From here on (CJK, then emoji) a run is how people laugh: 哈哈哈哈哈哈.
_FIRST_FREE_CHARACTER = 0x2600


class SpamSetting(Spec):
    """How much of a text may be symbols or repetition."""

    max_symbol_share: float = option(
        0.6, title="Most symbols", group="Rules", unit="share of characters", ge=0, le=1,
        help="Drop texts with a larger share of punctuation and signs (white space and emoji do "
        "not count); 1: no bound.",
    )  # fmt: skip
    max_repeat_share: float = option(
        0.5, title="Most repetition", group="Rules", unit="share of characters", ge=0, le=1,
        help="Drop texts in which a larger share of characters goes on with a run of the same "
        "character, from the fifth on; 1: no bound.",
    )  # fmt: skip


SPAM_BOUNDS = (
    Bound("symbols", "symbol_share", "max_symbol_share", "at most"),
    Bound("repetition", "repeat_share", "max_repeat_share", "at most"),
)


def measure_spam(texts: pa.Array) -> dict[str, npt.NDArray[np.float32]]:
    """Return the shares of symbols and of repeated characters; float32 [n]."""
    return {
        "symbol_share": symbol_shares(texts).astype(np.float32),
        "repeat_share": repeat_shares(texts).astype(np.float32),
    }


def symbol_shares(texts: pa.Array) -> npt.NDArray[np.float64]:
    """Return the share of visible characters that are punctuation and signs; float64 [n]."""
    symbols = pc.count_substring_regex(texts, _SYMBOL).to_numpy(zero_copy_only=False)
    visible = pc.count_substring_regex(texts, r"[^\pZ\s]").to_numpy(zero_copy_only=False)
    shares: npt.NDArray[np.float64] = symbols / np.maximum(visible, 1)
    return shares


def repeat_shares(texts: pa.Array) -> npt.NDArray[np.float64]:
    """Return the share of characters that are the fifth or later of a run; float64 [n]."""
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    joined = "".join(texts.to_pylist())
    points = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    continues = np.zeros(len(points), dtype=bool)
    continues[1:] = (points[1:] == points[:-1]) & (rows[1:] == rows[:-1])
    continues &= (points < _FIRST_FREE_CHARACTER) & (points > ord(" "))
    starts = np.flatnonzero(~continues)
    in_run = np.arange(len(points)) - np.repeat(starts, np.diff([*starts, len(points)]))
    late = np.bincount(rows[in_run >= _FREE_REPEATS], minlength=len(lengths))
    shares: npt.NDArray[np.float64] = late / np.maximum(lengths, 1)
    return shares
