"""Training a language model: to fill in masked tokens, or to tell the next one.

Sources: Devlin et al. 2019 (of the tokens that are to be told, 80 % are masked, 10 % replaced and
10 % left); Liu et al. 2019 (they are chosen anew each time; texts are packed into full rows).
"""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch  # noqa: TID253 (only ranks import this module, when work starts)
from torch.nn import functional  # noqa: TID253

from workbench.models.checkpoint import open_language_model, save_language_description
from workbench.models.folder import TOKENIZER, read_json
from workbench.models.text_encoder import length_batches
from workbench.train.batches import Rows, slice_batch
from workbench.train.options import FitJob
from workbench.train.ranks import Ranks
from workbench.train.step import ModelInputs, SliceWork
from workbench.train.strategies.strategy import Inputs, StepWork, Strategy
from workbench.train.token_set import TokenSet, open_token_set
from workbench.train.training_task import Figures

_HEADS = ("cls", "lm_head")  # what turns hidden states into logits, where it stands alone
_MASKED, _REPLACED = 0.8, 0.1  # of the tokens that are to be told
_VALIDATION = 1 << 40  # stands for the step in the seeds of masks of validation rows
_ROWS_AT_ONCE = 16


class Told(NamedTuple):
    """Which tokens of some rows are to be told."""

    positions: npt.NDArray[np.int64]  # in the rows, laid end to end
    targets: npt.NDArray[np.int64]
    shown: npt.NDArray[np.int64]  # [rows, longest]: the token ids that the model sees


class Masks:
    """Chooses which tokens are to be told, and what is seen in their place."""

    def __init__(self, tokenizer: Path, share: float, vocabulary_size: int, seed: int) -> None:
        content = read_json(tokenizer)
        added = content.get("added_tokens") or []
        special = [token["id"] for token in added if token.get("special")]
        named = {token["content"]: token["id"] for token in added}
        self._special = np.array(special, np.int64)
        self._mask_id = next((named[name] for name in ("[MASK]", "<mask>") if name in named), 0)
        self._share = share
        self._size = vocabulary_size
        self._seed = seed

    def choose(self, ids: npt.NDArray[np.int64], rows: Rows, step: int) -> Told:
        """Return what is to be told of padded rows: a pure function of rows, step and seed."""
        random = np.random.default_rng([self._seed, step, int(rows[0]) if len(rows) else 0])
        can_be_told = ~np.isin(ids, self._special)
        chosen = can_be_told & (random.random(ids.shape) < self._share)
        if not chosen.any() and can_be_told.any():  # a slice shall say something
            chosen.flat[np.flatnonzero(can_be_told)[0]] = True
        fate = random.random(ids.shape)
        others = random.integers(0, self._size, ids.shape)
        shown = np.where(chosen & (fate < _MASKED), self._mask_id, ids)
        is_replaced = chosen & (fate >= _MASKED) & (fate < _MASKED + _REPLACED)
        shown = np.where(is_replaced, others, shown)
        return Told(np.flatnonzero(chosen), ids[chosen], shown)


def next_tokens(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Told:
    """Return what a causal model has to tell of padded rows: after each token the one behind it."""
    is_told = np.zeros(ids.shape, bool)
    is_told[:, :-1] = (mask[:, :-1] > 0) & (mask[:, 1:] > 0)
    targets = np.roll(ids, -1, axis=1)[is_told]
    return Told(np.flatnonzero(is_told), targets, ids)


class LanguageModelling:
    """A language model with the perplexity that it reaches; see ``TrainingTask``."""

    def __init__(self, job: FitJob, ranks: Ranks) -> None:
        self._job = job
        self._ranks = ranks
        self._rows = open_token_set(job.train_set)
        self.lengths = self._rows.lengths
        model: Any = open_language_model(job.model, job.task)
        self.model = model.to(ranks.device)
        _answer_where_asked(self.model)
        self._masks: Masks | None = None
        if job.task == "masked":
            size = int(self.model.config.vocab_size)
            self._masks = Masks(job.model / TOKENIZER, job.mask_share, size, job.options.seed)
        self.texts = self._inputs_of(self._rows)

    def work(self, batch: Rows, step: int, num_slices: int, scale: float) -> StepWork:
        """Return a global batch as a strategy sees it."""
        return _LanguageWork(self.texts, batch, self._job.options.seed, step, num_slices, scale)

    def judge(self, strategy: Strategy) -> Figures:
        """Return loss and perplexity over the validation rows."""
        assert self._job.validation_set is not None
        rows = open_token_set(self._job.validation_set)
        texts = self._inputs_of(rows)
        texts.step = _VALIDATION
        found = torch.zeros(3, dtype=torch.float64)
        for part, logits in strategy.answers(texts, length_batches(rows.lengths, max_rows=16)):
            targets = torch.from_numpy(texts.told(part).targets).to(logits.device)
            found[0] += float(functional.cross_entropy(logits.float(), targets, reduction="sum"))
            found[1] += float((logits.argmax(-1) == targets).sum())
            found[2] += len(targets)
        self._ranks.sum(found)
        loss, right = float(found[0] / found[2]), float(found[1] / found[2])
        return {"validation_loss": loss, "perplexity": math.exp(min(loss, 100)),
                "token_accuracy": right}  # fmt: skip

    def is_better(self, figures: Figures, known: Figures) -> bool:
        """Whether the loss is lower."""
        return figures["validation_loss"] < known["validation_loss"]

    def describe(self, folder: Path) -> None:
        """Write configuration and tokenizer."""
        save_language_description(
            self.model, folder, self._job.model, self._job.task, self._job.max_tokens
        )

    def _inputs_of(self, rows: TokenSet) -> _LanguageInputs:
        pad_id = int(self.model.config.pad_token_id or 0)
        return _LanguageInputs(rows, pad_id, self._ranks, self._job.options.precision, self._masks)


class _LanguageInputs(ModelInputs):
    """Rows with what is to be told of them."""

    step = 0

    def __init__(
        self, rows: TokenSet, pad_id: int, ranks: Ranks, precision: Any, masks: Masks | None
    ) -> None:
        super().__init__(rows, pad_id, ranks, precision)
        self._masks = masks
        self._told: dict[tuple[int, int], Told] = {}

    def told(self, rows: Rows) -> Told:
        """Return what is to be told of rows in the step at hand."""
        key = (self.step, int(rows[0]))
        if key not in self._told:
            if any(step != self.step for step, _ in self._told):
                self._told.clear()
            padded = self._rows.pad(rows, self._pad_id)
            ids, mask = padded["input_ids"], padded["attention_mask"]
            self._told[key] = (
                self._masks.choose(ids, rows, self.step) if self._masks else next_tokens(ids, mask)
            )
        return self._told[key]

    def inputs(self, rows: Rows) -> Inputs:
        """Return the ids that the model sees, and where there are any."""
        found = super().inputs(rows)
        shown = torch.from_numpy(self.told(rows).shown).to(self.device)
        return {**found, "input_ids": shown}

    def arguments(self, rows: Rows) -> dict[str, Any]:
        """Return the positions at which the model shall answer."""
        return {"positions": torch.from_numpy(self.told(rows).positions).to(self.device)}


class _LanguageWork(SliceWork):
    """One step's batch of a language model."""

    def __init__(
        self, texts: _LanguageInputs, batch: Rows, seed: int, step: int, num_slices: int,
        scale: float,
    ) -> None:  # fmt: skip
        super().__init__(texts, batch, seed, step, num_slices, scale)
        texts.step = step
        self._language = texts
        slices = (slice_batch(batch, number, num_slices) for number in range(num_slices))
        self._num_told = sum(len(texts.told(rows).targets) for rows in slices if len(rows))

    def tokens(self) -> torch.Tensor:
        """Return the distinct token ids that the model sees of the batch: masks among them."""
        slices = (self.rows(number) for number in range(self.num_slices))
        seen = [np.unique(self._language.told(rows).shown) for rows in slices if len(rows)]
        return torch.from_numpy(np.unique(np.concatenate(seen))).to(self._language.device)

    def arguments(self, rows: Rows) -> dict[str, Any]:
        """Return the positions at which the model shall answer."""
        return self._language.arguments(rows)

    def loss(self, output: Any, inputs: Inputs, rows: Rows) -> torch.Tensor:
        """Return a slice's share of the batch's loss."""
        targets = torch.from_numpy(self._language.told(rows).targets)
        targets = targets.to(inputs["input_ids"].device)
        total = functional.cross_entropy(output.logits.float(), targets, reduction="sum")
        return total / self._num_told


def _answer_where_asked(model: Any) -> None:
    """Have a model compute logits at ``positions`` alone: a large vocabulary is much work."""
    head = next((getattr(model, name) for name in _HEADS if hasattr(model, name)), None)
    whole = model.forward

    def forward(positions: torch.Tensor, **inputs: torch.Tensor) -> SimpleNamespace:
        if head is None:
            logits = whole(**inputs).logits
            return SimpleNamespace(logits=logits.flatten(0, 1)[positions])
        hidden = model.base_model(**inputs).last_hidden_state
        return SimpleNamespace(logits=head(hidden.flatten(0, 1)[positions]))

    model.forward = forward
