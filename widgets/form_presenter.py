"""What a view shows of a form: groups of rows, what differs, what it waits for, texts to copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from widgets.fields import FormField
from widgets.form_model import Checked, FormModel, Raw, check, raw_of, told_values
from workbench.core.copy_as import (
    command_text,
    papermill_text,
    python_text,
    stage_name,
)


def present(
    form: FormModel, catalogue: Mapping[str, list[dict[str, Any]]] | None = None
) -> dict[str, Any]:
    """Return all that a view shows of the form, as plain JSON values.

    ``catalogue`` holds, for each kind of artifact, ``{reference, facts}`` of what can be chosen.
    """
    checked = check(form)
    groups = _present_groups(form, checked, catalogue or {}, "")
    rows = [row for group in groups for row in group["fields"]]
    return {
        "stage": stage_name(form.spec_class),
        "spec_name": form.spec_class.__name__,
        "title": form.title,
        "help": form.help,
        "groups": groups,
        "num_fields": len(form.fields),
        "differing": [row for row in _with_items(rows) if row["differs"]],
        "waits_for": _waits_for(rows),
        "form_error": checked.form_error,
        "valid": checked.spec is not None,
        "copy": _copies(form, checked),
    }


def _present_groups(
    form: FormModel, checked: Checked, catalogue: Mapping[str, Any], prefix: str
) -> list[dict[str, Any]]:
    groups: dict[str, list[Any]] = {}
    for known in (*form.fields, *form.running):
        row = _present_field(form, checked, known, catalogue, prefix)
        groups.setdefault(known.group, []).append(row)
    return [{"title": title, "fields": rows} for title, rows in groups.items()]


def _present_field(
    form: FormModel, checked: Checked, known: FormField, catalogue: Mapping[str, Any], prefix: str
) -> dict[str, Any]:
    raw = form.raw[known.name]
    error = checked.errors.get(known.name)
    offered = catalogue.get(known.reads, []) if known.reads else []
    name = f"{prefix}{known.name}"
    default = raw_of(known, known.default)
    default = default if isinstance(default, bool) else _told(default)
    items = checked.items.get(known.name, ())
    return {
        "name": name,
        "title": known.title,
        "help": known.help,
        "unit": known.unit,
        "bounds": known.bounds,
        "control": known.control,
        "raw": raw if isinstance(raw, bool) else _told(raw),
        "default": "on" if default is True else "off" if default is False else default,
        "default_is_short": len(str(default)) <= 40,
        "required": known.required,
        "differs": not known.required and _differs(checked, known, raw, default),
        "error": error.what if error else "",
        "is_missing": bool(error and error.is_missing),
        "suggestion": error.suggestion if error else "",
        "choices": [raw_of(known, choice) for choice in known.choices],
        "reads": known.reads,
        "offered": offered,
        "facts": next((o["facts"] for o in offered if o["reference"] == raw), ""),
        "kinds": known.item_names(),
        "is_list": known.is_list,
        "can_remove": known.is_list or known.may_be_empty,
        "items": [
            _present_item(item, each, catalogue, f"{name}.{at}.")
            for at, (item, each) in enumerate(zip(_forms(raw), items, strict=True))
        ],
    }


def _told(raw: str | tuple[FormModel, ...]) -> str:
    """Return what stands in a field, as a text: of Specs, what they are."""
    return ", ".join(item.title for item in raw) if isinstance(raw, tuple) else raw


def _forms(raw: Raw) -> tuple[FormModel, ...]:
    return raw if isinstance(raw, tuple) else ()


def _present_item(
    item: FormModel, checked: Checked, catalogue: Mapping[str, Any], prefix: str
) -> dict[str, Any]:
    """Return one item: its pinned fields first, the others to be unfolded."""
    groups = _present_groups(item, checked, catalogue, prefix)
    rows = [row for group in groups for row in group["fields"] if not row["name"].endswith(".kind")]
    pinned = {f"{prefix}{name}" for name in item.pinned}
    return {
        "title": item.title,
        "fields": [row for row in rows if row["name"] in pinned],
        "more": [row for row in rows if row["name"] not in pinned],
        "error": checked.form_error,
    }


def _with_items(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows and, after each, the rows of its items."""
    for row in rows:
        yield row
        for item in row["items"]:
            yield from _with_items([*item["fields"], *item["more"]])


def _waits_for(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: row[name] for name in ("name", "title", "is_missing")}
        for row in _with_items(rows)
        if row["error"] or any(item["error"] for item in row["items"])
    ]


def _differs(checked: Checked, known: FormField, raw: Raw, default: Raw) -> bool:
    """Tell a decision from a default typed in another way (``1,000`` for ``1000``)."""
    if known.name in checked.values and known.name not in checked.errors:
        return bool(checked.values[known.name] != known.default)
    return raw != default


def _copies(form: FormModel, checked: Checked) -> dict[str, str]:
    """Return the texts to copy; of an invalid form, what can be read of it, and what is wrong."""
    given = told_values(form, checked)
    options: dict[str, Any] = {"workers": checked.workers, "priority": checked.priority}
    return {
        "python": python_text(form.spec_class, given, **options),
        "command": command_text(form.spec_class, given, **options),
        "papermill": papermill_text(form.spec_class, given, **options),
        "note": "; ".join(dict.fromkeys(_complaints(form, checked))),
    }


def _complaints(form: FormModel, checked: Checked) -> list[str]:
    titles = {f.name: f.title for f in (*form.fields, *form.running)}
    told = [
        error.what if error.is_missing else f"{titles[name]}: {error.what}"
        for name, error in checked.errors.items()
    ]
    for name, items in checked.items.items():
        for item, each in zip(_forms(form.raw[name]), items, strict=True):
            told += [f"{titles[name]}: {complaint}" for complaint in _complaints(item, each)]
    return [*told, checked.form_error] if checked.form_error else told
