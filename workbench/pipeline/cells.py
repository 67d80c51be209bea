"""Stage notebooks: the generated cells are made from the Spec, the prose around them is kept.

``python -m workbench.pipeline.cells`` brings every stage notebook up to date; with ``--check`` it
only says which are not, and fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from workbench.core.registry import Stage, load_stage, stage_names
from workbench.core.spec import RUN_OPTIONS, field_fact
from workbench.pipeline.files import notebooks_folder

_WITHOUT_NOTEBOOK = ("notebook", "pipeline", "cell")  # they run notebooks, or come from one
_WIDTH = 88


def parameter_cell(stage: Stage) -> str:
    """Return the source of the parameters cell: every field with its help and default."""
    lines = [f"# Parameters of {stage.name}. Change them here, or with papermill's -p NAME VALUE."]
    for name, field in stage.spec.model_fields.items():
        default = field.get_default(call_default_factory=True)
        lines += _comment(f"{field.title}: {field.description}{_unit(field)}")
        lines.append(f"{name} = {_literal(default)}")
    lines += ["", "# How to run it."]
    for name, known in RUN_OPTIONS.items():
        lines.append(f"{name} = {known.default!r}  # {known.help}")
    return "\n".join(lines)


def run_cell(stage: Stage) -> str:
    """Return the source of the cell that submits the Spec and shows the run."""
    spec = stage.spec.__name__
    return textwrap.dedent(f"""\
        from workbench import {spec}, Workspace

        spec = {spec}.from_parameters(globals())
        run = Workspace(workspace).submit(spec, priority=priority, workers=workers)
        run.watch()""")


RESULT_CELL = "results = run.wait().outputs()\nresults"


def new_notebook(stage: Stage) -> dict[str, Any]:
    """Return a whole notebook for a stage; its prose may be edited by hand afterwards."""
    return {
        "cells": [
            _cell("markdown", "title", f"# {stage.title}\n\n{stage.help}"),
            _cell("code", "parameters", parameter_cell(stage), ["parameters", "generated"]),
            _cell("code", "run", run_cell(stage), ["generated"]),
            _cell("code", "results", RESULT_CELL),
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def updated(content: dict[str, Any], stage: Stage) -> dict[str, Any]:
    """Return a notebook with its generated cells made anew and all outputs taken out."""
    sources = {"parameters": parameter_cell(stage), "run": run_cell(stage)}
    cells = []
    for cell in content["cells"]:
        source = "".join(cell["source"])
        tags = cell.get("metadata", {}).get("tags", [])
        if "generated" in tags:
            source = sources[cell["id"]]
        cells.append(_cell(cell["cell_type"], cell["id"], source, tags))
    return {**new_notebook(stage), "cells": cells}


def as_text(content: dict[str, Any]) -> str:
    """Return a notebook as the text that is kept in the repository."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Update or check every stage notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if one is old")
    check = parser.parse_args().check
    stale = [path for path, text in _wanted() if not path.exists() or path.read_text() != text]
    if not check:
        for path, text in _wanted():
            path.write_text(text)
    for path in stale:
        print(f"{'out of date' if check else 'updated'}: {path}")
    return 1 if check and stale else 0


def _wanted() -> list[tuple[Path, str]]:
    texts = []
    for name in stage_names():
        stage = load_stage(name)
        if name in _WITHOUT_NOTEBOOK or not stage.function.__module__.startswith("workbench."):
            continue
        path = notebooks_folder() / f"{name}.ipynb"
        content = json.loads(path.read_text()) if path.exists() else new_notebook(stage)
        texts.append((path, as_text(updated(content, stage))))
    return texts


def _cell(kind: str, cell_id: str, source: str, tags: list[str] | None = None) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": cell_id,
        "metadata": {"tags": tags} if tags else {},
        "source": source.splitlines(keepends=True),
    }
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell


def _comment(text: str) -> list[str]:
    return ["", *(f"# {line}" for line in textwrap.wrap(text, _WIDTH))]


def _unit(field: Any) -> str:
    unit = field_fact(field, "unit")
    return f" [{unit}]" if unit else ""


def _literal(default: Any) -> str:
    """Return a default as Python source; what must be given is an ellipsis."""
    if default is PydanticUndefined:
        return "..."
    if hasattr(default, "model_dump"):
        default = default.model_dump(mode="json")
    return repr(default)


if __name__ == "__main__":
    sys.exit(main())
