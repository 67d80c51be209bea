"""A causal language model in this process as a scorer: it weighs options, or writes an answer.

All options of a prompt share the work on its words: the prompt goes through the model once, and its
cached keys and values serve each option. Options of one token are read from the prompt's last
position alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.models.folder import max_tokens_of
from workbench.models.text_encoder import length_batches
from workbench.prompts.scorers.language import (
    LanguageScorerSpec,
    combined,
    without_special_tokens,
)
from workbench.prompts.scorers.scorer import (
    FindModel,
    Weights,
    Written,
    chunks,
    said,
)
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Messages

if TYPE_CHECKING:
    import torch

Ids = list[int]
_MOST_PADDED = 8192  # tokens of a batch, padding and all options included


class CausalScorerSpec(LanguageScorerSpec):
    """The probability that a language model goes on with each option; or what it writes."""

    kind: Literal["causal"] = option(
        "causal", title="Kind", group="Scorer",
        help="A causal language model in this process: it weighs answers, or writes one.",
    )  # fmt: skip
    per_token: bool = option(
        False, title="Per token", group="Scorer",
        help="Divide a phrasing's log-probability by its tokens, so that long ones stand no worse.",
    )  # fmt: skip

    @property
    def writes(self) -> bool:
        """Whether it can answer in its own words."""
        return True

    def open(self, find: FindModel, num_threads: int) -> CausalScorer:
        """Load the model."""
        return CausalScorer(find(self.model), num_threads, self.combine, self.per_token)


class CausalScorer:
    """A loaded causal language model with its tokenizer."""

    def __init__(
        self, folder: Path, num_threads: int, combine: str = "sum", per_token: bool = False
    ) -> None:
        """Load it.

        Raises:
            DataError: the folder was refused.
            StageError: a weight is missing, as of a model that was no language model.
        """
        import torch

        from workbench.models.checkpoint import open_language_model

        torch.set_num_threads(num_threads)
        self._model: Any = open_language_model(folder, "causal").eval()
        # What transformers calls the keys and values of a prompt: the name changed with 5.24.
        known = inspect.signature(type(self._model).forward).parameters
        self._cache = "cache" if "cache" in known else "past_key_values"
        self._words = PromptTokens(folder)
        self._combine = combine
        self._per_token = per_token

    def weigh(self, prompts: Sequence[Messages], options: Sequence[Option]) -> Weights:
        """Return log-probabilities, float32 [prompts, options].

        Raises:
            DataError: an option's words are no token at all.
        """
        phrasings = [self._words.continuation(words) for o in options for words in o.words]
        rows = [self._words.prompt(prompt, max(map(len, phrasings))) for prompt in prompts]
        weights = np.empty((len(rows), len(phrasings)), np.float32)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        longest = max(map(len, phrasings))
        most = max(1, _MOST_PADDED // (1 if longest == 1 else len(phrasings)))
        for batch in length_batches(lengths, max_padded=most):
            weights[batch] = self._weigh([rows[n] for n in batch], phrasings)
        if self._per_token:
            weights /= np.fromiter(map(len, phrasings), np.float32, len(phrasings))
        return combined(weights, options, self._combine)

    def _weigh(self, rows: Sequence[Ids], phrasings: Sequence[Ids]) -> npt.NDArray[np.float32]:
        """Return the log-probability of each phrasing after each row, [rows, phrasings]."""
        import torch

        ids, mask = self._words.pad_left(rows)
        longest = max(map(len, phrasings))
        with torch.inference_mode():
            said = self._model(
                input_ids=ids, attention_mask=mask, position_ids=_positions(mask),
                use_cache=longest > 1, logits_to_keep=1,
            )  # fmt: skip
            first = said.logits[:, -1].float().log_softmax(-1)
            firsts = torch.tensor([phrasing[0] for phrasing in phrasings])
            found = first[:, firsts]
            if longest > 1:
                found = found + self._weigh_rest(said[self._cache], mask, phrasings)
        answer: npt.NDArray[np.float32] = found.numpy()
        return answer

    def _weigh_rest(self, cache: Any, mask: torch.Tensor, phrasings: Sequence[Ids]) -> torch.Tensor:
        """Return the log-probability of all tokens but the first of each phrasing."""
        import torch

        num_rows, longest = len(mask), max(map(len, phrasings))
        cache.batch_repeat_interleave(len(phrasings))
        read = torch.full((len(phrasings), longest - 1), self._words.pad_id)
        told = torch.zeros((len(phrasings), longest - 1), dtype=torch.int64)
        is_told = torch.zeros((len(phrasings), longest - 1))
        for number, phrasing in enumerate(phrasings):
            rest = len(phrasing) - 1
            read[number, :rest] = torch.tensor(phrasing[:-1])
            told[number, :rest] = torch.tensor(phrasing[1:])
            is_told[number, :rest] = 1.0
        before = mask.repeat_interleave(len(phrasings), 0)
        after = torch.ones(num_rows * len(phrasings), longest - 1, dtype=mask.dtype)
        places = before.sum(1, keepdim=True) + torch.arange(longest - 1)
        logits = self._model(
            input_ids=read.repeat(num_rows, 1), position_ids=places,
            attention_mask=torch.cat([before, after], 1), use_cache=True, **{self._cache: cache},
        ).logits.float().log_softmax(-1)  # fmt: skip
        each = logits.gather(-1, told.repeat(num_rows, 1).unsqueeze(-1)).squeeze(-1)
        found: torch.Tensor = (each.view(num_rows, len(phrasings), -1) * is_told).sum(-1)
        return found

    def write(
        self, prompts: Iterable[Messages], options: Sequence[Option], decoding: Decoding
    ) -> Iterator[tuple[int, Written]]:
        """Yield what the model goes on with, without the prompt, up to a stop."""
        for first, chunk in chunks(prompts):
            rows = [self._words.prompt(prompt, decoding.max_tokens) for prompt in chunk]
            lengths = np.fromiter(map(len, rows), np.int64, len(rows)) + decoding.max_tokens
            for batch in length_batches(lengths, max_padded=_MOST_PADDED):
                answers = self._write([rows[n] for n in batch], decoding)
                for number, answer in zip(batch.tolist(), answers, strict=True):
                    yield first + number, Written(until_stop(answer, decoding.stop))

    def _write(self, rows: Sequence[Ids], decoding: Decoding) -> Iterator[str]:
        import torch
        from transformers import GenerationConfig

        ids, mask = self._words.pad_left(rows)
        drawn = decoding.temperature > 0
        settings: dict[str, Any] = {"do_sample": drawn, "max_new_tokens": decoding.max_tokens}
        if drawn:
            settings |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
        config = GenerationConfig(
            **settings, pad_token_id=self._words.pad_id, eos_token_id=self._words.end_ids or None,
        )  # fmt: skip
        torch.manual_seed(decoding.seed)
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids, attention_mask=mask, generation_config=config
            )
        yield from self._words.texts(written[:, ids.shape[1] :].tolist())


class PromptTokens:
    """A language model's tokenizer, for prompts and what may come after them."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        from workbench.models.checkpoint import quiet_transformers

        with quiet_transformers():
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        self.max_tokens = max_tokens_of(folder)
        end = self._tokenizer.eos_token_id
        self.pad_id: int = self._tokenizer.pad_token_id or end or 0
        self.end_ids: list[int] = [] if end is None else [end]
        self._has_roles = bool(self._tokenizer.chat_template)

    def prompt(self, messages: Messages, room: int) -> Ids:
        """Return a prompt's tokens; of one too long the end is kept, and room for an answer."""
        if self._has_roles:
            told = [
                {"role": m.role, "content": without_special_tokens(self._tokenizer, m.content)}
                for m in messages
            ]
            text = self._tokenizer.apply_chat_template(
                told, tokenize=False, add_generation_prompt=True
            )
        else:
            text = without_special_tokens(self._tokenizer, said(messages)).rstrip()
        ids: Ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        begin = self._tokenizer.bos_token_id
        if begin is not None and not self._has_roles:
            ids = [begin, *ids]
        kept = max(1, self.max_tokens - room)
        if not ids:
            raise DataError("The prompt is empty", where="messages",
                            next_step="Have the messages say something.")  # fmt: skip
        return ids[-kept:]

    def continuation(self, words: str) -> Ids:
        """Return the tokens of words that come after a prompt.

        Raises:
            DataError: the tokenizer knows none of them.
        """
        text = words if self._has_roles else f" {words.lstrip()}"
        ids: Ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        unknown = self._tokenizer.unk_token_id
        if not ids or all(token == unknown for token in ids):
            raise DataError(f"The label words {words!r} are no token of this model",
                            where="label words",
                            next_step="Use words that the model knows.")  # fmt: skip
        return ids

    def pad_left(self, rows: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and mask, int64 [rows, longest row], each row at the right end."""
        import torch

        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.pad_id)
        mask = torch.zeros((len(rows), longest), dtype=torch.int64)
        for number, row in enumerate(rows):
            ids[number, longest - len(row) :] = torch.tensor(row)
            mask[number, longest - len(row) :] = 1
        return ids, mask

    def texts(self, rows: Sequence[Ids]) -> list[str]:
        """Return tokens as texts, without those that mean an end."""
        found: list[str] = self._tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [text.strip() for text in found]


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)


def until_stop(answer: str, stop: Sequence[str]) -> str:
    """Return an answer up to the first stop in it."""
    ends = [place for place in (answer.find(text) for text in stop if text) if place >= 0]
    return answer[: min(ends)].rstrip() if ends else answer
