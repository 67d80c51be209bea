"""All weights of a model in a few flat buffers: one optimiser step, one exchange, one file.

Word embeddings are half of a small model, but a step touches few of their rows. Only these rows
get a gradient and travel between ranks; the optimiser then updates the whole table, so that the
result is that of plain AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch  # noqa: TID253 (only ranks import this module, when work starts)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from workbench.train.memory import Tensors

Named = list[tuple[str, nn.Parameter]]

_NUM_EXTRA = 3  # the loss and two wishes, which travel with the gradients


class TouchedRows(nn.Module):
    """A word embedding of which a step opens only the rows that it reads."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.weight = table.weight
        self.weight.requires_grad_(False)
        self.rows: torch.Tensor | None = None
        self._positions = torch.zeros(
            table.num_embeddings, dtype=torch.int64, device=table.weight.device
        )
        self._padding = table.padding_idx
        self._padding_row: int | None = None

    def open(self, tokens: torch.Tensor, gradient: torch.Tensor) -> None:
        """Make a leaf of these rows (sorted, distinct token ids); its gradient gathers there."""
        self._positions[tokens] = torch.arange(len(tokens), device=tokens.device)
        self.rows = self.weight.detach()[tokens].requires_grad_()
        self.rows.grad = gradient
        self._padding_row = self._row_of_padding(tokens)

    def _row_of_padding(self, tokens: torch.Tensor) -> int | None:
        if self._padding is None:
            return None
        found = (tokens == self._padding).nonzero()
        return int(found[0]) if len(found) else None

    def close(self) -> None:
        """Read from the whole table again."""
        self.rows = None

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Look tokens up: float32 [..., width]."""
        if self.rows is None:
            return functional.embedding(input_ids, self.weight)
        # Padding gets no gradient, as in nn.Embedding.
        return functional.embedding(self._positions[input_ids], self.rows, self._padding_row)


class Part(NamedTuple):
    """One of the model's own parameters: where it lies in which flat one."""

    name: str
    flat: nn.Parameter
    start: int
    shape: tuple[int, ...]

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Return its block of values that are laid out as the flat parameter is."""
        flat = values.view(-1)[self.start : self.start + math.prod(self.shape)]
        return flat.view(self.shape)


class FlatParameters:
    """A model's weights as flat parameters: decayed, not decayed, and word embeddings by rows.

    The model's own parameters become views of them, their gradients views of one buffer. Where word
    embeddings are also the weights of the model's answers (a language model's), each of their rows
    gets a gradient: then they are parameters like all others.
    """

    def __init__(self, model: Any, most_tokens: int, tensors: Tensors | None = None) -> None:
        """Take over a model; a step reads at most ``most_tokens`` tokens.

        The model's values become those of ``tensors`` where they come with an earlier rank's.
        """
        self._tensors = tensors or Tensors()
        table = model.get_input_embeddings()
        words = None if table is None else table.weight
        uses = [p for _, p in model.named_parameters(remove_duplicate=False) if p is words]
        self.embedding: TouchedRows | None = None
        if len(uses) == 1:
            self.embedding = TouchedRows(table)
            model.set_input_embeddings(self.embedding)
        by_rows = words if self.embedding is not None else None
        dense = [(n, p) for n, p in model.named_parameters() if p is not by_rows]
        decayed = [(n, p) for n, p in dense if p.ndim > 1]
        others = [(n, p) for n, p in dense if p.ndim <= 1]  # biases and layer norms
        sizes = [_size(decayed), _size(others)]
        # One buffer for all that travels between ranks: the gradients, a few numbers, and as many
        # rows of word embeddings as a step reads.
        self._num_dense = sum(sizes)
        self._width = 0 if by_rows is None else by_rows.shape[1]
        most_rows = 0 if by_rows is None else min(most_tokens, len(by_rows))
        like = dense[0][1] if by_rows is None else by_rows
        self._buffer = like.new_zeros(
            self._num_dense + _NUM_EXTRA + most_rows * self._width, requires_grad=False
        )
        self.exchange = self._buffer
        self.extra = self._buffer[self._num_dense : self._num_dense + _NUM_EXTRA]
        gradients = torch.split(self._buffer[: self._num_dense], sizes)
        self.parts: list[Part] = []
        self.decayed = self._flatten(decayed, gradients[0])
        self.others = self._flatten(others, gradients[1])
        self.decayed_parts = [self.decayed]
        self.table: nn.Parameter | None = None
        if by_rows is not None:
            self.table = nn.Parameter(self._tensors.like(by_rows))
            if not self._tensors.are_filled:
                self.table.data.copy_(by_rows.detach())
            self.table.grad = torch.zeros_like(self.table)
            by_rows.data = self.table.data
            name = next(n for n, p in model.named_parameters() if p is by_rows)
            self.parts.append(Part(name, self.table, 0, tuple(self.table.shape)))
            self.decayed_parts.append(self.table)

    @property
    def reads_rows(self) -> bool:
        """Whether a step must be told which tokens it reads."""
        return self.embedding is not None

    def _flatten(self, named: Named, gradient: torch.Tensor) -> nn.Parameter:
        """Move parameters into one flat one, and have their gradients gather in ``gradient``."""
        flat = nn.Parameter(self._tensors.like(gradient))
        flat.grad = gradient
        start = 0
        for name, parameter in named:
            part = Part(name, flat, start, tuple(parameter.shape))
            if not self._tensors.are_filled:
                part.of(flat.data).copy_(parameter.detach())
            parameter.data = part.of(flat.data)
            parameter.grad = part.of(gradient)
            self.parts.append(part)
            start += parameter.numel()
        return flat

    def open_step(self, tokens: torch.Tensor) -> None:
        """Prepare a step that reads these tokens: what it gathers will be in ``exchange``."""
        if self.embedding is None:
            return
        begin = self._num_dense + _NUM_EXTRA
        end = begin + len(tokens) * self._width
        self.exchange = self._buffer[:end]
        self.embedding.open(tokens, self._buffer[begin:end].view(-1, self._width))

    @property
    def num_gradient_bytes(self) -> int:
        """Return the bytes that are kept for gradients."""
        table = self.table.nbytes if self.table is not None else 0
        return int(self._buffer.nbytes + table)

    @property
    def gathered(self) -> list[torch.Tensor]:
        """Return the gradients of a step: dense ones, and of the rows that it has read."""
        dense = self._buffer[: self._num_dense]
        rows = self.embedding.rows if self.embedding is not None else None
        return [dense] if rows is None or rows.grad is None else [dense, rows.grad]

    @contextmanager
    def rows_in_table(self, tokens: torch.Tensor) -> Iterator[None]:
        """Have the gradients of the rows in the table, while the optimiser takes its step."""
        if self.table is None:
            yield
            return
        assert self.table.grad is not None
        self.table.grad[tokens] = self.gathered[1]
        yield
        self.table.grad[tokens] = 0.0
        self.close_step()

    def close_step(self) -> None:
        """End a step: words are read from the whole table again."""
        if self.embedding is not None:
            self.embedding.close()


def _size(named: Named) -> int:
    return sum(parameter.numel() for _, parameter in named)
