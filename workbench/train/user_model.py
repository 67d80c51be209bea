"""Models that users write: one function that builds a torch module, in a notebook cell or a file.

    @model
    def attentive(encoder, num_labels: int, dropout: float = 0.1):
        return AttentiveHead(encoder, num_labels, dropout)  # a class of the notebook

    @model
    def bag_of_words(num_tokens: int, num_labels: int, width: int = 64):
        return Bag(num_tokens, num_labels, width)

    TrainSpec(dataset="comments@latest", own_model=bag_of_words.set(width=128))

What it builds is called with input_ids and attention_mask, int64 [texts, tokens], and returns
logits, [texts, labels]. ``encoder`` is the pre-trained model without a head, called as models of
transformers are, with its ``config``; a function that does not ask for it starts from nothing but
the pre-trained model's tokenizer. The function travels to the workers as source text, in the Spec;
the trained model is served as an ONNX graph, which holds no code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.core.errors import SpecError, StageError
from workbench.core.user_function import UserFunction

if TYPE_CHECKING:
    import torch

_GIVEN = ("encoder", "num_tokens", "num_labels")


def _settings_of(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters
    name = function.__name__
    if "num_labels" not in parameters or not {"encoder", "num_tokens"} & set(parameters):
        raise SpecError(
            f"{name} builds no classifier",
            where=name,
            next_step="It takes num_labels, and encoder (the pre-trained model) or num_tokens (how "
            "many tokens there are).",
        )
    settings = [p for p in parameters.values() if p.name not in _GIVEN]
    bare = [p.name for p in settings if p.default is inspect.Parameter.empty]
    if bare:
        raise SpecError(f"{name} needs a default for {bare[0]!r}", where=name,
                        next_step=f"Give it one, or ask for {', '.join(_GIVEN)}.")  # fmt: skip
    return [p.name for p in settings]


class UserModel(UserFunction):
    """A function that builds a classifier, as source text, with its settings."""

    settings_of = _settings_of

    @property
    def has_encoder(self) -> bool:
        """Whether it builds on the pre-trained model, and not on its tokenizer alone."""
        return "encoder" in inspect.signature(self.load()).parameters

    def __call__(self, **given: Any) -> torch.nn.Module:
        """Build the module, from encoder, num_tokens and num_labels as far as it asks for them.

        Raises:
            StageError: the function raised, or returned no torch module.
        """
        import torch

        function = self.load()
        wanted = inspect.signature(function).parameters
        values = {**self.parameters, **{n: v for n, v in given.items() if n in wanted}}
        try:
            built = function(**values)
        except Exception as error:
            raise self.failed(f"{type(error).__name__}: {error}") from error
        if not isinstance(built, torch.nn.Module):
            raise self.failed(f"it returned a {type(built).__name__}, not a torch module")
        return built

    def failed(self, how: str) -> StageError:
        """Return the error that tells what is wrong with the function or with what it builds."""
        return StageError(
            f"The model {self.name} failed: {how}",
            where=f"model {self.name}",
            next_step="Try it in its cell: build it, call it with input_ids and attention_mask; it "
            "returns logits, [texts, labels].",
        )


def model(function: Callable[..., Any], /) -> UserModel:
    """Declare a function that builds a torch module as a classifier that can be trained.

    It takes ``num_labels``, and ``encoder`` or ``num_tokens`` or both; its further parameters are
    settings and need defaults.

    Raises:
        SpecError: the function takes something else, or uses what cannot travel.
    """
    return UserModel.declare(function)
