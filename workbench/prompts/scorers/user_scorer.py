"""Scorers that users write: one function that answers a prompt, in a notebook cell or a file.

    @scorer
    def shouting(prompt: str, most: int = 3) -> dict:  # weights by label, such as probabilities
        return {"angry": prompt.count("!") / most, "calm": 1.0}

    @scorer
    def first_word(prompt: str) -> str:  # an answer in words, which the prompt's verbaliser reads
        return prompt.split()[0]

    LabelSpec(dataset="comments@latest", prompt="mood@latest", scorer=shouting.set(most=5))

A function whose first parameter is a list (``prompts: list``) gets many at once and returns as many
answers. It travels to the workers as source text, in the Spec: it is part of the cache key and
stands in the lineage of what was made with it.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from workbench.core.errors import SpecError, StageError
from workbench.core.spec import option
from workbench.core.user_function import UserFunction
from workbench.prompts.scorers.scorer import (
    FindModel,
    ScorerSpec,
    Weights,
    Written,
    chunks,
    said,
)
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Messages


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    found = list(inspect.signature(function).parameters.values())
    if not found or any(p.default is inspect.Parameter.empty for p in found[1:]):
        name = function.__name__
        raise SpecError(f"{name} must take a prompt, and give every other parameter a default",
                        where=name, next_step=f"def {name}(prompt: str) -> dict: ...")  # fmt: skip
    return found


def _settings_of(function: Callable[..., Any]) -> list[str]:
    _returned(function)
    return [parameter.name for parameter in _parameters(function)[1:]]


def _returned(function: Callable[..., Any]) -> str:
    """Return whether a function gives weights or words.

    Raises:
        SpecError: its annotation does not tell.
    """
    told = str(inspect.signature(function).return_annotation)
    if "dict" in told or "Mapping" in told:
        return "weights"
    if "str" not in told:
        name = function.__name__
        raise SpecError(f"{name} does not tell what it returns", where=name,
                        next_step="Write -> dict for weights by label, -> str for an answer in "
                        "words.")  # fmt: skip
    return "words"


class UserScorerSpec(UserFunction, ScorerSpec):
    """A function of a notebook cell, as source text with its settings."""

    settings_of = _settings_of

    kind: Literal["cell"] = option(
        "cell", title="Kind", help="A function of yours, written with @scorer.", group="Scorer"
    )  # fmt: skip

    @property
    def weighs(self) -> bool:
        """Whether it can tell how likely each answer is."""
        return _returned(self.load()) == "weights"

    @property
    def writes(self) -> bool:
        """Whether it can answer in its own words."""
        return not self.weighs

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function as it was written, to try it."""
        return self.load()(*arguments, **{**self.parameters, **named})

    def open(self, find: FindModel, num_threads: int) -> UserScorer:
        """Load the function."""
        return UserScorer(self)


def scorer(function: Callable[..., Any]) -> UserScorerSpec:
    """Declare a function of a cell as a scorer.

    Raises:
        SpecError: it takes no prompt, does not tell what it returns, or uses what cannot travel.
    """
    return UserScorerSpec.declare(function)


class UserScorer:
    """A loaded function."""

    def __init__(self, spec: UserScorerSpec) -> None:
        self._spec = spec
        first = _parameters(spec.load())[0]
        self._takes_many = "list" in str(first.annotation) or "Sequence" in str(first.annotation)

    def weigh(self, prompts: Sequence[Messages], options: Sequence[Option]) -> Weights:
        """Return the function's weights, float32 [prompts, options]; what it leaves out is 0.

        Raises:
            StageError: it raised, or gave something else.
        """
        labels = [option.label for option in options]
        rows = [self._row(answer, labels) for answer in self._answers(prompts)]
        return np.asarray(rows, np.float32).reshape(len(rows), len(labels))

    def write(
        self, prompts: Iterable[Messages], options: Sequence[Option], decoding: Decoding
    ) -> Iterator[tuple[int, Written]]:
        """Yield the function's answers.

        Raises:
            StageError: it raised, or gave something else.
        """
        for first, chunk in chunks(prompts):
            for number, answer in enumerate(self._answers(chunk), first):
                if not isinstance(answer, str):
                    raise self._failed(f"it returned {answer!r:.80}, no text")
                yield number, Written(answer)

    def _row(self, answer: Any, labels: Sequence[str]) -> list[float]:
        if not isinstance(answer, Mapping):
            raise self._failed(f"it returned {answer!r:.80}, no weights by label")
        unknown = next((label for label in answer if label not in labels), None)
        if unknown is not None:
            raise self._failed(f"it weighs {unknown!r}, which is no label: {', '.join(labels)}")
        try:
            row = [float(answer.get(label, 0.0)) for label in labels]
        except (TypeError, ValueError) as error:
            raise self._failed(f"it returned {answer!r:.80}, whose weights are no numbers"
                               ) from error  # fmt: skip
        if not all(map(math.isfinite, row)):
            raise self._failed(f"it returned {answer!r:.80}, whose weights are no numbers")
        return row

    def _answers(self, prompts: Sequence[Messages]) -> list[Any]:
        texts = [said(prompt) for prompt in prompts]
        try:
            answers = list(self._spec(texts)) if self._takes_many else [*map(self._spec, texts)]
        except Exception as error:
            how = f"{type(error).__name__}: {error}"
            raise self._failed(how, traceback.format_exc()) from error
        if len(answers) != len(texts):
            raise self._failed(f"it gave {len(answers)} answers to {len(texts)} prompts")
        return answers

    def _failed(self, how: str, detail: str = "") -> StageError:
        return StageError(
            f"The scorer {self._spec.name} failed: {how}",
            where=f"function {self._spec.name}",
            next_step="Mend the function in its cell, try it by calling it, and submit again.",
            detail=detail,
        )
