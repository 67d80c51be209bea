"""The fields that every Spec of the training loop shares, and the job that ranks read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from workbench.core.spec import Spec, option
from workbench.core.workers import MOST_WORKERS
from workbench.train.batches import num_slices
from workbench.train.user_loss import UserLoss
from workbench.train.user_model import UserModel

ClassWeights = Literal["none", "balanced", "sqrt"]
Precision = Literal["float32", "bf16", "fp16", "fp8"]
Device = Literal["auto", "cpu", "gpu"]
Kind = Literal["ddp", "fsdp", "tensor", "pipeline", "fsdp+tensor"]


class FitOptions(Spec):
    """How long and how fast weights are fitted."""

    epochs: int = option(
        2, title="Epochs", help="How often every record is learned from.", unit="epochs",
        group="Training", ge=1, le=1000, search="1 6",
    )  # fmt: skip
    batch_size: int = option(
        32, title="Batch size", help="Records in one step, over all workers together; "
        "each worker needs 16 to be of use.",
        unit="records", group="Training", ge=1, le=65_536, search="8 128 log",
    )  # fmt: skip
    learning_rate: float = option(
        1e-4, title="Learning rate", help="Size of a full step; too large a one ends in NaN.",
        group="Training", gt=0, le=1, search="1e-5 1e-3 log",
    )  # fmt: skip
    warmup_share: float = option(
        0.06, title="Warm-up", help="Share of all steps in which the learning rate rises from "
        "zero; it falls in a line to zero in the others.", group="Training", ge=0, lt=1,
        search="0 0.3",
    )  # fmt: skip
    weight_decay: float = option(
        0.01, title="Weight decay", help="How strongly weights are drawn to zero in each step; "
        "biases and layer norms are left alone.", group="Training", ge=0, le=1,
        search="1e-4 0.3 log",
    )  # fmt: skip
    precision: Precision = option(
        "bf16", title="Precision", help="bf16 and fp16 multiply matrices in 16 bits and keep "
        "weights in 32: faster on processors with units for it, slower on others. fp16 is for GPUs "
        "without bf16; its loss is scaled so that small gradients are not lost. fp8 is for large "
        "models on GPUs from Ada and Hopper on.",
        group="Training",
    )  # fmt: skip
    clip_norm: float | None = option(
        None, title="Longest gradient", help="A longer gradient of a whole batch is scaled down to "
        "this length, so that one odd batch cannot throw training off; never when empty.",
        group="Training", gt=0,
    )  # fmt: skip
    class_weights: ClassWeights = option(
        "sqrt", title="Class weights", help="What rare labels gain in the loss: nothing, the "
        "inverse of their share (balanced), or its square root.", group="Training",
    )  # fmt: skip
    seed: int = option(
        0, title="Seed", help="The same seed, data and settings give the same weights.",
        group="Training", ge=0, lt=2**31,
    )  # fmt: skip
    virtual_ranks: int | None = option(
        None, title="Virtual ranks", help="Into how many pieces each batch is cut, whatever the "
        "number of workers; more workers than pieces find no work. Of about 16 records when empty.",
        group="Workers", ge=1, le=1024,
    )  # fmt: skip
    recompute: bool = option(
        False, title="Recompute", help="Activations are not kept but computed again on the way "
        "back: less memory, a third more time.", group="Workers",
    )  # fmt: skip
    compile: bool = option(
        False, title="Compile", help="Have torch.compile translate the model first, for a minute: "
        "faster on most GPUs, seldom on processors.", group="Workers",
    )  # fmt: skip
    strategy: Literal["auto"] | Kind = option(
        "auto", title="Strategy", help="How the model lies on the workers: whole on each (ddp), "
        "sharded (fsdp), each layer cut across (tensor), cut into stages (pipeline). auto shards "
        "what does not fit.", group="Workers",
    )  # fmt: skip
    device: Device = option(
        "auto", title="Device", help="What the workers compute on: their GPUs where they have any "
        "(auto), processors only, or GPUs and nothing else.", group="Workers",
    )  # fmt: skip
    ways: int | None = option(
        None, title="Workers per copy", help="How many workers hold one copy of the model together "
        "(tensor, pipeline); all there are when empty, two for fsdp+tensor.",
        unit="workers", group="Workers", ge=1, le=1024,
    )  # fmt: skip
    exact: bool = option(
        False, title="Exact", help="Weights are bitwise the same however many workers there are "
        "and however often that changes; otherwise sums are rounded in another order.",
        group="Workers",
    )  # fmt: skip
    evaluate_every: int = option(
        1, title="Evaluate every", help="Epochs between two looks at the validation set.",
        unit="epochs", group="Validation", ge=1,
    )  # fmt: skip
    keep_best: bool = option(
        True, title="Keep the best", help="Return the epoch with the best macro recall on the "
        "validation set instead of the last one.", group="Validation",
    )  # fmt: skip
    checkpoint_seconds: float = option(
        60.0, title="Checkpoint every", help="Most work that a killed machine can cost; 0 makes "
        "a checkpoint after every step.", unit="s", group="Safety", ge=0, le=86_400,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_exact(self) -> Self:
        if self.exact and self.strategy not in ("auto", "ddp"):
            raise ValueError("exact: only the strategy ddp sums in a fixed order. Use it, or leave "
                             "exact off")  # fmt: skip
        if self.precision == "fp8" and "tensor" in self.strategy:
            raise ValueError("precision: a layer that is cut across workers cannot multiply in 8 "
                             "bits. Use the strategy ddp, fsdp or pipeline, or bf16")  # fmt: skip
        return self

    @classmethod
    def of(cls, spec: FitOptions) -> FitOptions:
        """Return the options alone, of a Spec that has them among other fields."""
        return FitOptions(**{name: getattr(spec, name) for name in FitOptions.model_fields})


def most_workers(options: FitOptions) -> int:
    """Return for how many workers there is work."""
    if options.strategy in ("tensor", "pipeline") and options.ways is None:
        return MOST_WORKERS  # however many there are, they hold one copy together
    is_cut = options.strategy in ("tensor", "pipeline", "fsdp+tensor")
    ways = (options.ways or 2) if is_cut else 1
    return ways * num_slices(options.batch_size, options.virtual_ranks)


class Teaching(BaseModel):
    """How a student learns from a teacher's answers; see ``workbench.train.loss``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: Path
    temperature: float
    soft_share: float
    hidden_weight: float


class Layout(BaseModel):
    """A strategy on ``world`` ranks, ``ways`` of which hold one copy of the model together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = "ddp"
    world: int = 1
    ways: int = 1


class FitJob(BaseModel):
    """All that a rank needs to know, written as JSON by the stage.

    The last fields are filled in on the way: by ``prepare``, and for each attempt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["classify", "masked", "causal"] = "classify"
    model: Path  # a folder with the weights to start from
    new_head: bool = False  # whether the folder's head, if any, is replaced
    labels: list[str] = []  # of a classifier
    own_model: UserModel | None = None  # in the place of the folder's own
    loss: UserLoss | None = None  # on labels; cross-entropy if none
    others: list[int] = []  # labels of each further scheme that is learned at the same time
    mask_share: float = 0.15  # of the tokens that a masked language model has to tell
    max_tokens: int
    options: FitOptions
    teaching: Teaching | None = None
    train_set: Path = Path()
    validation_set: Path | None = None
    layout: Layout = Layout()
    work: Path = Path()  # where this attempt writes; a file ``stop`` in it asks the ranks to stop
    resume_from: Path | None = None  # a checkpoint
    num_shrinks: int = 0  # how often slices are halved
    skipped: list[int] = []  # steps whose batches are left out: they made the loss no number


class ScoreJob(BaseModel):
    """A teacher's answers to a token set, in shards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    token_set: Path
    target: Path  # one folder per shard appears here
    work: Path
    with_hidden: bool
