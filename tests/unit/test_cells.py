"""Stage notebooks: what is generated from the Spec, and what a person may edit."""

from __future__ import annotations

import ast
import json

import nbformat
import pytest

from workbench.core.registry import load_stage, stage_names
from workbench.core.spec import RUN_OPTIONS
from workbench.pipeline.cells import as_text, new_notebook, parameter_cell, updated
from workbench.pipeline.files import notebooks_folder

SHIPPED = [
    name
    for name in stage_names()
    if load_stage(name).function.__module__.startswith("workbench.")
    and name not in ("notebook", "pipeline", "cell")
]


@pytest.mark.parametrize("name", SHIPPED)
def test_each_stage_has_a_notebook_whose_generated_cells_are_up_to_date(name: str) -> None:
    text = (notebooks_folder() / f"{name}.ipynb").read_text()
    assert as_text(updated(json.loads(text), load_stage(name))) == text


@pytest.mark.parametrize("name", SHIPPED)
def test_each_notebook_is_valid_and_holds_no_outputs(name: str) -> None:
    notebook = nbformat.read(notebooks_folder() / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.get("outputs")] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_the_parameters_cell_assigns_every_field_and_run_option(name: str) -> None:
    tree = ast.parse(parameter_cell(load_stage(name)))
    assigned = [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)]  # type: ignore[attr-defined]
    assert assigned == [*load_stage(name).spec.model_fields, *RUN_OPTIONS]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_notebook_defines_neither_functions_nor_classes(name: str) -> None:
    notebook = json.loads((notebooks_folder() / f"{name}.ipynb").read_text())
    code = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert [node for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)] == []


def test_prose_that_a_person_wrote_is_kept() -> None:
    stage = load_stage("train")
    notebook = new_notebook(stage)
    notebook["cells"][0]["source"] = ["# My own words\n"]
    notebook["cells"][1]["source"] = ["old = 1\n"]
    again = updated(notebook, stage)
    assert again["cells"][0]["source"] == ["# My own words\n"]
    assert "".join(again["cells"][1]["source"]) == parameter_cell(stage)
