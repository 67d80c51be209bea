"""Where a training stands: beside the shards of its tensors a little JSON, never a pickle.

Neither the order of records nor any random number is stored: both follow from seed and step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.models.folder import read_json, write_json

STEP_KEY = "step-"
BEST_KEY = "best-"
_PLACE = "state.json"
_NUM_KEPT = 2
_STEPS_TO_DOUBLE = 2000


@dataclass
class Place:
    """How far a training has come, and its best epoch so far (``best`` is a checkpoint's key)."""

    step: int = 0
    evaluated_epochs: int = 0
    best: str | None = None
    best_epoch: int | None = None
    figures: dict[str, float] | None = None  # of the best epoch, or of the last one
    loss_scale: float = 2.0**16  # of fp16
    steps_in_scale: int = 0  # since it was changed

    def adapt_scale(self, *, was_taken: bool) -> None:
        """Halve the scale of the loss after a step that could not be taken, double it at times.

        Source: Micikevicius et al. 2018 (dynamic loss scaling); the numbers are those of torch's
        ``GradScaler``.
        """
        self.steps_in_scale += 1
        if not was_taken:
            self.loss_scale, self.steps_in_scale = self.loss_scale / 2, 0
        elif self.steps_in_scale >= _STEPS_TO_DOUBLE:
            self.loss_scale, self.steps_in_scale = self.loss_scale * 2, 0


def state_key(place: Place) -> str:
    """Return the checkpoint key of a place; keys sort as training goes.

    After the last step of an epoch there are two places: before and after its evaluation.
    """
    return f"{STEP_KEY}{place.step:010d}-{place.evaluated_epochs:06d}"


def best_key(epoch: int) -> str:
    """Return the checkpoint key of an epoch's model."""
    return f"{BEST_KEY}{epoch:06d}"


def newest_state(checkpoints: Mapping[str, Path]) -> Path | None:
    """Return the checkpoint of the latest step."""
    steps = sorted(key for key in checkpoints if key.startswith(STEP_KEY))
    return checkpoints[steps[-1]] if steps else None


def stale_keys(best_of: Mapping[str, str | None], best_keys: list[str]) -> list[str]:
    """Decide which checkpoints can go: all but the two latest steps and what these point to.

    Args:
        best_of: for each step's key the best epoch's key that it points to.
        best_keys: the keys of all kept models.
    """
    kept = sorted(best_of)[-_NUM_KEPT:]
    needed = {*kept, *(best_of[key] for key in kept)}
    return [key for key in (*sorted(best_of), *best_keys) if key not in needed]


def read_place(folder: Path) -> Place:
    """Read how far a checkpoint is."""
    return Place(**read_json(folder / _PLACE))


def write_place(folder: Path, place: Place) -> None:
    """Write how far a checkpoint is."""
    write_json(folder / _PLACE, asdict(place))
