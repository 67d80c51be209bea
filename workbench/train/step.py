"""Rows as a model takes them, and one global batch as a strategy sees it."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.train import batches
from workbench.train.options import Precision
from workbench.train.ranks import Ranks
from workbench.train.strategies.strategy import Inputs
from workbench.train.token_set import TokenSet


class ModelInputs:
    """Rows of a token set as a model on a device takes them."""

    def __init__(self, rows: TokenSet, pad_id: int, ranks: Ranks, precision: Precision) -> None:
        self.clock = ranks.clock
        self.num_tokens = self.num_padded = 0  # that were handed out
        self._rows = rows
        self._pad_id = pad_id
        self.device = ranks.device
        self._precision = precision

    def inputs(self, rows: batches.Rows) -> Inputs:
        """Return ``input_ids`` and ``attention_mask`` of rows, int64 [rows, longest]."""
        with self.clock("input"):
            padded = self._rows.pad(rows, self._pad_id)
            self.num_tokens += int(padded["attention_mask"].sum())
            self.num_padded += padded["attention_mask"].size
            return {name: torch.from_numpy(a).to(self.device) for name, a in padded.items()}

    def arguments(self, _rows: batches.Rows) -> dict[str, Any]:
        """Return what the model is told beside: nothing."""
        return {}

    def distinct_tokens(self, rows: batches.Rows) -> torch.Tensor:
        """Return the distinct token ids of rows, int64, sorted."""
        with self.clock("input"):
            return torch.from_numpy(self._rows.tokens_in(rows)).to(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the model computes in its precision."""
        if self._precision == "float32":
            return contextlib.nullcontext()
        # What is not multiplied in 8 bits is computed in 16.
        kind = torch.float16 if self._precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, kind)


class SliceWork:
    """One step's global batch, cut into slices: what all ``StepWork`` has in common."""

    def __init__(
        self, texts: ModelInputs, batch: batches.Rows, seed: int, step: int, num_slices: int,
        scale: float,
    ) -> None:  # fmt: skip
        self.num_slices = num_slices
        self.scale = scale
        self.clock = texts.clock
        self.inputs = texts.inputs
        self.autocast = texts.autocast
        self._batch = batch
        self._texts = texts
        self._seed = seed
        self._step = step

    def tokens(self) -> torch.Tensor:
        """Return the distinct token ids of the whole batch."""
        return self._texts.distinct_tokens(self._batch)

    def rows(self, number: int) -> batches.Rows:
        """Return the rows of a slice."""
        return batches.slice_batch(self._batch, number, self.num_slices)

    def seed(self, number: int) -> None:
        """Seed the random numbers of a slice."""
        torch.manual_seed(batches.slice_seed(self._seed, self._step, number))
