"""What a search is told: the stage, the space, what is good, how to choose, how long to go on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from workbench.core.errors import SpecError
from workbench.core.registry import load_stage
from workbench.core.spec import ArtifactName, Spec, option
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish
from workbench.tune.space import Space, check_grid

SamplerName = Literal["auto", "random", "tpe", "gp", "cmaes", "nsga2", "grid"]
PrunerName = Literal["none", "asha", "hyperband", "median", "wilcoxon"]


class Objective(BaseModel):
    """A figure of the trials' runs, and whether more of it is better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = option(title="Metric", help="A curve of the run, or a figure in the summary of "
                         "what it makes: macro_recall.", min_length=1)  # fmt: skip
    direction: Literal["maximize", "minimize"] = option(
        "maximize", title="Direction", help="Whether more or less of it is better."
    )

    @property
    def sign(self) -> int:
        """Return what makes more of it better."""
        return 1 if self.direction == "maximize" else -1


class TuneSpec(Spec):
    """Search for the best parameters of any stage."""

    stage: str = option(
        "train", title="Stage", help="Whose parameters are searched.", group="What is searched"
    )
    parameters: dict[str, Any] = option(
        {}, title="Parameters", help="Fixed values of the stage's fields; others have their "
        "defaults.", group="What is searched",
    )  # fmt: skip
    space: dict[str, Any] = option(
        title="Search space", help="By field: {low, high} with log or step, a list of choices, or "
        "nothing for the field's own bounds; `when: {field: [values]}` asks it only there.",
        group="What is searched",
    )  # fmt: skip
    objectives: list[Objective] = option(
        [{"metric": "macro_recall", "direction": "maximize"}], title="Objectives",
        help="What is good. Of several, the best compromises are kept.", group="What is searched",
        min_length=1, max_length=4,
    )  # fmt: skip
    sampler: SamplerName = option(
        "auto", title="Sampler", help="How values are chosen: random, tree-structured (tpe), "
        "Gaussian process (gp), CMA-ES, genetic (nsga2), every point (grid). auto is tpe, of "
        "several objectives nsga2.", group="How",
    )  # fmt: skip
    pruner: PrunerName = option(
        "none", title="Early stopping", help="Which trials stop early: those that are not among "
        "the best of a rung (asha, hyperband: they rest, and go on if they become so), those below "
        "the median, those that are worse by a Wilcoxon test.", group="How",
    )  # fmt: skip
    first_rung: int = option(
        1, title="First rung", help="Step of the curve (of a training: epoch) at which a trial is "
        "first judged.", unit="steps", group="How", ge=1,
    )  # fmt: skip
    reduction: int = option(
        3, title="Reduction", help="One of so many trials passes a rung, and rungs are so many "
        "times further apart.", group="How", ge=2, le=16,
    )  # fmt: skip
    trials: int = option(
        32, title="Trials", help="How many sets of values are tried at most.", unit="trials",
        group="Budget", ge=1, le=100_000,
    )  # fmt: skip
    hours: float | None = option(
        None, title="Hours", help="No trial begins after so many hours; no limit when empty.",
        unit="h", group="Budget", gt=0,
    )  # fmt: skip
    cpu_hours: float | None = option(
        None, title="Slot hours", help="No trial begins after trials have held slots for so many "
        "hours in all; no limit when empty.", unit="h", group="Budget", gt=0,
    )  # fmt: skip
    at_once: int = option(
        4, title="At once", help="How many trials are in the queue or at work; more see fewer "
        "results before they are chosen.", unit="trials", group="Budget", ge=1, le=1000,
    )  # fmt: skip
    trial_workers: WorkersWish = option(
        DEFAULT_WORKERS, title="Workers of a trial", help="Slots of each trial: 2, or a range: "
        "1..4.", unit="slots", group="Budget",
    )  # fmt: skip
    seed: int = option(
        0, title="Seed", help="The same seed and results give the same choices.", group="How",
        ge=0, lt=2**31,
    )  # fmt: skip
    keep: int = option(
        1, title="Keep", help="What this many of the best trials have made is kept, the rest "
        "deleted; of several objectives that of all compromises.", unit="trials", group="Result",
        ge=1, le=1000,
    )  # fmt: skip
    name: ArtifactName = option(
        "study", title="Name", help="Name of the resulting study.", group="Result"
    )

    @model_validator(mode="after")
    def _check_space(self) -> Self:
        try:
            space = self.open_space(self.parameters)
            if self.sampler == "grid":
                check_grid(space)
        except SpecError as error:
            raise ValueError(f"{error.what}. {error.next_step}") from error
        if len(self.objectives) > 1 and self.pruner != "none":
            raise ValueError("pruner: trials with several objectives cannot be compared midway. "
                             "Use none")  # fmt: skip
        if len(self.objectives) > 1 and self.sampler in ("gp", "cmaes"):
            raise ValueError(f"sampler: {self.sampler} knows one objective. Use nsga2 or tpe")
        return self

    def map_references(self, change: Callable[[str, str], str]) -> Self:
        """Return this Spec with ``change`` applied to all that its trials may read."""
        fields = load_stage(self.stage).spec
        space = {
            name: _map_choices(asked, partial(_map_value, fields, name, change))
            for name, asked in self.space.items()
        }
        changed = fields.map_fields(self.parameters, change)
        return self.model_copy(update={"parameters": changed, "space": space})

    def open_space(self, base: dict[str, Any]) -> Space:
        """Return the space around these fixed values.

        Raises:
            SpecError: the stage or a field is unknown, or nothing is left to choose.
        """
        return Space(load_stage(self.stage).spec, base, self.space)


def _map_choices(asked: Any, change: Callable[[Any], Any]) -> Any:
    """Return what is asked of a dimension with each of its choices changed."""
    if isinstance(asked, list):
        return [change(value) for value in asked]
    if isinstance(asked, dict) and "choices" in asked:
        return {**asked, "choices": [change(value) for value in asked["choices"]]}
    return asked


def _map_value(fields: type[Spec], name: str, change: Callable[[str, str], str], value: Any) -> Any:
    return fields.map_fields({name: value}, change)[name]
