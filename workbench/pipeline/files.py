"""Pipeline files: YAML with parameters and steps, turned into a Spec."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

import workbench
from workbench.core.errors import SpecError, nearest_name
from workbench.pipeline.run import PipelineSpec

# ${name} is a parameter of the file; ${step.output} is what an earlier step has made.
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")


def notebooks_folder() -> Path:
    """Return where the stage notebooks are: in the wheel, or beside the package in a checkout."""
    package = Path(workbench.__file__).parent
    inside = package / "notebooks"
    return inside if inside.is_dir() else package.parent / "notebooks"


def sample_folder() -> Path:
    """Return the folder of the shipped sample; pipelines name it as ``${sample}``."""
    return Path(workbench.__file__).parent / "demo" / "sample"


def shipped_pipelines() -> list[Path]:
    """Return the pipeline files that come with the workbench."""
    files = sorted((notebooks_folder() / "pipelines").glob("*.yaml"))
    return [path for path in files if "steps" in (yaml.safe_load(path.read_text()) or {})]


def read_parameters(path: Path) -> dict[str, Any]:
    """Read a YAML file of parameters; ``${folder}`` in it means the file's own folder.

    Raises:
        SpecError: it cannot be read, or is no table of names and values.
    """
    found = _read_yaml(path)
    folder = {"folder": str(path.absolute().parent)}
    filled = substitute(found, lambda name: folder.get(name, f"${{{name}}}"))
    return dict(filled)


def load_pipeline(file: str | Path, given: Mapping[str, Any]) -> PipelineSpec:
    """Read a pipeline file (or the shipped one of that name) and put the parameters in.

    Raises:
        SpecError: the file, a parameter or a step is not as it should be; the nearest right name
            is told.
    """
    path = _find(file)
    content = _read_yaml(path)
    declared = dict(content.get("parameters") or {})
    for name in given:
        if name not in declared:
            raise SpecError(f"{path.name} has no parameter {name!r}", where=str(path),
                            next_step=nearest_name(name, declared))  # fmt: skip
    values = {**declared, **given}
    values = {"sample": str(sample_folder()), "folder": str(path.absolute().parent), **values}
    steps = substitute(content.get("steps") or [], lambda name: _lookup(name, values, path))
    return PipelineSpec.parse({"name": content.get("name", path.stem), "steps": steps})


def substitute(value: Any, lookup: Callable[[str], Any], within: tuple[str, ...] = ()) -> Any:
    """Fill placeholders in every text of a nested value.

    A text that is one placeholder takes the value's own type; within a longer text it is written
    out. What is put in is filled in turn; ``within`` are the names that are being filled.

    Raises:
        SpecError: a name stands for itself, directly or through others.
    """
    if isinstance(value, list):
        return [substitute(item, lookup, within) for item in value]
    if isinstance(value, dict):
        return {key: substitute(item, lookup, within) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    if whole is None:
        return _PLACEHOLDER.sub(lambda m: str(_fill(m[0], m[1], lookup, within)), value)
    return _fill(value, whole[1], lookup, within)


def _fill(text: str, name: str, lookup: Callable[[str], Any], within: tuple[str, ...]) -> Any:
    if name in within:
        raise SpecError(f"${{{name}}} stands for itself", where=" → ".join((*within, name)),
                        next_step="Give one of these a value of its own.")  # fmt: skip
    found = lookup(name)
    return found if found == text else substitute(found, lookup, (*within, name))


def _lookup(name: str, values: Mapping[str, Any], path: Path) -> Any:
    if name in values:
        return values[name]
    if "." in name:
        return f"${{{name}}}"  # a step's output: known when that step is done
    raise SpecError(f"Nothing is called ${{{name}}}", where=str(path),
                    next_step=nearest_name(name, values))  # fmt: skip


def _find(file: str | Path) -> Path:
    path = Path(file)
    if path.is_file():
        return path
    shipped = {found.stem: found for found in shipped_pipelines()}
    if str(file) in shipped:
        return shipped[str(file)]
    raise SpecError(f"There is no pipeline file {str(file)!r}", where=str(path.absolute()),
                    next_step=nearest_name(path.stem, shipped))  # fmt: skip


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"Cannot read {path.name}: {error}",
            where=str(path),
            next_step="Check the path and that the file is UTF-8 text.",
        ) from error
    except yaml.YAMLError as error:
        raise SpecError(f"{path.name} is no YAML: {error}", where=str(path),
                        next_step="Mend the line that is named.") from error  # fmt: skip
    if not isinstance(content, dict):
        raise SpecError(f"{path.name} is no table of names and values", where=str(path))
    return content
