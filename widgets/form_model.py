"""A form as plain values: what was typed into it, what that means, and what is wrong with it.

``FormModel`` holds the texts as they were typed; ``check`` turns them into a Spec, or into one
error a field. What is shown of it is in ``widgets.form_presenter``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from pydantic import ValidationError

from widgets.fields import FormField, fields_of, is_function, number_text, running_fields
from workbench.core.copy_as import given_values, stage_name
from workbench.core.errors import SpecError, nearest_name
from workbench.core.spec import Spec, plain_complaint
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish

# What stands in a field: a text, a tick, or a form for each Spec in it.
Raw: TypeAlias = "str | bool | tuple[FormModel, ...]"


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field, and a value that was perhaps meant."""

    what: str
    suggestion: str = ""
    is_missing: bool = False  # nothing was typed yet: a wait, not a mistake


@dataclass(frozen=True)
class Checked:
    """What the typed texts mean: a Spec, or the errors that stand against one."""

    spec: Spec | None
    values: Mapping[str, Any]
    errors: Mapping[str, FieldError]
    form_error: str = ""
    workers: WorkersWish = DEFAULT_WORKERS
    priority: int = 0
    items: Mapping[str, tuple[Checked, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class FormModel:
    """The texts of a form; changed only by making a new one."""

    spec_class: type[Spec]
    title: str
    help: str
    raw: Mapping[str, Raw]
    fields: tuple[FormField, ...] = ()
    running: tuple[FormField, ...] = ()
    pinned: frozenset[str] = frozenset()  # of an item: shown first, the rest can be unfolded

    def change(self, name: str, raw: str | bool) -> FormModel:
        """Return the form with one field typed anew (``sources.0.path``: within an item).

        Raises:
            SpecError: the form has no such field.
        """
        return self._at(name, lambda form, field_name: form._put(field_name, raw))

    def restore(self, name: str) -> FormModel:
        """Return the form with one field at its default again."""
        return self._at(name, lambda form, field_name: form._put_default(field_name))

    def reset(self) -> FormModel:
        """Return the form with every field at its default."""
        every = (*self.fields, *self.running)
        return replace(self, raw={known.name: raw_of(known, known.default) for known in every})

    def add_item(self, name: str, kind: str) -> FormModel:
        """Return the form with one more Spec in a field: of a kind, or an offered one.

        Where there is room for one only, it takes the place of the other.
        """
        known = self._field(name)
        before = self._items(name) if known.is_list else ()
        return self._put(name, (*before, item_form(known, known.item_values(kind))))

    def remove_item(self, name: str, index: int) -> FormModel:
        """Return the form without one of the Specs in a field."""
        items = self._items(name)
        return self._put(name, (*items[:index], *items[index + 1 :]))

    def _at(self, name: str, act: Callable[[FormModel, str], FormModel]) -> FormModel:
        """Apply a change here, or in the item that a dotted name leads to."""
        head, dot, rest = name.partition(".")
        if not dot:
            return act(self, name)
        index, _, inner = rest.partition(".")
        items = list(self._items(head))
        if not index.isdecimal() or int(index) >= len(items):
            raise SpecError(f"The form has no field {name!r}", where=name)
        items[int(index)] = items[int(index)]._at(inner, act)
        return self._put(head, tuple(items))

    def _put(self, name: str, raw: Raw) -> FormModel:
        self._field(name)
        return replace(self, raw={**self.raw, name: raw})

    def _put_default(self, name: str) -> FormModel:
        known = self._field(name)
        return self._put(name, raw_of(known, known.default))

    def _items(self, name: str) -> tuple[FormModel, ...]:
        return cast("tuple[FormModel, ...]", self.raw[self._field(name).name])

    def _field(self, name: str) -> FormField:
        for known in (*self.fields, *self.running):
            if known.name == name:
                return known
        raise SpecError(f"The form has no field {name!r}", where=name)


def new_form(
    spec_class: type[Spec],
    *,
    title: str = "",
    help: str = "",
    prefilled: Mapping[str, Any] | None = None,
    workers: WorkersWish = DEFAULT_WORKERS,
    priority: int = 0,
) -> FormModel:
    """Return the form of a Spec, with ``prefilled`` values (plain, need not be valid) put in.

    Raises:
        SpecError: a prefilled name is no field; the nearest one is told.
    """
    values = dict(prefilled or {})
    for name in values:
        if name not in spec_class.model_fields:
            raise SpecError(f"{spec_class.__name__} has no parameter {name!r}", where=name,
                            next_step=nearest_name(name, spec_class.model_fields))  # fmt: skip
    fields = fields_of(spec_class)
    form = FormModel(
        spec_class=spec_class,
        title=title or stage_name(spec_class).replace("_", " ").capitalize(),
        help=help,
        raw={},
        fields=fields,
        running=running_fields(),
        pinned=frozenset(values) | {known.name for known in fields if known.required},
    )
    return _filled(form, {**values, "workers": workers, "priority": priority})


def item_form(known: FormField, value: Mapping[str, Any]) -> FormModel:
    """Return the form of one Spec in a field."""
    classes = dict(known.variants)
    kind = str(value.get("kind", known.variants[0][0]))
    item = classes.get(kind, known.variants[0][1])
    title = str(value.get("name", kind)) if is_function(item) else kind
    form = new_form(item, title=title, prefilled=value)
    return replace(form, running=(), raw={f.name: form.raw[f.name] for f in form.fields})


def _filled(form: FormModel, values: Mapping[str, Any]) -> FormModel:
    every = (*form.fields, *form.running)
    typed = {f.name: raw_of(f, values[f.name]) for f in every if f.name in values}
    return replace(form, raw={**form.reset().raw, **typed})


def form_like(spec: Spec, prefilled: Mapping[str, Any] | None = None, **options: Any) -> FormModel:
    """Return a form filled from a Spec, then ``prefilled``; ``options`` as for ``new_form``."""
    return new_form(type(spec), prefilled={**given_values(spec), **(prefilled or {})}, **options)


def raw_of(known: FormField, value: Any) -> Raw:
    """Return the text (or tick) that stands for a value in its field."""
    if known.control == "switch":
        return bool(value)
    if known.control == "items":
        values = (value or ()) if known.is_list else () if value is None else (value,)
        return tuple(item_form(known, item) for item in values)
    if known.control == "json":
        return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)
    if value is None:
        return ""
    if known.control == "list" and isinstance(value, list | tuple):
        return _list_text(value)
    if isinstance(value, bool):
        return json.dumps(value)
    return number_text(value) if isinstance(value, int | float) else str(value)


def _list_text(items: list[Any] | tuple[Any, ...]) -> str:
    texts = [item if isinstance(item, str) else json.dumps(item) for item in items]
    is_plain = all(
        t == t.strip() != "" and t.isprintable() and not set(t) & set(',["') for t in texts
    )
    return ", ".join(texts) if is_plain else json.dumps(list(items), ensure_ascii=False)


def parse_raw(known: FormField, raw: str | bool) -> Any:
    """Return the plain value that a typed text stands for.

    Raises:
        ValueError: the text cannot be read as a value of the field's kind.
    """
    if isinstance(raw, bool):
        return raw
    text = raw.strip()
    if known.read is not None:
        return _read(known.read, text)
    if known.control == "choice":
        return _parse_choice(known, text)
    if known.control == "json":
        return _parse_json(known, text)
    if known.control == "list":
        return _parse_list(known, text)
    if text == "" and known.may_be_empty:
        return None
    if known.control == "number":
        return _parse_number(known, text)
    if known.control == "text" and set(known.types) & {"integer", "number", "boolean"}:
        return _parse_loosely(raw)
    return raw if known.control == "text" else text


def _read(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except SpecError as error:
        raise ValueError(_told(error)) from error


def _told(error: SpecError) -> str:
    return " ".join(part for part in (error.what + ".", error.next_step) if part)


def _parse_choice(known: FormField, text: str) -> Any:
    for choice in known.choices:
        if raw_of(known, choice) == text:
            return choice
    raise ValueError(f"{text!r} is none of the choices")


_GROUPING = re.compile(r"(?<=\d)[, ](?=\d{3}(?!\d))")  # 1,024 is a number; 1,4 may be two


def _parse_number(known: FormField, text: str) -> float:
    if text == "":
        raise ValueError("A number is needed")
    try:
        number = float(_GROUPING.sub("", text).replace("−", "-"))
    except ValueError:
        raise ValueError(f"{text} is not a number") from None
    if number != number or number in (float("inf"), -float("inf")):
        raise ValueError(f"{text} is not a number that can be used")
    return int(number) if number.is_integer() and "integer" in known.types else number


def _parse_json(known: FormField, text: str) -> Any:
    if text == "":
        return None if known.may_be_empty else known.default
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"Not JSON: {error.msg} (line {error.lineno})") from None


def _parse_list(known: FormField, text: str) -> Any:
    if text.startswith("["):
        return _parse_json(known, text)
    if text == "" and known.may_be_empty and known.default is None:
        return None
    parts = [part.strip() for line in text.splitlines() for part in line.split(",")]
    return [part for part in parts if part]


def _parse_loosely(text: str) -> Any:
    """Read a number or true/false where text is allowed as well."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, bool | int | float) else text


def check(form: FormModel) -> Checked:
    """Read and validate what was typed; every wrong field gets its own error."""
    values: dict[str, Any] = {}
    errors: dict[str, FieldError] = {}
    items: dict[str, tuple[Checked, ...]] = {}
    for known in (*form.fields, *form.running):
        raw = form.raw[known.name]
        if isinstance(raw, tuple):
            items[known.name] = tuple(check(item) for item in raw)
            pairs = zip(raw, items[known.name], strict=True)
            told = [told_values(item, each) for item, each in pairs]
            if known.is_list:
                values[known.name] = told
            elif told or known.may_be_empty:
                values[known.name] = told[0] if told else None
            else:
                errors[known.name] = _missing(known)
        elif _is_blank(known, raw):
            errors[known.name] = _missing(known)
        else:
            try:
                values[known.name] = parse_raw(known, raw)
            except ValueError as error:
                errors[known.name] = FieldError(str(error), _with_point(known, raw))
    running = {known.name: values.pop(known.name, known.default) for known in form.running}
    errors = {**_running_errors(form, running), **errors}
    spec, found, form_error = _validate(form, values)
    wrong_items = {name for name, parts in items.items() if any(p.spec is None for p in parts)}
    # What is wrong inside an item is told there.
    errors = {**{n: e for n, e in found.items() if n not in wrong_items}, **errors}
    if errors or form_error or wrong_items:
        spec = None
    return Checked(spec, values, errors, form_error, items=items, **running)


def _is_blank(known: FormField, raw: str | bool) -> bool:
    is_needed = known.required and not known.may_be_empty
    return is_needed and isinstance(raw, str) and not raw.strip()


def _missing(known: FormField) -> FieldError:
    return FieldError(f"{known.title} is needed", is_missing=True)


def _with_point(known: FormField, raw: str | bool) -> str:
    """Offer ``1.4`` for ``1,4``."""
    text = str(raw).strip().replace(",", ".")
    try:
        return number_text(float(text)) if known.allows(float(text)) else ""
    except ValueError:
        return ""


def told_values(form: FormModel, checked: Checked) -> dict[str, Any]:
    """Return the plain values that were decided; of an invalid form, those that can be read."""
    if checked.spec is not None:
        return given_values(checked.spec)
    return {
        known.name: checked.values[known.name]
        for known in form.fields
        if known.name in checked.values
        and not (known.name in checked.errors and checked.errors[known.name].is_missing)
        and (known.name == "kind" or checked.values[known.name] != known.default)
    }


def _running_errors(form: FormModel, running: Mapping[str, Any]) -> dict[str, FieldError]:
    return {
        known.name: _out_of_bounds(known, running[known.name])
        for known in form.running
        if known.read is None and not known.allows(running[known.name])
    }


def _validate(
    form: FormModel, values: Mapping[str, Any]
) -> tuple[Spec | None, dict[str, FieldError], str]:
    try:
        return form.spec_class.parse(values), {}, ""
    except SpecError as error:
        by_name = {known.name: known for known in form.fields}
        if not isinstance(error.__cause__, ValidationError):
            name = error.where.partition(".")[0]
            told = _told(error)
            return (None, {name: FieldError(told)}, "") if name in by_name else (None, {}, told)
        errors: dict[str, FieldError] = {}
        form_error = ""
        for detail in error.__cause__.errors(include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else ""
            if name in by_name:
                errors.setdefault(name, _field_error(by_name[name], dict(detail)))
            elif not form_error:
                form_error = _message(dict(detail))
        return None, errors, form_error


_BOUND_ERRORS = {
    "greater_than", "greater_than_equal", "less_than", "less_than_equal", "int_from_float",
}  # fmt: skip


def _field_error(known: FormField, detail: dict[str, Any]) -> FieldError:
    if len(detail["loc"]) == 1 and detail["type"] in _BOUND_ERRORS:
        return _out_of_bounds(known, detail["input"])
    is_empty_list = detail["type"] == "too_short" and not detail["input"]
    if len(detail["loc"]) == 1 and (detail["type"] == "missing" or is_empty_list):
        return _missing(known)
    inside = ".".join(str(part) for part in detail["loc"][1:])
    message = _message(detail)
    return FieldError(f"{inside}: {message}" if inside else message)


def _message(detail: Mapping[str, Any]) -> str:
    """Return pydantic's complaint without its prefix for raised errors."""
    message = plain_complaint(str(detail["msg"]))
    return message[:1].upper() + message[1:]


def _out_of_bounds(known: FormField, number: float) -> FieldError:
    """Say which bound is broken; offer the number that a slipped decimal point would mean."""
    shown = number_text(number)
    if known.is_whole and not float(number).is_integer():
        return FieldError(f"{shown} is not a whole number", _suggest(known, number))
    if number > known.maximum or (number == known.maximum and known.excludes_maximum):
        word = "not less than" if known.excludes_maximum else "more than the most allowed,"
        limit = known.maximum
    else:
        word = "not more than" if known.excludes_minimum else "less than the least allowed,"
        limit = known.minimum
    return FieldError(f"{shown} is {word} {number_text(limit)}", _suggest(known, number))


def _suggest(known: FormField, number: float) -> str:
    for power in (1, 2, 3):
        for meant in (number / 10**power, number * 10**power):
            rounded = float(f"{meant:.12g}")
            if rounded != 0 and known.allows(rounded):
                return number_text(rounded)
    return ""
