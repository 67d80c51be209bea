"""Tokenised texts on disk: made once by the stage, memory-mapped by every rank."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.models.text_encoder import Batch, Ids, TextEncoder, pad_rows

if TYPE_CHECKING:
    from workbench.core.context import RunContext

NO_LABEL = -1
_TEXTS_AT_ONCE = 8192


@dataclass(frozen=True)
class TokenSet:
    """Rows of token ids end to end, where each row starts, and each row's label number.

    ``ids`` is int32 [num_tokens], ``starts`` int64 [num_rows + 1], ``labels`` int64 [num_rows]
    with -1 for a row without a label, ``weights`` float32 [num_rows]: how much a label counts,
    ``targets`` float32 [num_rows]: the score of a row whose label stands for scores.
    """

    ids: Ids
    starts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return each row's number of tokens."""
        return np.diff(self.starts)

    def row(self, number: int) -> Ids:
        """Return one row's token ids."""
        return self.ids[self.starts[number] : self.starts[number + 1]]

    def pad(self, rows: npt.NDArray[np.int64], pad_id: int) -> Batch:
        """Return ``input_ids`` and ``attention_mask`` of these rows, padded to their longest."""
        return pad_rows([self.row(number) for number in rows], pad_id)

    def tokens_in(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the distinct token ids of these rows, sorted."""
        return np.unique(np.concatenate([self.row(n) for n in rows])).astype(np.int64)


def open_token_set(folder: Path) -> TokenSet:
    """Map a token set into memory; ranks on one machine share its pages."""
    return TokenSet(
        ids=np.load(folder / "ids.npy", mmap_mode="r"),
        starts=np.load(folder / "starts.npy"),
        labels=np.load(folder / "labels.npy"),
        weights=np.load(folder / "weights.npy"),
        targets=np.load(folder / "targets.npy"),
    )


def make_token_set(
    folder: Path,
    encoder: TextEncoder,
    texts: Sequence[str],
    labels: npt.NDArray[np.int64],
    run: RunContext,
    weights: npt.NDArray[np.float32] | None = None,
    targets: npt.NDArray[np.float32] | None = None,
) -> TokenSet:
    """Tokenise texts into ``folder``, unless an earlier attempt of the run has done so.

    Raises:
        DataError: a text is no text.
    """
    if not folder.exists():
        _write(folder, _encode(encoder, texts, run), labels, weights, targets)
    return open_token_set(folder)


def make_blocks(
    folder: Path, encoder: TextEncoder, texts: Sequence[str], size: int, run: RunContext
) -> TokenSet:
    """Tokenise texts, lay them end to end and cut them into rows of ``size`` tokens.

    Raises:
        DataError: a text is no text.
    """
    if not folder.exists():
        stream = np.concatenate(_encode(encoder, texts, run))
        blocks = [stream[begin : begin + size] for begin in range(0, len(stream), size)]
        _write(folder, blocks, np.full(len(blocks), NO_LABEL, np.int64))
    return open_token_set(folder)


def _encode(encoder: TextEncoder, texts: Sequence[str], run: RunContext) -> list[Ids]:
    rows: list[Ids] = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        rows += encoder.encode(texts[start : start + _TEXTS_AT_ONCE])
        run.progress(len(rows), len(texts), "texts", "tokenising")
        run.stop_if_asked()
    return rows


def _write(
    folder: Path,
    rows: list[Ids],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32] | None = None,
    targets: npt.NDArray[np.float32] | None = None,
) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    np.save(partial / "ids.npy", np.concatenate(rows))
    np.save(partial / "starts.npy", np.concatenate([[0], np.cumsum(lengths)]))
    np.save(partial / "labels.npy", labels)
    np.save(partial / "weights.npy", np.ones(len(rows), np.float32) if weights is None else weights)
    np.save(
        partial / "targets.npy", np.zeros(len(rows), np.float32) if targets is None else targets
    )
    partial.rename(folder)
