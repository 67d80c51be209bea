"""The registry of stages: found by entry point, loaded on first use."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

from workbench.core.context import Outputs
from workbench.core.errors import SpecError, StageError, nearest_name
from workbench.core.extensions import extension_names, load_extension
from workbench.core.spec import Spec

STAGE_GROUP = "workbench.stages"
VIEW_GROUP = "workbench.views"

AnyStage = Callable[..., Outputs]
StageFunction = TypeVar("StageFunction", bound=AnyStage)


@dataclass(frozen=True)
class Stage:
    """One thing the workbench can do: a typed function and what the rest is derived from.

    ``version`` is part of the cache key: raise it when the same Spec gives another result.
    ``fingerprint`` returns a hash of what the Spec reads from outside the catalog (files,
    databases); None from it means that the result must never be taken from the cache.
    A ``coordinator`` waits for child runs and takes no slot of the pool. An ``elastic`` stage goes
    on with another number of workers at the cost of a moment, so its runs grow and shrink while
    they work; the function returns how many workers a Spec finds work for at most.
    """

    name: str
    function: AnyStage
    spec: type[Spec]
    outputs: type[Outputs]
    title: str
    help: str
    version: int = 1
    coordinator: bool = False
    fingerprint: Callable[[Any], str | None] | None = None
    elastic: Callable[[Any], int] | None = None


def stage(
    *,
    title: str,
    version: int = 1,
    coordinator: bool = False,
    fingerprint: Callable[[Any], str | None] | None = None,
    elastic: Callable[[Any], int] | None = None,
) -> Callable[[StageFunction], StageFunction]:
    """Declare a function ``(spec: XSpec, run: RunContext) -> XOutputs`` as a stage.

    Its name is the function's name, its help the first paragraph of the docstring.
    """

    def register(function: StageFunction) -> StageFunction:
        hints = get_type_hints(function)
        definition = Stage(
            name=function.__name__,
            function=function,
            spec=_expect(hints.get("spec"), Spec, function),
            outputs=_expect(hints.get("return"), Outputs, function),
            title=title,
            help=" ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()),
            version=version,
            coordinator=coordinator,
            fingerprint=fingerprint,
            elastic=elastic,
        )
        function.stage = definition  # type: ignore[attr-defined]
        return function

    return register


def _expect(kind: Any, parent: type, function: AnyStage) -> Any:
    if isinstance(kind, type) and issubclass(kind, parent):
        return kind
    raise StageError(
        f"{function.__name__} is no stage: it must take a {parent.__name__} or return one",
        where=f"{function.__module__}.{function.__qualname__}",
        next_step="Write it as name(spec: NameSpec, run: RunContext) -> NameOutputs.",
    )


def stage_names() -> list[str]:
    """Return the names of all installed stages, shipped order first."""
    return extension_names(STAGE_GROUP)


_own_stages: dict[str, Stage] = {}  # that cells of this process declared


def declare_own(definition: Stage) -> None:
    """Make a stage of this process known by name; a later one of the same name replaces it.

    Raises:
        SpecError: an installed stage has that name.
    """
    if definition.name in stage_names():
        raise SpecError(
            f"There is a stage called {definition.name!r} already",
            where=definition.name,
            next_step="Call the function otherwise.",
        )
    _own_stages[definition.name] = definition


def own_stage_names() -> list[str]:
    """Return the names of the stages that cells of this process declared, oldest first."""
    return list(_own_stages)


def load_stage(name: str) -> Stage:
    """Find a stage by name: one that a cell declared, or an installed one, which is imported.

    Raises:
        SpecError: no stage has that name; the nearest one is told.
        StageError: the package that offers it is broken.
    """
    return _own_stages.get(name) or _installed_stage(name)


@cache
def _installed_stage(name: str) -> Stage:
    found: Stage = load_extension(STAGE_GROUP, name, "stage", StageError, "stage")
    return found


def outside_of(name: str, spec: Spec) -> str | None:
    """Return what a stage's result owes to its code and to what it reads from outside the catalog.

    None where the result must never be taken from the cache.
    """
    definition = load_stage(name)
    found = "" if definition.fingerprint is None else definition.fingerprint(spec)
    return None if found is None else f"{definition.name} {definition.version} {found}"


def stage_of(spec: Spec) -> Stage:
    """Return the installed stage that a Spec belongs to, once it is submitted."""
    for name in stage_names():
        if spec_name(name) == type(spec).__name__:
            return load_stage(name)
    raise SpecError(
        f"No stage takes a {type(spec).__name__}",
        where=type(spec).__name__,
        next_step=nearest_name(type(spec).__name__, map(spec_name, stage_names())),
    )


def spec_name(stage_name: str) -> str:
    """Return the class name of a stage's Spec: ``train`` -> ``TrainSpec``."""
    return "".join(part.title() for part in stage_name.split("_")) + "Spec"


def find_spec(name: str) -> type[Spec]:
    """Return a stage's Spec by class name.

    Raises:
        AttributeError: no stage has such a Spec (Python's own protocol for module attributes).
    """
    for stage_name in stage_names():
        if spec_name(stage_name) == name:
            return load_stage(stage_name).spec
    raise AttributeError(f"There is no {name}. {nearest_name(name, map(spec_name, stage_names()))}")
