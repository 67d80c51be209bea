"""The optimiser of every strategy: AdamW, its moments there from the start.

Source: Loshchilov & Hutter 2019 (decoupled weight decay).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.train.memory import Tensors
from workbench.train.options import FitOptions

MOMENTS = ("exp_avg", "exp_avg_sq")  # running means of gradients and of their squares


class Optimiser:
    """Updates tensors in place from their ``grad``; biases and layer norms do not decay."""

    def __init__(
        self,
        decayed: Sequence[torch.Tensor],
        others: Sequence[torch.Tensor],
        options: FitOptions,
        memory: Tensors | None = None,
    ) -> None:
        """Prepare to update tensors; the moments are in ``memory``, with what is there already."""
        memory = memory or Tensors()
        self._adamw = torch.optim.AdamW(
            [{"params": list(decayed), "weight_decay": options.weight_decay},
             {"params": list(others), "weight_decay": 0.0}],
            lr=options.learning_rate, fused=True,
        )  # fmt: skip
        for tensor in (*decayed, *others):
            self._adamw.state[tensor] = {
                "step": torch.zeros((), device=tensor.device),
                **{moment: memory.like(tensor) for moment in MOMENTS},
            }

    def moment(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Return one of the moments of a tensor, in its shape."""
        found: torch.Tensor = self._adamw.state[tensor][name]
        return found

    def update(self, learning_rate: float, step: int) -> None:
        """Take step number ``step``, from 0."""
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        for state in self._adamw.state.values():
            state["step"].fill_(step)
        self._adamw.step()


def are_numbers(gradients: Iterable[torch.Tensor]) -> bool:
    """Whether all gradients are finite: a sum shows it at the cost of reading them once."""
    return all(math.isfinite(float(gradient.sum(dtype=torch.float64))) for gradient in gradients)


def scale_to_norm(gradients: Iterable[torch.Tensor], squares: float, most: float | None) -> float:
    """Return the norm of gradients, the sum of whose squares is given; if too long, scale them."""
    norm = math.sqrt(squares)
    if most is not None and norm > most:
        for gradient in gradients:
            gradient.mul_(most / (norm + 1e-6))
    return norm
