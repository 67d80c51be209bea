"""The ensemble stage: each subset trains a model of its own, and they are combined."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import model_validator

from workbench.core.artifact import MANIFEST, Artifact, Draft
from workbench.core.children import do_child, do_children
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import SpecError
from workbench.core.registry import outside_of, stage
from workbench.core.spec import ArtifactName, DatasetRef, Spec, option
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish
from workbench.train.combine import CombineSpec
from workbench.train.distil import DistilSpec
from workbench.train.train import TrainSpec

_OWN = ("dataset", "name")  # fields of a member's Spec that this stage fills in
_OWN_OF_STUDENT = ("teacher", "more_teachers", "name")


class EnsembleSpec(Spec):
    """Train a classifier on each of several data sets, and make one of them."""

    subsets: list[DatasetRef] = option(
        title="Subsets", help="Data sets of the same labels, such as the shards of a split; each "
        "member sees only its own.", group="Data", min_length=2, max_length=100,
    )  # fmt: skip
    parameters: dict[str, Any] = option(
        {}, title="Training", help="Fields of the train stage, for all members.", group="Members"
    )
    member_workers: WorkersWish = option(
        DEFAULT_WORKERS, title="Workers of a member", help="Slots of each: 2, or a range: 1..4.",
        unit="slots", group="Members",
    )  # fmt: skip
    how: Literal["weights", "predictions", "distil"] = option(
        "predictions", title="How", help="One classifier of the members: by the mean of their "
        "predictions, by the mean of their weights (they begin with the same), or by distilling "
        "them into one student.", group="Result",
    )  # fmt: skip
    student: dict[str, Any] = option(
        {}, title="Student", help="Fields of the distil stage; its transfer sets are the subsets "
        "if none are named.", group="Result",
    )  # fmt: skip
    name: ArtifactName = option(
        "ensemble", title="Name", help="Name of the resulting model.", group="Result"
    )

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        try:
            self.member(self.subsets[0])
            self.student_of(["member@latest", "member@latest"])
        except SpecError as error:
            raise ValueError(f"{error.where}: {error.what}. {error.next_step}") from error
        return self

    def map_references(self, change: Callable[[str, str], str]) -> Self:
        """Return this Spec with ``change`` applied to all that it and its runs read."""
        mapped = super().map_references(change)
        return mapped.model_copy(update={
            "parameters": TrainSpec.map_fields(self.parameters, change),
            "student": DistilSpec.map_fields(self.student, change),
        })  # fmt: skip

    def member(self, subset: str) -> TrainSpec:
        """Return how the member of a subset is trained.

        Raises:
            SpecError: a field is unknown, out of bounds, or is this stage's to fill in.
        """
        _refuse(self.parameters, _OWN, "parameters")
        return TrainSpec.parse(
            {**self.parameters, "dataset": subset, "name": f"{self.name}-member"}
        )

    def student_of(self, teachers: list[str]) -> DistilSpec:
        """Return how a student of these teachers is trained.

        Raises:
            SpecError: as ``member``.
        """
        _refuse(self.student, _OWN_OF_STUDENT, "student")
        fixed = {"teacher": teachers[0], "more_teachers": teachers[1:], "name": self.name}
        return DistilSpec.parse({"datasets": self.subsets, **self.student, **fixed})


class EnsembleOutputs(Outputs):
    """The one classifier."""

    model: Draft


def _outside(spec: EnsembleSpec) -> str | None:
    """Return what its members and its student read from outside."""
    found = [outside_of("train", spec.member(spec.subsets[0]))]
    if spec.how == "distil":
        found.append(outside_of("distil", spec.student_of(["member@latest", "member@latest"])))
    return None if None in found else json.dumps(found)


@stage(title="Ensemble", version=1, coordinator=True, fingerprint=_outside)
def ensemble(spec: EnsembleSpec, run: RunContext) -> EnsembleOutputs:
    """Train a classifier on each of several subsets, as runs of their own, and combine them.

    Raises:
        WorkbenchError: what ended a member, or the run that combines them.
    """
    members = [
        made["model"]
        for _, made in do_children(run, [spec.member(s) for s in spec.subsets], spec.member_workers)
    ]
    run.log(f"{len(members)} members are trained", members=[m.reference for m in members])
    names = [member.reference for member in members]
    if spec.how == "distil":
        _, made = do_child(run, spec.student_of(names), spec.member_workers)
    else:
        _, made = do_child(run, CombineSpec(models=names, how=spec.how, name=spec.name))
    return EnsembleOutputs(model=_copied(made["model"], spec, run))


def _copied(model: Artifact, spec: EnsembleSpec, run: RunContext) -> Draft:
    draft = run.save("model", spec.name)
    shutil.copytree(
        model.path, draft.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST)
    )
    draft.describe(**model.summary)
    return draft


def _refuse(given: dict[str, Any], names: tuple[str, ...], where: str) -> None:
    taken = [name for name in names if name in given]
    if taken:
        raise SpecError(f"{taken[0]} is filled in by the ensemble", where=where,
                        next_step="Leave it out.")  # fmt: skip
