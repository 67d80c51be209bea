"""Command-line flags derived from a Spec: one flag per field."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, TypeVar, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from workbench.core.errors import SpecError, nearest_name
from workbench.core.registry import Stage
from workbench.core.spec import RUN_OPTIONS, Spec, field_fact

AnySpec = TypeVar("AnySpec", bound=Spec)


def parse_flags(stage: Stage, flags: list[str]) -> tuple[Spec, dict[str, Any]]:
    """Return the Spec and how to run it (workspace, priority, workers, detach).

    Every field is one flag; lists and tables are given as JSON or YAML.

    Raises:
        SpecError: a flag is unknown (the nearest is told) or its value is not allowed.
    """
    command = f"workbench run {stage.name}"
    parser = _parser(command, stage.help, stage.spec, "what to do")
    _add_run_options(parser, stage)
    given = _given(parser, flags, [*stage.spec.model_fields, *RUN_OPTIONS, "detach"])
    how = {name: known.default for name, known in RUN_OPTIONS.items()}
    how |= {name: given.pop(name) for name in _options_of(stage) if name in given}
    how["detach"] = given.pop("detach", False)
    return _spec(stage.spec, given), how


def parse_spec_flags(command: str, help: str, spec: type[AnySpec], flags: list[str]) -> AnySpec:
    """Return a Spec that is no stage's, from flags of which each is one field.

    Raises:
        SpecError: a flag is unknown (the nearest is told) or its value is not allowed.
    """
    parser = _parser(command, help, spec, "options")
    return _spec(spec, _given(parser, flags, list(spec.model_fields)))


def _given(
    parser: argparse.ArgumentParser, flags: list[str], names: Sequence[str]
) -> dict[str, Any]:
    known, unknown = parser.parse_known_args(flags)
    if unknown:
        name = unknown[0].lstrip("-").split("=")[0].replace("-", "_")
        raise SpecError(
            f"{parser.prog.split()[-1]} has no flag {unknown[0]!r}",
            where=parser.prog,
            next_step=nearest_name(name, names).replace("_", "-"),
        )
    return {name: value for name, value in vars(known).items() if value is not None}


def _spec(spec: type[AnySpec], given: dict[str, Any]) -> AnySpec:
    return spec.parse(
        {
            name: _value(spec, name, text) if isinstance(text, str) else text
            for name, text in given.items()
        }
    )


def _parser(command: str, help: str, spec: type[Spec], title: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command,
        description=help,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group(title)
    for name, field in spec.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "required" if default is PydanticUndefined else f"default {_shown(default)}"
        unit = field_fact(field, "unit")
        text = f"{field.description} [{unit + ', ' if unit else ''}{shown}]".replace("%", "%%")
        what.add_argument(_flag(name), dest=name, metavar=_metavar(field.annotation), help=text)
    return parser


def _add_run_options(parser: argparse.ArgumentParser, stage: Stage) -> None:
    how = parser.add_argument_group("how to run it")
    for name in _options_of(stage):
        known = RUN_OPTIONS[name]
        how.add_argument(
            _flag(name), dest=name, type=known.read, metavar=known.metavar, help=known.help
        )
    how.add_argument("--detach", action="store_true", help="return at once; the run goes on")


def _options_of(stage: Stage) -> list[str]:
    """Return the run options that the stage has no field of the same name for.

    The stage that runs a notebook takes no slot: its ``workers`` are those of the notebook's stage.
    """
    return [name for name in RUN_OPTIONS if name not in stage.spec.model_fields]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(default: Any) -> str:
    if hasattr(default, "model_dump"):
        default = default.model_dump(mode="json")
    return json.dumps(default, ensure_ascii=False, default=str)


def _metavar(annotation: Any) -> str:
    name = getattr(get_origin(annotation) or annotation, "__name__", "value")
    return {"str": "TEXT", "int": "NUMBER", "float": "NUMBER", "bool": "yes|no"}.get(
        name, "JSON" if name in ("list", "dict", "tuple") else "VALUE"
    )


def _value(spec: type[Spec], name: str, text: str) -> Any:
    """Read a flag's text: as it is for a text field, as YAML (so also JSON) for any other.

    Where YAML reads a number, a date or a yes and the field takes a word, the word is meant.
    """
    annotation = spec.model_fields[name].annotation
    if annotation is str:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        if _fits(annotation, text):
            return text
        raise SpecError(f"{_flag(name)}: cannot read {text!r}", where=name,
                        next_step="Give JSON, in single quotes.") from error  # fmt: skip
    if isinstance(value, str):
        return value if text[:1] in ("'", '"') else text
    if isinstance(value, list | dict) or _fits(annotation, value) or not _fits(annotation, text):
        return value
    return text


def _fits(annotation: Any, value: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value, strict=not isinstance(value, str))
    except ValidationError:
        return False
    return True
