"""From texts to token ids, and from ragged rows of ids to padded batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.core.errors import DataError
from workbench.models.folder import TOKENIZER, read_json

Ids = npt.NDArray[np.int32]
Batch = dict[str, npt.NDArray[np.int64]]

_TEXTS_AT_ONCE = 2048  # bounds the memory of the tokenizer's own objects


class TextEncoder:
    """A model folder's tokenizer: special tokens on, truncation at ``max_tokens``, no padding."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self.max_tokens = max_tokens
        self.pad_id = int(read_json(folder / "config.json").get("pad_token_id") or 0)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    @property
    def vocabulary_size(self) -> int:
        """Return the number of tokens, added ones included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return each text's token ids.

        Raises:
            DataError: a text is no text (None, a number, broken surrogates); its place is told.
        """
        rows: list[Ids] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = list(texts[start : start + _TEXTS_AT_ONCE])
            try:
                encodings = self._tokenizer.encode_batch_fast(part)
            except (TypeError, UnicodeEncodeError) as error:
                raise _not_text(part, start) from error
            rows.extend(np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings)
        return rows

    def pad(self, rows: Sequence[Ids]) -> Batch:
        """Return ``input_ids`` and ``attention_mask``, int64 [num_rows, longest row]."""
        return pad_rows(rows, self.pad_id)


def pad_rows(rows: Sequence[Ids], pad_id: int) -> Batch:
    """Return ``input_ids`` and ``attention_mask``, int64 [num_rows, longest row]."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, np.int64)
    if len(rows):
        ids[mask] = np.concatenate(rows)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def length_batches(
    lengths: npt.NDArray[np.integer], *, max_rows: int = 64, max_padded: int = 4096
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the positions of rows in batches of similar length, the longest rows first.

    A batch has at most ``max_rows`` rows and, unless it is one row, ``max_padded`` tokens with
    padding. Longest first: what will not fit into memory fails at once, not in the last batch.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        num_rows = max(1, min(max_rows, max_padded // longest))
        yield order[start : start + num_rows]
        start += num_rows


def _not_text(texts: Sequence[object], start: int) -> DataError:
    bad = next(n for n, text in enumerate(texts) if not _is_text(text))
    return DataError(
        f"Text {start + bad} is no text: {ascii(texts[bad])[:80]}",
        where=f"text {start + bad}",
        next_step="Give strings of valid Unicode; cleaning repairs broken ones.",
    )


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
