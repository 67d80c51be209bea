"""Losses that users write: one function, in a notebook cell or a file.

    @loss
    def focal(logits, labels, gamma: float = 2.0):
        log_p = torch.log_softmax(logits, -1).gather(1, labels[:, None])[:, 0]
        return -((1 - log_p.exp()) ** gamma) * log_p

    TrainSpec(dataset="comments@latest", loss=focal.set(gamma=1.0))

It gets logits, float32 [texts, labels], and label numbers, int64 [texts], and returns one number a
text, [texts]; weights of labels and sources, and the mean over a batch, are the training's. It
travels to the workers as source text, in the Spec.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.core.errors import SpecError, StageError
from workbench.core.user_function import UserFunction
from workbench.train.rank import is_out_of_memory

if TYPE_CHECKING:
    import torch


def _settings_of(function: Callable[..., Any]) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())
    empty = inspect.Parameter.empty
    if len(parameters) < 2 or any(p.default is not empty for p in parameters[:2]):
        raise SpecError(f"{function.__name__} is no loss", where=function.__name__,
                        next_step="Its first two parameters are logits and labels.")  # fmt: skip
    bare = [p.name for p in parameters[2:] if p.default is empty]
    if bare:
        raise SpecError(f"{function.__name__} needs a default for {bare[0]!r}",
                        where=function.__name__, next_step="Give it one.")  # fmt: skip
    return [p.name for p in parameters[2:]]


class UserLoss(UserFunction):
    """A loss as source text, with its settings."""

    settings_of = _settings_of

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of each text, [texts].

        Raises:
            StageError: the function raised, or returned something else than one number a text.
        """
        function = self.load()
        try:
            each = function(logits, labels, **self.parameters)
        except Exception as error:
            if is_out_of_memory(error):
                raise  # which a training heals from
            raise self._failed(f"{type(error).__name__}: {error}") from error
        shape = tuple(getattr(each, "shape", ()))
        if shape != (len(labels),):
            told = f"a tensor of {shape}" if hasattr(each, "shape") else type(each).__name__
            raise self._failed(f"it returned {told}, not one number for each of {len(labels)}")
        return each  # type: ignore[no-any-return]

    def _failed(self, how: str) -> StageError:
        return StageError(
            f"The loss {self.name} failed: {how}",
            where=f"loss {self.name}",
            next_step="Try it in its cell: focal(torch.randn(4, 3), torch.tensor([0, 1, 2, 0])).",
        )


def loss(function: Callable[..., Any], /) -> UserLoss:
    """Declare a function ``(logits, labels, ...) -> one number a text`` as a training's loss.

    Its further parameters are settings and need defaults.

    Raises:
        SpecError: the function takes something else, or uses what cannot travel.
    """
    return UserLoss.declare(function)
