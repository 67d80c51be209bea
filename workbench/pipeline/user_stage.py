"""Stages that users write: one function, in a notebook cell or a file, run like the shipped ones.

    @stage
    def shorten(run: RunContext, dataset: DatasetRef, longest: int = 100) -> Draft:
        "Cut every text."
        table = read_records(run.open(dataset))
        texts = pc.utf8_slice_codeunits(table["text"], 0, longest)
        draft = run.save("dataset", "short")
        write_records(draft, table.set_column(1, "text", texts))
        return draft

    Workspace().do(shorten(dataset="comments@latest", longest=80))

What is declared is the stage's Spec: it has a form, is checked, queued, cached, paused and kept in
the lineage as any other. The function travels to the workers as source text, within the Spec of the
stage ``cell``, which calls it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self, get_type_hints, overload

from pydantic import Field, create_model, model_validator

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import (
    ResourceError,
    SpecError,
    StageError,
    WorkbenchError,
    error_from_exception,
)
from workbench.core.presets import tell_watchers
from workbench.core.registry import Stage, declare_own, own_stage_names
from workbench.core.registry import stage as installed_stage
from workbench.core.spec import (
    DatasetRef,
    ModelRef,
    ReadsArtifact,
    ReportRef,
    Spec,
    option,
)
from workbench.core.user_code import UserCode, capture

_RUN = "run"  # the parameter that gets the RunContext


class CellSpec(Spec):
    """Run a stage that was written in a notebook cell."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,60}$")] = option(
        title="Function", help="The name of the function.", group="Stage"
    )  # fmt: skip
    code: str = option(title="Code", help="Python that defines the function.", group="Stage")
    datasets: dict[str, DatasetRef] = option(
        {}, title="Data sets", help="The data set for each parameter that takes one.", group="Data"
    )  # fmt: skip
    models: dict[str, ModelRef] = option(
        {}, title="Models", help="The model for each parameter that takes one.", group="Data"
    )  # fmt: skip
    reports: dict[str, ReportRef] = option(
        {}, title="Reports", help="The report for each parameter that takes one.", group="Data"
    )  # fmt: skip
    settings: dict[str, Any] = option(
        {}, title="Settings", help="Values of the other parameters, where they differ from their "
        "defaults.", group="Stage",
    )  # fmt: skip
    is_constant: bool = option(
        True, title="Always the same", group="Stage",
        help="The function makes the same of the same inputs, so that a result may come from the "
        "cache. Off: it is called for each run.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _is_code(self) -> Self:
        self.user_code()  # refuses what cannot be its code
        return self

    def user_code(self) -> UserCode:
        """Return the function as source text."""
        return UserCode(name=self.function, source=self.code)


def shown_stage(record: Mapping[str, Any]) -> str:
    """Return the name of a run's stage as people know it: that of the cell's function."""
    is_of_a_cell = record["stage"] == "cell"
    return str(record["spec"]["function"] if is_of_a_cell else record["stage"])


def shown_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a run's stage as people know them."""
    spec: dict[str, Any] = record["spec"]
    if record["stage"] != "cell" or spec["function"] not in own_stage_names():
        return spec
    return {**spec["datasets"], **spec["models"], **spec["reports"], **spec["settings"]}


class CellOutputs(Outputs):
    """What the function made, by kind of artifact, or by the names that it gave."""

    made: dict[str, Draft]


@installed_stage(
    title="Own stage", version=1, fingerprint=lambda spec: "" if spec.is_constant else None
)
def cell(spec: CellSpec, run: RunContext) -> CellOutputs:
    """Run a stage that was written in a notebook cell with ``@stage``.

    Raises:
        StageError: the function raised, or returned something else than drafts.
    """
    function = spec.user_code().load()
    inputs = {**spec.datasets, **spec.models, **spec.reports}
    try:
        made = function(**{_RUN: run}, **inputs, **spec.settings)
    except WorkbenchError:
        raise
    except Exception as error:
        named = error_from_exception(error, where=f"stage {spec.function}")
        if isinstance(named, ResourceError):  # what the machine lacks is not the cell's fault
            raise named from error
        raise _failed(spec, named.what, named.detail) from error
    return CellOutputs(made=_drafts(spec, made))


def _drafts(spec: CellSpec, made: Any) -> dict[str, Draft]:
    if isinstance(made, Draft):
        return {made.kind: made}
    if not isinstance(made, Mapping) or not made:
        raise _failed(spec, f"it returned {made!r:.80}, neither a draft nor a dict of drafts")
    for name, draft in made.items():
        if not isinstance(draft, Draft):
            raise _failed(spec, f"its result {name!r} is {draft!r:.80}, which is no draft")
    return {str(name): draft for name, draft in made.items()}


def _failed(spec: CellSpec, how: str, detail: str = "") -> StageError:
    return StageError(
        f"The stage {spec.function} failed: {how}",
        where=f"stage {spec.function}",
        next_step="Return what run.save(kind, name) gave, filled; mend the cell and submit again.",
        detail=detail,
    )


class UserStage(Spec):
    """The Spec of a stage that a user wrote: its function's parameters."""

    stage: ClassVar[Stage]
    code: ClassVar[UserCode]
    is_constant: ClassVar[bool] = True

    def submitted(self) -> CellSpec:
        """Return the Spec that travels: with the function's code."""
        inputs: dict[str, dict[str, str]] = {}
        settings: dict[str, Any] = {}
        given = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            kind = next((m.kind for m in field.metadata if isinstance(m, ReadsArtifact)), None)
            if kind is not None:
                inputs.setdefault(f"{kind}s", {})[name] = given[name]
            elif given[name] != field.default:
                settings[name] = given[name]
        return CellSpec.parse({
            "function": self.code.name, "code": self.code.source, **inputs,
            "settings": settings, "is_constant": self.is_constant,
        })  # fmt: skip


@overload
def stage(function: Callable[..., Any], /) -> type[UserStage]: ...
@overload
def stage(*, title: str = "", **settings: Any) -> Callable[[Callable[..., Any]], Any]: ...
def stage(
    function: Callable[..., Any] | None = None, /, *, title: str = "", **settings: Any
) -> Any:
    """Declare a function as a stage.

    In a notebook: ``(run, ...) -> Draft`` (or a dict of drafts by name). Parameters that are
    annotated ``DatasetRef``, ``ModelRef`` or ``ReportRef`` name what it reads, the others are
    settings and need defaults; the first paragraph of its docstring is its help.
    ``is_constant=False`` keeps its results out of the cache. What is declared is its Spec:
    ``do(shorten(dataset="comments@latest"))``, ``form(shorten)``.

    In a package: ``(spec: NameSpec, run: RunContext) -> NameOutputs``; see
    ``workbench.core.registry.stage``, which takes these ``settings``.

    Raises:
        SpecError: a parameter is neither an input nor has a default, or the function uses what
            cannot travel.
    """
    if function is None:
        return lambda written: _declare(written, title, settings)
    return _declare(function, title, settings)


def _declare(function: Callable[..., Any], title: str, settings: dict[str, Any]) -> Any:
    if "spec" in inspect.signature(function).parameters:
        return installed_stage(title=title or _title(function.__name__), **settings)(function)
    return _define(function, title or _title(function.__name__), **settings)


def _title(name: str) -> str:
    return name.replace("_", " ").strip().capitalize()


def _define(function: Callable[..., Any], title: str, is_constant: bool = True) -> type[UserStage]:
    code = capture(function)
    parameters = dict(inspect.signature(function).parameters)
    if parameters.pop(_RUN, None) is None:
        raise SpecError(f"{code.name} takes no {_RUN}", where=code.name,
                        next_step=f"Its first parameter is {_RUN}, the RunContext.")  # fmt: skip
    for name in parameters:
        if hasattr(UserStage, name):
            raise SpecError(f"{code.name}: no parameter of a stage can be called {name!r}",
                            where=code.name, next_step="Call it otherwise.")  # fmt: skip
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: _field(code.name, parameter, hints.get(name))
        for name, parameter in parameters.items()
    }
    help = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    made = create_model(
        code.name,
        __base__=UserStage,
        __module__=function.__module__,
        __doc__=help or title,
        **fields,
    )
    made.code, made.is_constant = code, is_constant
    made.stage = Stage(code.name, cell, made, CellOutputs, title, help)
    declare_own(made.stage)
    tell_watchers()
    return made


def _field(stage_name: str, parameter: inspect.Parameter, hint: Any) -> tuple[Any, Any]:
    """Return type and default of a parameter as a field of the stage's Spec."""
    title, has_default = _title(parameter.name), parameter.default is not inspect.Parameter.empty
    reads = next(
        (m for m in getattr(hint, "__metadata__", ()) if isinstance(m, ReadsArtifact)), None
    )
    if reads is not None:
        default = parameter.default if has_default else ...
        return hint, option(default, title=title, help=f"The {reads.kind} to read.", group="Data")
    if not has_default:
        raise SpecError(
            f"{stage_name} needs a default for {parameter.name!r}",
            where=stage_name,
            next_step="Give it one; or annotate it DatasetRef, ModelRef or ReportRef if it is an "
            "input.",
        )
    kind = hint if hint is not None else type(parameter.default)
    if parameter.default is None and hint is None:
        kind = str | None
    return kind, option(
        parameter.default, title=title, help=f"A setting of {stage_name}.", group="Settings"
    )
