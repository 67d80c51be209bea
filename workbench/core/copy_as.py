"""A Spec as text to take along: Python, a shell command, or a papermill call.

Every text names only what differs from the defaults (and what has none), so that what is read is
what was decided. Each is exact: reading it back gives an equal Spec.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from workbench.core.spec import RUN_OPTIONS, Spec
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish, read_wish

LINE_WIDTH = 92


def as_python(spec: Spec, workers: WorkersWish = DEFAULT_WORKERS, priority: int = 0) -> str:
    """Return Python lines that submit this Spec; they run wherever they are pasted."""
    return python_text(type(spec), given_values(spec), workers=workers, priority=priority)


def as_command(spec: Spec, workers: WorkersWish = DEFAULT_WORKERS, priority: int = 0) -> str:
    """Return the shell command that submits this Spec, quoted for a POSIX shell."""
    return command_text(type(spec), given_values(spec), workers=workers, priority=priority)


def as_papermill(spec: Spec, workers: WorkersWish = DEFAULT_WORKERS, priority: int = 0) -> str:
    """Return the papermill call that runs the stage's notebook with this Spec."""
    return papermill_text(type(spec), given_values(spec), workers=workers, priority=priority)


def given_values(spec: BaseModel) -> dict[str, Any]:
    """Return, as plain JSON values, the fields that are required or differ from their default.

    A field with one possible value (the ``kind`` of a source) is kept: it tells alternatives apart.
    """
    given: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if (
            field.is_required()
            or _has_one_value(field.annotation)
            or value != field.get_default(call_default_factory=True)
        ):
            given[name] = _plain(value)
    return given


def _has_one_value(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def stage_name(spec_class: type[Spec]) -> str:
    """Return the stage's name, told from its Spec's: ``TrainSpec`` -> ``train``."""
    stem = spec_class.__name__.removesuffix("Spec")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", stem).lower()


def python_text(
    spec_class: type[Spec],
    given: Mapping[str, Any],
    *,
    workers: WorkersWish = DEFAULT_WORKERS,
    priority: int = 0,
) -> str:
    """Like ``as_python``, from plain values that need not be valid yet."""
    chosen = _run_options(workers, priority)
    options = [f"{name}={_python(value)}" for name, value in chosen.items()]
    spec = python_expression(spec_class, given, width=LINE_WIDTH - 26 - len(", ".join(options)))
    call = ", ".join([spec, *options])
    name, module = spec_class.__name__, spec_class.__module__
    if module == "__main__":  # defined in the notebook itself: nothing to import
        imports = "from workbench import Workspace"
    elif module.startswith("workbench."):
        imports = f"from workbench import {', '.join(sorted([name, 'Workspace']))}"
    else:
        imports = f"from workbench import Workspace\nfrom {module} import {name}"
    return f"{imports}\n\nrun = Workspace().submit({call})"


def python_expression(
    spec_class: type[Spec], given: Mapping[str, Any], width: int = LINE_WIDTH
) -> str:
    """Return ``TrainSpec(dataset="comments@latest", epochs=2)``, a line a field when too long."""
    arguments = [f"{name}={_python(value)}" for name, value in given.items()]
    line = f"{spec_class.__name__}({', '.join(arguments)})"
    if len(line) <= width:
        return line
    lines = "".join(f"    {argument},\n" for argument in arguments)
    return f"{spec_class.__name__}(\n{lines})"


def command_text(
    spec_class: type[Spec],
    given: Mapping[str, Any],
    *,
    workers: WorkersWish = DEFAULT_WORKERS,
    priority: int = 0,
) -> str:
    """Like ``as_command``, from plain values that need not be valid yet."""
    if _is_of_a_cell(spec_class):
        return _ONLY_AS_PYTHON
    values = {**given, **_run_options(workers, priority)}
    flags = [
        _flag(name, _flag_text(value, _is_text(spec_class, name))) for name, value in values.items()
    ]
    return " ".join(["workbench run", stage_name(spec_class), *flags])


def papermill_text(
    spec_class: type[Spec],
    given: Mapping[str, Any],
    *,
    workers: WorkersWish = DEFAULT_WORKERS,
    priority: int = 0,
) -> str:
    """Like ``as_papermill``, from plain values that need not be valid yet."""
    if _is_of_a_cell(spec_class):
        return _ONLY_AS_PYTHON
    values = {**given, **_run_options(workers, priority)}
    parameters = [_papermill_parameter(name, value) for name, value in values.items()]
    notebook = f"notebooks/{stage_name(spec_class)}.ipynb"
    return " ".join(["papermill", notebook, "out.ipynb", *parameters])


_ONLY_AS_PYTHON = "# A stage of this notebook's cells: copy it as Python."


def _is_of_a_cell(spec_class: type[Spec]) -> bool:
    """Whether a stage's code is sent along, which no other program has."""
    return spec_class.submitted is not Spec.submitted


def _run_options(workers: WorkersWish, priority: int) -> dict[str, int | str]:
    given = {"workers": read_wish(workers), "priority": priority}
    return {name: value for name, value in given.items() if value != RUN_OPTIONS[name].default}


def _plain(value: Any) -> Any:
    """Return plain JSON values; models inside keep only what was decided."""
    if isinstance(value, BaseModel):
        return given_values(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return to_jsonable_python(value, inf_nan_mode="constants")


def _python(value: Any) -> str:
    """Return a Python literal with double quotes, as formatters write it."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(map(_visible, escaped)) + '"'
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return f'float("{value}")'
    if isinstance(value, list):
        return f"[{', '.join(map(_python, value))}]"
    if isinstance(value, dict):
        items = (f"{_python(key)}: {_python(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    return repr(value)


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def _is_text(spec_class: type[Spec], name: str) -> bool:
    field = spec_class.model_fields.get(name)
    return field is not None and field.annotation is str


def _flag_text(value: Any, is_text: bool) -> str:
    """Return a flag's value: as it is for a text field; else JSON that YAML reads the same."""
    if isinstance(value, str) and (is_text or _reads_as_itself(value)):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else _yaml(value)


def _reads_as_itself(text: str) -> bool:
    try:
        return bool(yaml.safe_load(text) == text)
    except yaml.YAMLError:
        return False


def _flag(name: str, text: str) -> str:
    flag = f"--{name.replace('_', '-')}"
    # A value that begins with a dash would be read as a flag of its own.
    joint = "=" if text.startswith("-") else " "
    return f"{flag}{joint}{_quote(text)}"


_BARE = re.compile(r"[\w@%+=:,./-]+")  # as in shlex, but letters of every script stay readable


def _quote(text: str) -> str:
    return text if _BARE.fullmatch(text) else shlex.quote(text)


def _papermill_parameter(name: str, value: Any) -> str:
    if isinstance(value, list | dict):
        return f"-y {_quote(_yaml({name: value}))}"
    if isinstance(value, str):
        # papermill turns "2", "True" and "None" into other types; -r takes the text as it is.
        return f"-{'r' if _looks_typed(value) else 'p'} {name} {_quote(value)}"
    return f"-p {name} {value!r}"


def _yaml(value: Any) -> str:
    """Return one line of YAML; by PyYAML itself, which would read json's 1e-05 as text."""

    def dump(allow_unicode: bool) -> str:
        text: str = yaml.safe_dump(
            value,
            default_flow_style=True,
            sort_keys=False,
            width=10**9,
            allow_unicode=allow_unicode,
        )
        return text.strip()

    readable = dump(allow_unicode=True)
    # Left raw, unusual line breaks (U+0085, U+2028) would be folded into spaces.
    return readable if readable.isprintable() else dump(allow_unicode=False)


def _looks_typed(text: str) -> bool:
    if text in ("True", "False", "None"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
