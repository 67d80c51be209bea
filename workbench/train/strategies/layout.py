"""Which strategy a training takes, and on how many ranks: decided before they start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.core.errors import SpecError
from workbench.train.batches import num_slices
from workbench.train.options import FitOptions, Kind, Layout
from workbench.train.strategies.families import family_of, is_known

# A weight, its gradient and two moments in float32.
BYTES_PER_PARAMETER = 16
_SHARE_OF_MEMORY = 0.6  # that a copy of these may take; activations want the rest


def choose_layout(
    options: FitOptions,
    config: Mapping[str, Any],
    num_workers: int,
    num_parameters: int,
    bytes_per_worker: float,
) -> Layout:
    """Return how a model of a configuration lies on the workers that there are.

    ``auto`` keeps a whole copy on each worker if its weights, gradients and moments take up to 60 %
    of a worker's memory, and shards them otherwise.

    Raises:
        SpecError: the strategy does not suit the model.
    """
    slices = num_slices(options.batch_size, options.virtual_ranks)
    kind = options.strategy
    if kind == "auto":
        is_large = num_parameters * BYTES_PER_PARAMETER > _SHARE_OF_MEMORY * bytes_per_worker
        can_be_spread = num_workers > 1 and not options.exact and is_known(config)
        kind = "fsdp" if is_large and can_be_spread else "ddp"
    if kind == "fsdp":
        family_of(config)  # whoever is not known is told now
    if kind in ("ddp", "fsdp"):
        return Layout(kind=kind, world=min(num_workers, slices))
    wished = options.ways or (2 if kind == "fsdp+tensor" else num_workers)
    ways = _possible_ways(kind, config, min(wished, num_workers), is_wish=options.ways is not None)
    rows = min(num_workers // ways, slices)
    return Layout(kind=kind, world=rows * ways, ways=ways)


def _possible_ways(kind: Kind, config: Mapping[str, Any], ways: int, *, is_wish: bool) -> int:
    """Return into how many parts a model is cut: as many as asked for, or fewer if none was."""
    family = family_of(config)
    if kind == "pipeline":
        family.check_stages(config)
        num_layers = int(config.get("num_hidden_layers") or config["n_layers"])
        if is_wish and ways > num_layers:
            raise SpecError(f"{num_layers} layers cannot be cut into {ways} stages",
                            where="ways", next_step=f"Give at most {num_layers}.")  # fmt: skip
        return min(ways, num_layers)
    while not is_wish and not family.has_ways(config, ways):
        ways -= 1
    family.check_ways(config, ways)
    return ways
