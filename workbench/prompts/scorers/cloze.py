"""A masked language model as a scorer: the words that best fill the gap of a prompt.

The gap is ``{{ mask }}``, written once. Words of several tokens get a gap of as many, and their
weight is the sum over its places. Source: Schick and Schuetze 2021 (pattern-exploiting training).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.models.folder import max_tokens_of
from workbench.models.text_encoder import length_batches, pad_rows
from workbench.prompts.scorers.language import (
    LanguageScorerSpec,
    combined,
    without_special_tokens,
)
from workbench.prompts.scorers.scorer import FindModel, Weights, Written, said
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Messages

GAP = "\ue000gap\ue000"  # what {{ mask }} becomes, until it is known how many masks it is


class ClozeScorerSpec(LanguageScorerSpec):
    """The probability of each option's words in the gap of a prompt. Writes nothing."""

    kind: Literal["cloze"] = option(
        "cloze", title="Kind", group="Scorer",
        help="A masked language model: the answer whose words fill {{ mask }} best.",
    )  # fmt: skip

    @property
    def gap(self) -> str:
        """Return what it takes for the gap that it fills."""
        return GAP

    def open(self, find: FindModel, num_threads: int) -> ClozeScorer:
        """Load the model."""
        return ClozeScorer(find(self.model), num_threads, self.combine)


class ClozeScorer:
    """A loaded masked language model with its tokenizer."""

    def __init__(self, folder: Path, num_threads: int, combine: str = "sum") -> None:
        """Load it.

        Raises:
            DataError: the folder was refused, or its tokenizer has no mask.
            StageError: a weight is missing, as of an encoder without a head.
        """
        import torch
        from transformers import AutoTokenizer

        from workbench.models.checkpoint import open_language_model, quiet_transformers

        torch.set_num_threads(num_threads)
        self._model: Any = open_language_model(folder, "masked").eval()
        with quiet_transformers():
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        if self._tokenizer.mask_token_id is None:
            raise DataError("The model's tokenizer has no mask", where=str(folder),
                            next_step="Name a masked language model.")  # fmt: skip
        framed = self._tokenizer(self._tokenizer.mask_token)["input_ids"]
        place = framed.index(self._tokenizer.mask_token_id)
        self._begin, self._end = framed[:place], framed[place + 1 :]  # special tokens around a text
        self._max_tokens = max_tokens_of(folder)
        self._combine = combine

    def weigh(self, prompts: Sequence[Messages], options: Sequence[Option]) -> Weights:
        """Return log-probabilities, float32 [prompts, options].

        Raises:
            DataError: a prompt has no gap, or an option's words are no token.
        """
        phrasings = [self._tokens(words) for option in options for words in option.words]
        texts = [said(prompt).partition(GAP) for prompt in prompts]
        if any(not gap or GAP in after for _, gap, after in texts):
            raise DataError("The prompt must show {{ mask }} exactly once", where="messages",
                            next_step="Write {{ mask }} where the answer belongs.")  # fmt: skip
        weights = np.empty((len(texts), len(phrasings)), np.float32)
        for size in sorted({len(phrasing) for phrasing in phrasings}):
            columns = [n for n, phrasing in enumerate(phrasings) if len(phrasing) == size]
            wanted = np.asarray([phrasings[n] for n in columns])
            rows, places = zip(*(self._row(b, a, size) for b, _, a in texts), strict=True)
            weights[:, columns] = self._weigh(rows, places, wanted)
        return combined(weights, options, self._combine)

    def write(
        self, prompts: Iterable[Messages], options: Sequence[Option], decoding: Decoding
    ) -> Iterator[tuple[int, Written]]:
        """Refuse: a masked language model fills gaps only."""
        raise NotImplementedError

    def _tokens(self, words: str) -> list[int]:
        ids = self._ids(words)
        if not ids or self._tokenizer.unk_token_id in ids:
            raise DataError(f"The label words {words!r} are no token of this model",
                            where="label words",
                            next_step="Use words that the model knows.")  # fmt: skip
        return ids

    def _ids(self, text: str) -> list[int]:
        plain = without_special_tokens(self._tokenizer, text)
        return list(self._tokenizer(plain, add_special_tokens=False)["input_ids"])

    def _row(self, before: str, after: str, size: int) -> tuple[list[int], int]:
        """Return a prompt's tokens with a gap, and where that is; of long ones the far ends go."""
        head, tail = self._ids(before), self._ids(after)
        room = self._max_tokens - size - len(self._begin) - len(self._end)
        tail = tail[: max(room - len(head), room // 2)]
        head = head[max(0, len(head) - (room - len(tail))) :]
        gap = [self._tokenizer.mask_token_id] * size
        return [*self._begin, *head, *gap, *tail, *self._end], len(self._begin) + len(head)

    def _weigh(self, rows: Sequence[list[int]], places: Sequence[int], wanted: Any) -> Weights:
        """Return the log-probability of wanted tokens [options, size] in each row's gap."""
        import torch

        found = np.empty((len(rows), len(wanted)), np.float32)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        begins = np.asarray(places, np.int64)
        steps = np.arange(wanted.shape[1])
        for batch in length_batches(lengths):
            ids = [np.asarray(rows[n], np.int32) for n in batch]
            padded = pad_rows(ids, self._tokenizer.pad_token_id or 0)
            inputs = {name: torch.from_numpy(array) for name, array in padded.items()}
            gaps = torch.from_numpy(begins[batch][:, None] + steps)
            with torch.inference_mode():
                logits = self._model(**inputs).logits
                told = logits[torch.arange(len(batch))[:, None], gaps].float().log_softmax(-1)
            found[batch] = told.numpy()[:, steps, wanted].sum(-1)
        return found
