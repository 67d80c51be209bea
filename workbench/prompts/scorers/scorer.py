"""What a scorer promises; a third party adds one by the group ``workbench.scorers``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from workbench.core.errors import WorkbenchError
from workbench.core.spec import ModelSource, Spec, option
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Messages

SCORER_GROUP = "workbench.scorers"
Weights = npt.NDArray[np.float32]
_CHUNK = 256  # prompts that are taken at once
FindModel = Callable[[str], Path]  # the folder of a name, of a path or of an artifact


class Written(NamedTuple):
    """An answer in words, and what it took."""

    text: str | None  # None: whatever came back cannot be used as an answer
    weights: list[float] | None = None  # of the options, where an answer comes with them
    tokens_read: int = 0
    tokens_written: int = 0


class Scorer(Protocol):
    """A scorer that is ready to answer.

    What it cannot do it need not have: its settings tell (``weighs``, ``writes``), so that a prompt
    that needs it is refused before anything is loaded.
    """

    def weigh(self, prompts: Sequence[Messages], options: Sequence[Option]) -> Weights:
        """Return how likely each option is as the answer, float32 [prompts, options].

        Any numbers of which the softmax is meant: log-probabilities, similarities to a scale. What
        it answers to a prompt does not depend on the prompts beside it, but for rounding.
        """
        ...

    def write(
        self, prompts: Iterable[Messages], options: Sequence[Option], decoding: Decoding
    ) -> Iterator[tuple[int, Written]]:
        """Yield the answers in the scorer's own words, each as soon as it is there.

        ``prompts`` are taken when there is room for one more; once they end, whatever is on its way
        is still yielded. An answer comes with the place of its prompt, in any order.
        """
        ...


class ScorerSpec(Spec):
    """The settings of a kind of scorer."""

    kind: str = option(title="Kind", help="What answers the prompt.", group="Scorer")

    def open(self, find: FindModel, num_threads: int) -> Scorer:
        """Return the scorer, loaded.

        Raises:
            WorkbenchError: it cannot be loaded.
        """
        raise NotImplementedError

    def fingerprint(self) -> str | None:
        """Return a hash of all that decides an answer and is not in the settings.

        Empty if they say it all; None where answers may differ from time to time.
        """
        return ""

    @property
    def weighs(self) -> bool:
        """Whether it can tell how likely each answer is."""
        return False

    @property
    def writes(self) -> bool:
        """Whether it can answer in its own words."""
        return False

    @property
    def decides(self) -> bool:
        """Whether ``write`` chooses one of the options, and tells the weight of each."""
        return False

    def cell_settings(self) -> str:
        """Return all of the settings that decides an answer: what only sets the pace does not."""
        return f"{self.canonical_json()}|{self.fingerprint()}"

    def check_budget(self, num_prompts: int, characters: int, decoding: Decoding) -> str:
        """Return what answering will cost, in words; empty where it costs nothing.

        Raises:
            SpecError: it would cost more than is allowed.
        """
        return ""

    def over_budget(self, tokens_read: int, tokens_written: int) -> WorkbenchError | None:
        """Return the error of a run that has used more than is allowed; None if it has not."""
        return None

    @property
    def gap(self) -> str:
        """Return what ``{{ mask }}`` is for it: the gap that it fills; empty if it fills none."""
        return ""


class ModelScorerSpec(ScorerSpec):
    """The settings of a scorer that is a model in this process."""

    model: ModelSource = option(
        title="Model", group="Scorer", help="A name, a folder or an artifact."
    )

    def fingerprint(self) -> str | None:
        """Return a hash of a model from outside; a reference to an artifact says all by itself."""
        from workbench.models.resolve import fingerprint_model

        return fingerprint_model(self.model) or self.model


def chunks(prompts: Iterable[Messages]) -> Iterator[tuple[int, list[Messages]]]:
    """Yield prompts in lists for batches, each with the place of its first."""
    first, waiting = 0, iter(prompts)
    while chunk := list(islice(waiting, _CHUNK)):
        yield first, chunk
        first += len(chunk)


def said(prompt: Messages) -> str:
    """Return messages as one text, for models that know no roles."""
    return "\n".join(message.content for message in prompt)
