"""What a search may choose: ranges and choices, written on the fields of the stage's own Spec."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.core.errors import SpecError, nearest_name
from workbench.core.spec import Spec, field_fact

Value = Any  # a plain value of a field: a number, a text, a truth value, None
When = dict[str, list[Value]]

_FIELD_BOUNDS = ("ge", "le")
_GRID_POINTS = 5  # of a range of real numbers, or of more whole ones than this allows
_MOST_WHOLE = 20
_MOST_POINTS = 100_000  # of a grid
_MOST_TRIED = 10_000  # of them, to find one whose values go together


class _Dimension(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    when: When = Field(
        default_factory=dict,
        description="Only asked where other fields have one of these values.",
    )


class Range(_Dimension):
    """Numbers from ``low`` to ``high``, both included; ``log``: as many below as above the root."""

    low: float
    high: float
    log: bool = False
    step: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"a range from {self.low:g} to {self.high:g} holds nothing")
        if self.log and self.low <= 0:
            raise ValueError("a log range begins above 0")
        if self.log and self.step is not None:
            raise ValueError("a log range has no step")
        return self


class Choice(_Dimension):
    """One of some values."""

    choices: list[Value] = Field(min_length=1)


Dimension = Range | Choice


class Space:
    """The dimensions of a search by field, those first that others depend on."""

    def __init__(self, spec: type[Spec], base: Mapping[str, Value], asked: Mapping[str, Any]):
        """Read what is asked for: a range, a list of choices, or None for the field's own bounds.

        Raises:
            SpecError: a name is no field, a value is out of its bounds, or nothing is left.
        """
        self._spec = spec
        self._base = dict(base)
        dimensions = {name: _read(spec, name, value) for name, value in asked.items()}
        self.dimensions = _in_order(spec, dimensions)
        self._whole = {name for name in dimensions if _is_whole(spec, name)}
        for name, dimension in self.dimensions.items():
            self._check(name, dimension)

    def active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether a dimension is asked, given the values of those before it."""
        known = {**self._defaults(), **self._base, **values}
        when = self.dimensions[name].when
        return all(known.get(field) in allowed for field, allowed in when.items())

    def is_whole(self, name: str) -> bool:
        """Whether a dimension's numbers are whole ones."""
        return name in self._whole

    def to_spec(self, values: Mapping[str, Value]) -> Spec:
        """Return the Spec with these values.

        Raises:
            SpecError: they do not go together.
        """
        return self._spec.parse({**self._base, **values})

    def grid(self) -> Iterator[dict[str, Value]]:
        """Yield every combination of choices and of points of ranges, conditions heeded."""
        yield from self._grid(list(self.dimensions), {})

    def example(self) -> dict[str, Value]:
        """Return values that go together.

        Raises:
            SpecError: none were found among the first points of the grid.
        """
        refused: SpecError | None = None
        for values in itertools.islice(self.grid(), _MOST_TRIED):
            try:
                self.to_spec(values)
            except SpecError as error:
                refused = refused or error
                continue
            return values
        assert refused is not None  # a grid has a point
        raise refused

    def examples(self) -> Iterator[dict[str, Value]]:
        """Yield values that go together such that every choice is among them, where it can be."""
        first = self.example()
        yield first
        for name, dimension in self.dimensions.items():
            for value in dimension.choices if isinstance(dimension, Choice) else []:
                with suppress(SpecError):
                    self.to_spec({**first, name: value})
                    yield {**first, name: value}

    def points(self, name: str) -> list[Value]:
        """Return the values of a dimension in a grid."""
        dimension = self.dimensions[name]
        if isinstance(dimension, Choice):
            return list(dimension.choices)
        low, high = dimension.low, dimension.high
        if dimension.step is not None:
            count = math.floor((high - low) / dimension.step + 1e-9) + 1
            values = [low + number * dimension.step for number in range(count)]
        elif name in self._whole and high - low < _MOST_WHOLE and not dimension.log:
            values = [low + number for number in range(int(high - low) + 1)]
        elif dimension.log:
            ratio = (high / low) ** (1 / (_GRID_POINTS - 1))
            values = [low * ratio**number for number in range(_GRID_POINTS)]
        else:
            values = [
                low + (high - low) * number / (_GRID_POINTS - 1) for number in range(_GRID_POINTS)
            ]
        if name in self._whole:
            return list(dict.fromkeys(round(value) for value in values))
        return list(dict.fromkeys(values))

    def _grid(self, names: Sequence[str], values: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if not names:
            yield values
        elif not self.active(names[0], values):
            yield from self._grid(names[1:], values)
        else:
            for value in self.points(names[0]):
                yield from self._grid(names[1:], {**values, names[0]: value})

    def _defaults(self) -> dict[str, Value]:
        fields = self._spec.model_fields
        return {n: f.get_default(call_default_factory=True) for n, f in fields.items()}

    def _check(self, name: str, dimension: Dimension) -> None:
        """See that the field takes the values, one by one."""
        if isinstance(dimension, Choice):
            edges: list[Value] = dimension.choices
        else:
            edges = [dimension.low, dimension.high]
        for edge in edges:
            if name in self._whole and isinstance(edge, float):
                edge = _whole(name, edge)
            try:
                self.to_spec({name: edge})
            except SpecError as error:
                if name in f"{error.where} {error.what}":  # else another field needs another value
                    raise SpecError(
                        f"The search space of {name} holds {edge!r}, which is refused: "
                        f"{error.what}",
                        where=f"space.{name}", next_step=error.next_step,
                    ) from error  # fmt: skip


def _read(spec: type[Spec], name: str, value: Any) -> Dimension:
    if name not in spec.model_fields:
        raise SpecError(f"{spec.__name__} has no field {name!r}", where="space",
                        next_step=nearest_name(name, spec.model_fields))  # fmt: skip
    if value is None:
        return _of_field(spec, name)
    content = {"choices": value} if isinstance(value, list) else value
    kind: type[Range | Choice] = Choice if "choices" in content else Range
    try:
        found = kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(
            f"The search space of {name}: {place + ': ' if place else ''}"
            f"{first['msg'].removeprefix('Value error, ')}",
            where=f"space.{name}",
            next_step="Give {low, high}, with log or step if need be, or a list of choices.",
        ) from error
    for field in found.when:
        if field not in spec.model_fields:
            raise SpecError(f"{name} depends on {field!r}, which is no field",
                            where=f"space.{name}.when",
                            next_step=nearest_name(field, spec.model_fields))  # fmt: skip
    return found


def _of_field(spec: type[Spec], name: str) -> Dimension:
    """Return what a field itself says may be searched: its hint, its choices or its bounds."""
    field = spec.model_fields[name]
    hint = field_fact(field, "search")
    if hint:
        low, high, *kind = hint.split()
        return Range(low=float(low), high=float(high), log=kind == ["log"])
    for annotation in _alternatives(field.annotation):
        if get_origin(annotation) is Literal:
            return Choice(choices=list(get_args(annotation)))
        if annotation is bool:
            return Choice(choices=[False, True])
    bounds = {
        bound: getattr(meta, bound)
        for meta in field.metadata for bound in _FIELD_BOUNDS if hasattr(meta, bound)
    }  # fmt: skip
    if set(bounds) == set(_FIELD_BOUNDS):
        return Range(low=bounds["ge"], high=bounds["le"])
    raise SpecError(f"{name} has no bounds of its own to search within", where=f"space.{name}",
                    next_step="Give {low, high} or a list of choices.")  # fmt: skip


def _alternatives(annotation: Any) -> list[Any]:
    """Return the alternatives of a union type; of another type itself."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    is_union = get_origin(annotation) is Union or type(annotation).__name__ == "UnionType"
    return list(get_args(annotation)) if is_union else [annotation]


def _is_whole(spec: type[Spec], name: str) -> bool:
    kinds = _alternatives(spec.model_fields[name].annotation)
    return int in kinds and float not in kinds


def _whole(name: str, value: float) -> int:
    if value != int(value):
        raise SpecError(f"{name} is a whole number, {value:g} is none", where=f"space.{name}",
                        next_step="Give whole ends and steps.")  # fmt: skip
    return int(value)


def _in_order(spec: type[Spec], dimensions: Mapping[str, Dimension]) -> dict[str, Dimension]:
    """Order dimensions so that each comes after those it depends on."""
    if not dimensions:
        raise SpecError("The search space is empty", where="space",
                        next_step=f"Name fields of {spec.__name__}.")  # fmt: skip
    ordered: dict[str, Dimension] = {}
    left = dict(dimensions)
    while left:
        ready = [n for n, d in left.items() if not set(d.when) & set(left)]
        if not ready:
            raise SpecError(f"{', '.join(left)} depend on each other in a circle", where="space",
                            next_step="Take one of the conditions away.")  # fmt: skip
        for name in ready:
            ordered[name] = left.pop(name)
    for name, dimension in ordered.items():
        for field, allowed in dimension.when.items():
            offered = ordered.get(field)
            if isinstance(offered, Choice) and not set(map(repr, allowed)) & set(
                map(repr, offered.choices)
            ):
                raise SpecError(f"{name} is never asked: {field} is never one of {allowed}",
                                where=f"space.{name}.when",
                                next_step=f"{field} may be {offered.choices}.")  # fmt: skip
    return ordered


def check_grid(space: Space) -> None:
    """See that a grid is not too large, without listing it where that can be told otherwise.

    Raises:
        SpecError: it has more than 100,000 points.
    """
    if math.prod(len(space.points(name)) for name in space.dimensions) > _MOST_POINTS:
        list_grid(space)  # conditions may make it smaller


def list_grid(space: Space) -> list[dict[str, Value]]:
    """Return the points of a grid.

    Raises:
        SpecError: there are more than 100,000.
    """
    points = list(itertools.islice(space.grid(), _MOST_POINTS + 1))
    if len(points) > _MOST_POINTS:
        raise SpecError(f"The grid has more than {_MOST_POINTS:,} points", where="space",
                        next_step="Give ranges a larger step, or use another sampler.")  # fmt: skip
    return points
