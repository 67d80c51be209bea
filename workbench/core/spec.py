"""Specs: one frozen, typed description of what a stage shall do.

The widget form, the command-line flags, the notebook's parameter cell, the queue's payload, the
catalog's row and the cache key are all derived from a Spec; nothing of it is written twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from workbench.core.errors import SpecError, nearest_name
from workbench.core.paths import home_expanded
from workbench.core.workers import DEFAULT_WORKERS, read_wish


class Spec(BaseModel):
    """What a stage shall do: frozen, strict about unknown names, every field explained.

    How it is run (priority, workers) belongs to the Run and is never part of a Spec.
    """

    # JSON, the form in which a Spec is stored and hashed, has no word for NaN and infinity.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Build the Spec from plain values.

        Raises:
            SpecError: a name is unknown (the nearest right one is told), missing or out of bounds.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _spec_error(cls, error) from error

    @classmethod
    def from_parameters(cls, namespace: Mapping[str, Any]) -> Self:
        """Build the Spec from a notebook's namespace after papermill has put its parameters in.

        Plain values whose name is no field of the Spec and no run option are refused: papermill
        itself passes a mistyped ``-p`` with only a warning.
        """
        given = {
            name: value
            for name, value in namespace.items()
            if _is_parameter(cls, name, value) and name not in RUN_OPTIONS
        }
        return cls.parse(given)

    def submitted(self) -> Spec:
        """Return the Spec that is queued for this one: itself, unless it must travel otherwise."""
        return self

    def canonical_json(self) -> str:
        """Return the one JSON text of this Spec, keys sorted: what is stored and hashed."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )

    def map_references(self, change: Callable[[str, str], str]) -> Self:
        """Return this Spec with ``change(kind, reference)`` applied to every artifact reference."""
        changed = {
            name: _map_references(field.annotation, field.metadata, getattr(self, name), change)
            for name, field in type(self).model_fields.items()
        }
        return type(self).model_validate(changed)

    @classmethod
    def map_fields(
        cls, values: Mapping[str, Any], change: Callable[[str, str], str]
    ) -> dict[str, Any]:
        """Return plain values of some of this Spec's fields with ``change`` applied as above.

        For Specs that hold the fields of another one. What is no field, or no value of its field,
        stays as it is: whoever checks it tells.
        """
        changed = dict(values)
        for name in values.keys() & cls.model_fields.keys():
            field = cls.model_fields[name]
            try:
                value = TypeAdapter(field.rebuild_annotation()).validate_python(values[name])
            except ValidationError:
                continue
            mapped = _map_references(field.annotation, field.metadata, value, change)
            if mapped != value:
                changed[name] = to_jsonable_python(mapped)
        return changed

    def references(self) -> list[tuple[str, str]]:
        """Return every ``(kind, reference)`` that this Spec reads."""
        found: list[tuple[str, str]] = []

        def note(kind: str, reference: str) -> str:
            found.append((kind, reference))
            return reference

        self.map_references(note)
        return found


class RunOption(NamedTuple):
    """Says how a run is done: its default, help, sort of value, and how a text of it is read."""

    default: Any
    help: str
    metavar: str
    read: Callable[[str], Any]


# Accepted beside a Spec's own fields by notebooks and the command line.
RUN_OPTIONS: dict[str, RunOption] = {
    "workspace": RunOption(None, "folder of the workspace; the default when empty", "FOLDER", str),
    "priority": RunOption(0, "higher runs start first (-100 to 100)", "NUMBER", int),
    "workers": RunOption(
        DEFAULT_WORKERS,
        'pool slots of this run: 4, or what is free within a range: "2..8"',
        "NUMBER|RANGE",
        read_wish,
    ),
}

_NOTEBOOK_NAMES = {"In", "Out", "exit", "quit", "open"}
_PLAIN_TYPES = (bool, int, float, str, list, tuple, dict, type(None))


def _is_parameter(spec: type[Spec], name: str, value: object) -> bool:
    if name in spec.model_fields:
        # Also of a type that no parameter has: it is refused, where leaving it out would silently
        # take the default. What was imported or defined under that name is not meant.
        return not isinstance(value, ModuleType) and not callable(value)
    return (
        not name.startswith("_") and name not in _NOTEBOOK_NAMES and isinstance(value, _PLAIN_TYPES)
    )


def option(
    default: Any = ...,
    *,
    title: str,
    help: str,
    unit: str = "",
    group: str = "",
    search: str = "",
    **bounds: Any,
) -> Any:
    """Declare a Spec field: title and help for people, unit and bounds for forms and checks.

    ``bounds`` are pydantic's (``ge``, ``le``, ``min_length``, ``pattern`` ...); ``group`` is the
    heading under which forms show the field; ``search`` is the range in which a search looks that
    names the field alone: ``"1e-5 1e-3 log"``.
    """
    facts = {"unit": unit, "group": group, "search": search}
    extra: Any = {key: value for key, value in facts.items() if value}
    if isinstance(default, list | dict):
        frozen = default
        return Field(
            default_factory=lambda: type(frozen)(frozen),
            title=title, description=help, json_schema_extra=extra, **bounds,
        )  # fmt: skip
    return Field(default, title=title, description=help, json_schema_extra=extra, **bounds)


def field_fact(field: FieldInfo, name: Literal["unit", "group", "search"]) -> str:
    """Return a field's unit, group or range of search as given to ``option``; empty if none."""
    extra = field.json_schema_extra
    return str(extra.get(name, "")) if isinstance(extra, dict) else ""


class Reference(NamedTuple):
    """An artifact by name and version or alias: ``comments@latest``, ``comments@9f3c1a2b44d0``."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def parse_reference(text: str) -> Reference:
    """Split ``name@version``; a bare name means ``name@latest``.

    Raises:
        SpecError: the text is no reference.
    """
    name, at, version = text.partition("@")
    version = version if at else "latest"
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(version):
        raise SpecError(
            f"{text!r} is not an artifact reference",
            next_step="Write name@version or name@alias, for example comments@latest.",
        )
    return Reference(name, version)


def _check_reference(text: str) -> str:
    try:
        return str(parse_reference(text))
    except SpecError as error:
        raise ValueError(f"{error.what}. {error.next_step}") from error


def _check_model(text: str) -> str:
    if "@" in text:
        return _check_reference(text)
    # A folder goes before a name on the hub, and the daemon has another working folder.
    is_path = text.startswith((".", "~")) or (text and home_expanded(text).exists())
    return _absolute(text) if is_path else text


class ReadsArtifact(NamedTuple):
    """Marks a field whose text names an artifact of this kind that the stage reads."""

    kind: str


DatasetRef = Annotated[str, AfterValidator(_check_reference), ReadsArtifact("dataset")]
ReportRef = Annotated[str, AfterValidator(_check_reference), ReadsArtifact("report")]
ModelRef = Annotated[str, AfterValidator(_check_reference), ReadsArtifact("model")]
# A model artifact (with an @) or a name to look for outside: folder, cache, hub, package.
ModelSource = Annotated[str, AfterValidator(_check_model), ReadsArtifact("model")]


def _absolute(text: str) -> str:
    if not text or "://" in text or text.startswith("${"):
        return text
    return str(home_expanded(text).absolute())


# A path or URL; a relative path is made absolute where the Spec is written, as the daemon and the
# workers have other working folders.
LocalPath = Annotated[str, AfterValidator(_absolute)]

ArtifactName = Annotated[str, Field(pattern=rf"^{_NAME.pattern}$", max_length=120)]


def _map_references(
    annotation: Any, metadata: list[Any], value: Any, change: Callable[[str, str], str]
) -> Any:
    """Walk a value along its annotation and rewrite what is marked as an artifact reference."""
    marker = next((item for item in metadata if isinstance(item, ReadsArtifact)), None)
    if marker is not None and isinstance(value, str):
        is_outside_name = marker.kind == "model" and "@" not in value
        return value if is_outside_name else change(marker.kind, value)
    if isinstance(value, BaseModel):
        return {
            name: _map_references(field.annotation, field.metadata, getattr(value, name), change)
            for name, field in type(value).model_fields.items()
        }
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _map_references(arguments[0], list(arguments[1:]), value, change)
    if origin is Union or isinstance(annotation, UnionType):
        mapped = (_map_references(part, [], value, change) for part in arguments)
        return next((found for found in mapped if found != value), value)
    if isinstance(value, list | tuple) and arguments:
        is_fixed = origin is tuple and len(arguments) == len(value) and arguments[-1] is not ...
        parts = arguments if is_fixed else arguments[:1] * len(value)
        return [
            _map_references(part, [], item, change) for part, item in zip(parts, value, strict=True)
        ]
    if isinstance(value, dict) and len(arguments) == 2:
        return {k: _map_references(arguments[1], [], v, change) for k, v in value.items()}
    return value


def _spec_error(spec: type[Spec], error: ValidationError) -> SpecError:
    """Turn pydantic's first complaint into what, where, and the nearest right name or bound.

    A name that is not known comes before one that is missing: it may be the missing one, mistyped.
    """
    complaints = error.errors(include_url=False)
    first = min(complaints, key=lambda complaint: complaint["type"] != "extra_forbidden")
    location, kind, value = first["loc"], first["type"], first.get("input")
    where = ".".join(map(str, location)) or spec.__name__
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if kind == "extra_forbidden":
        *parents, name = map(str, location)
        owner = ".".join([spec.__name__, *parents])
        return SpecError(f"{owner} has no parameter {name!r}{more}", where=where,
                         next_step=nearest_name(name, _names_at(spec, location[:-1])))  # fmt: skip
    if kind == "missing":
        return SpecError(f"{spec.__name__} needs {where!r}{more}", where=where,
                         next_step=f"Give {where}.")  # fmt: skip
    if kind == "union_tag_invalid":
        facts = first["ctx"]
        known = [tag.strip(" '") for tag in facts["expected_tags"].split(",")]
        return SpecError(
            f"{spec.__name__}.{where} has an unknown {facts['discriminator']}: "
            f"{facts['tag']!r}{more}",
            where=where,
            next_step=nearest_name(str(facts["tag"]), known),
        )
    complaint = plain_complaint(first["msg"])
    # A whole model is no answer to what is wrong in it.
    got = "" if isinstance(value, dict | BaseModel) else f", got {value!r}"
    return SpecError(f"{spec.__name__}.{where}: {complaint}{got}{more}", where=where,
                     next_step=_bounds_of(spec, where))  # fmt: skip


def plain_complaint(message: str) -> str:
    """Return one of pydantic's messages without the name of the exception behind it."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _names_at(spec: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the fields of the model at a place inside a Spec, as pydantic names that place."""
    models = [spec]
    for step in location:
        inner = [model.model_fields[step].annotation for model in models
                 if step in model.model_fields]  # fmt: skip
        if inner:
            models = [model for annotation in inner for model in _models_in(annotation)]
        elif isinstance(step, str):  # the tag by which one of several models was chosen
            models = [model for model in models if _has_tag(model, step)]
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    literals = (get_args(field.annotation) for field in model.model_fields.values())
    return any(tag in values for values in literals)


def _bounds_of(spec: type[Spec], name: str) -> str:
    field = spec.model_fields.get(name)
    return f"{field.title}: {field.description}" if field else ""
