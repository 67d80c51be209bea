"""What a form needs to know of each field of a Spec: told by the Spec alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from workbench.core.copy_as import given_values
from workbench.core.presets import offered
from workbench.core.spec import RUN_OPTIONS, ReadsArtifact, Spec
from workbench.core.workers import MOST_WORKERS

Control = Literal["text", "number", "choice", "switch", "reference", "list", "items", "json"]
SCALARS = ("string", "integer", "number", "boolean")
OTHER_GROUP = "Options"
RUNNING_GROUP = "Running"


@dataclass(frozen=True)
class FormField:
    """One row of a form. ``types`` are JSON schema's names of what the value may be."""

    name: str
    title: str
    help: str
    unit: str
    group: str
    control: Control
    types: tuple[str, ...]
    default: Any  # a plain JSON value; None as well where the field is required
    required: bool
    choices: tuple[Any, ...] = ()
    reads: str = ""  # the kind of artifact that its text names
    variants: tuple[tuple[str, type[Spec]], ...] = ()  # the Specs that may stand in it, by kind
    is_list: bool = False  # whether it holds any number of them, or one
    minimum: float = -math.inf
    maximum: float = math.inf
    excludes_minimum: bool = False
    excludes_maximum: bool = False
    bounds: str = ""  # the limits in words
    read: Callable[[str], Any] | None = None  # where a text is read in a way of its own

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are allowed."""
        return "integer" in self.types and "number" not in self.types

    @property
    def may_be_empty(self) -> bool:
        """Whether "no value" (None) is a value."""
        return "null" in self.types

    def item_names(self) -> list[str]:
        """Return which Specs can be put in: offered ones by name, else the kinds."""
        names = [name for _, item in self.variants for name in offered(item)]
        return [*(kind for kind, item in self.variants if not is_function(item)), *names]

    def item_values(self, name: str) -> Mapping[str, Any]:
        """Return the values with which an item of this name begins."""
        for _, item in self.variants:
            if name in offered(item):
                return given_values(offered(item)[name])
        return {"kind": name} if "kind" in dict(self.variants)[name].model_fields else {}

    def allows(self, number: float) -> bool:
        """Whether a number is within the bounds, and whole where it must be."""
        above = number > self.minimum if self.excludes_minimum else number >= self.minimum
        below = number < self.maximum if self.excludes_maximum else number <= self.maximum
        return above and below and (not self.is_whole or float(number).is_integer())


def fields_of(spec_class: type[Spec]) -> tuple[FormField, ...]:
    """Return the form's fields, in the Spec's order."""
    schema = spec_class.model_json_schema()
    definitions = schema.get("$defs", {})
    return tuple(
        _field(name, info, schema["properties"][name], definitions)
        for name, info in spec_class.model_fields.items()
    )


def running_fields() -> tuple[FormField, ...]:
    """Return the fields that say how a run is done: never part of a Spec."""
    return (
        _running_field(
            "priority", "Priority", control="number", types=("integer",), minimum=-100, maximum=100
        ),
        _running_field(
            "workers", "Workers", unit="slots", control="text", types=("integer", "string"),
            minimum=1, maximum=MOST_WORKERS, read=RUN_OPTIONS["workers"].read,
        ),
    )  # fmt: skip


def plain_default(info: FieldInfo) -> Any:
    """Return a field's default as a plain JSON value; None where it is required."""
    if info.is_required():
        return None
    return _plain(info.get_default(call_default_factory=True))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return given_values(value)
    return (
        [_plain(item) for item in value] if isinstance(value, list) else to_jsonable_python(value)
    )


def _running_field(name: str, title: str, *, unit: str = "", **facts: Any) -> FormField:
    known = RUN_OPTIONS[name]
    return FormField(
        name=name, title=title, help=known.help, unit=unit, group=RUNNING_GROUP,
        default=known.default, required=False, **facts,
    )  # fmt: skip


def _field(
    name: str, info: FieldInfo, schema: Mapping[str, Any], definitions: Mapping[str, Any]
) -> FormField:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    shapes = list(_shapes(schema, definitions))
    limits = _limits(shapes, schema)
    choices = _choices(shapes)
    reads = _artifact_kind(info.annotation, info.metadata)
    variants = _variants(info.annotation)
    types = tuple(dict.fromkeys(shape.get("type", "object") for shape in shapes))
    return FormField(
        name=name,
        title=info.title or name.replace("_", " ").capitalize(),
        help=info.description or "",
        unit=str(extra.get("unit", "")),
        group=str(extra.get("group", "")) or OTHER_GROUP,
        control="items" if variants else _control(shapes, choices, reads),
        types=types,
        default=plain_default(info),
        required=info.is_required(),
        choices=choices,
        reads=reads,
        variants=variants,
        is_list=get_origin(info.annotation) in (list, tuple),
        minimum=limits.get("exclusiveMinimum", limits.get("minimum", -math.inf)),
        maximum=limits.get("exclusiveMaximum", limits.get("maximum", math.inf)),
        excludes_minimum="exclusiveMinimum" in limits,
        excludes_maximum="exclusiveMaximum" in limits,
        bounds=_bounds_text(limits),
    )


def _shapes(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """Yield the alternatives of a field's JSON schema, references followed."""
    if "$ref" in schema:
        yield from _shapes(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    elif alternatives := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        for alternative in alternatives:
            yield from _shapes(alternative, definitions)
    elif schema.get("type") == "array":
        items = list(_shapes(schema.get("items", {}), definitions))
        yield {**schema, "items": items}
    else:
        yield schema


def _variants(annotation: Any) -> tuple[tuple[str, type[Spec]], ...]:
    """Return the Specs that a field, or the items of its list, may be; empty if they are none."""
    is_list = get_origin(annotation) in (list, tuple)
    inner = get_args(annotation)[0] if is_list else annotation
    classes = [c for c in _classes(inner) if c is not type(None)]
    if not classes or not all(isinstance(c, type) and issubclass(c, Spec) for c in classes):
        return ()
    return tuple((_kind_of(item), item) for item in classes)


def _classes(annotation: Any) -> Any:
    """Yield the alternatives of an annotation, its marks left out."""
    if get_origin(annotation) is Annotated:
        yield from _classes(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _classes(part)
    else:
        yield annotation


def _kind_of(item: type[Spec]) -> str:
    """Return the one value of an item's ``kind``, or its class's name in words if it has none."""
    values = _kinds(item)
    if len(values) == 1:
        return str(values[0])
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", item.__name__.removesuffix("Spec")).lower()


def _kinds(item: type[Spec]) -> tuple[Any, ...]:
    kind = item.model_fields.get("kind")
    return get_args(kind.annotation) if kind and get_origin(kind.annotation) is Literal else ()


def is_function(item: type[Spec]) -> bool:
    """Whether it is a function of a cell, of no kind: those that are offered can be put in."""
    return "source" in item.model_fields and len(_kinds(item)) != 1


def _choices(shapes: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Return the allowed values where there is a list of them, None among them if allowed."""
    found: list[Any] = []
    for shape in shapes:
        if "enum" in shape or "const" in shape:
            found += shape.get("enum", [shape.get("const")])
        elif shape.get("type") == "null":
            found.append(None)
        else:
            return ()
    return tuple(found)


def _control(shapes: list[dict[str, Any]], choices: tuple[Any, ...], reads: str) -> Control:
    types = {shape.get("type", "object") for shape in shapes} - {"null"}
    if choices:
        return "choice"
    if types == {"array"}:
        items = [item for shape in shapes if "items" in shape for item in shape["items"]]
        return "list" if items and all(i.get("type") in SCALARS for i in items) else "json"
    if reads:
        return "reference"
    if types == {"boolean"}:
        return "switch"
    if types and types <= {"integer", "number"}:
        return "number"
    return "text" if types and types <= set(SCALARS) else "json"


_LIMIT_NAMES = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "maxItems", "multipleOf",
)  # fmt: skip


def _limits(shapes: list[dict[str, Any]], schema: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: shape[name] for shape in [*shapes, schema] for name in _LIMIT_NAMES if name in shape
    }


def _artifact_kind(annotation: Any, metadata: list[Any]) -> str:
    """Return the kind of artifact a field names, wherever in its annotation the mark stands."""
    for item in (*metadata, annotation):
        if isinstance(item, ReadsArtifact):
            return item.kind
    for part in get_args(annotation):
        if isinstance(part, ReadsArtifact):
            return part.kind
        if kind := _artifact_kind(part, []):
            return kind
    return ""


def number_text(number: float) -> str:
    """Return a number as a person writes it: 0.14, 5e-5, 4096."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e16:
        number = int(number)
    text = repr(number)
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def _bounds_text(limits: Mapping[str, float]) -> str:
    """Return limits in words: ``1 to 100``, ``more than 0``.

    The length of a text is no help to who fills it in; what breaks it is told as an error.
    """
    if {"minimum", "maximum"} <= limits.keys():
        return f"{_grouped(limits['minimum'])} to {_grouped(limits['maximum'])}"
    words = {
        "minimum": "at least {}", "exclusiveMinimum": "more than {}",
        "maximum": "at most {}", "exclusiveMaximum": "less than {}",
        "maxItems": "at most {} of them", "multipleOf": "in steps of {}",
    }  # fmt: skip
    parts = [words[n].format(_grouped(limits[n])) for n in words if limits.get(n)]
    for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if limits.get(name) == 0:
            parts.insert(0, words[name].format(0))
    return ", ".join(parts)


def _grouped(number: float) -> str:
    is_long = isinstance(number, int) and abs(number) >= 10_000
    return f"{number:,}" if is_long else number_text(number)
