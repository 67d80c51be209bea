"""Matrix products in 8-bit floating point, weights and all else as before.

A layer's input and weights are rounded to e4m3 (4 bits of exponent, 3 of fraction), gradients on
the way back to e5m2, each tensor scaled by its largest number; sums and results are wider.

Source: Micikevicius et al. 2022, FP8 Formats for Deep Learning.
"""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 (only ranks import this module, when work starts)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

_MULTIPLE = 16  # of which all sizes of an 8-bit product must be
_SMALLEST_SCALE = 1e-12  # of a tensor of zeros
# GPUs from here on have units for it (Ada, Hopper); processors compute it slowly.
_LEAST_CAPABILITY = (8, 9)


def has_float8(device: torch.device) -> bool:
    """Whether a device can multiply 8-bit numbers."""
    return device.type == "cpu" or torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY


def use_float8(model: nn.Module) -> int:
    """Have a model's linear layers multiply in 8 bits; return how many do.

    A layer whose sizes are no multiples of 16, such as a classifier's head, stays as it is.
    """
    count = 0
    for module in model.modules():
        if type(module) is nn.Linear and not any(size % _MULTIPLE for size in module.weight.shape):
            module.__class__ = Float8Linear
            count += 1
    return count


class Float8Linear(nn.Linear):
    """A linear layer whose three products (forward, and both backward) are of 8-bit numbers."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return [..., out_features] in the type that other layers answer in."""
        flat = inputs.reshape(-1, self.in_features)
        padding = -len(flat) % _MULTIPLE
        padded = functional.pad(flat, (0, 0, 0, padding))
        product: Any = _Product.apply(padded, self.weight)  # type: ignore[no-untyped-call]
        product = product[: len(flat)]
        if self.bias is not None:
            product = product + self.bias.to(product.dtype)
        device = inputs.device.type
        is_mixed = torch.is_autocast_enabled(device)
        product = product.to(torch.get_autocast_dtype(device) if is_mixed else inputs.dtype)
        answer: torch.Tensor = product.view(*inputs.shape[:-1], self.out_features)
        return answer


class _Product(torch.autograd.Function):
    """``inputs [rows, in] @ weight [out, in].T``."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        told, told_scale = _rounded(inputs, torch.float8_e4m3fn)
        kept, kept_scale = _rounded(weight, torch.float8_e4m3fn)
        ctx.save_for_backward(told, told_scale, kept, kept_scale)
        ctx.kinds = inputs.dtype, weight.dtype
        return _multiply(told, told_scale, kept.t(), kept_scale, torch.bfloat16)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        told, told_scale, kept, kept_scale = ctx.saved_tensors
        of_inputs, of_weight = ctx.kinds
        gradient, scale = _rounded(gradients[0], torch.float8_e5m2)
        return (
            _multiply(gradient, scale, _by_columns(kept), kept_scale, torch.bfloat16).to(of_inputs),
            _multiply(
                gradient.t().contiguous(), scale, _by_columns(told), told_scale, torch.float32
            ).to(of_weight),
        )


def _rounded(values: torch.Tensor, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values in 8 bits and the scale, float32, that gives them back."""
    largest = torch.finfo(kind).max
    scale = (values.detach().abs().amax().float() / largest).clamp_min(_SMALLEST_SCALE)
    return (values.float() / scale).clamp(-largest, largest).to(kind).contiguous(), scale


def _by_columns(values: torch.Tensor) -> torch.Tensor:
    """Lay a matrix out column by column, as the right side of a product must be."""
    return values.t().contiguous().t()


def _multiply(
    left: torch.Tensor, left_scale: torch.Tensor, right: torch.Tensor, right_scale: torch.Tensor,
    kind: torch.dtype,
) -> torch.Tensor:  # fmt: skip
    product: torch.Tensor = torch._scaled_mm(
        left, right, scale_a=left_scale, scale_b=right_scale, out_dtype=kind
    )
    return product
