"""What is asked for is what is used, and environment.yml asks for what pyproject.toml asks for."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
(REQUIREMENTS,) = (entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))


def test_pip_requirements_are_those_of_the_project_and_of_its_demo() -> None:
    demo = PROJECT["optional-dependencies"]["minilm"]
    assert [*PROJECT["dependencies"], *demo, "-e ."] == REQUIREMENTS


def test_conda_gives_pip_and_a_python_that_the_project_takes() -> None:
    packages = dict(entry.partition("=")[::2] for entry in CONDA)
    assert packages.keys() == {"python", "pip"}
    assert Version(packages["python"]) in SpecifierSet(PROJECT["requires-python"])


def test_conda_asks_no_channel_but_conda_forge() -> None:
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]


def test_the_environment_is_called_as_the_distribution() -> None:
    assert ENVIRONMENT["name"] == PROJECT["name"]


# Imported, and part of what another dependency stands for.
COMES_WITH = {
    "distributed": "dask", "pydantic-core": "pydantic", "llvmlite": "numba",
    "ipython": "jupyterlab", "ipykernel": "jupyterlab", "jupyter-client": "nbclient",
}  # fmt: skip
# Not imported by name; docs/decisions/0011-dependencies.md says why each is there.
NOT_IMPORTED = {
    "cmaes", "ipywidgets", "nbformat", "onnxscript",
}  # fmt: skip


def test_what_is_imported_is_asked_for_and_nothing_else_is() -> None:
    extras = PROJECT["optional-dependencies"]
    asked = names(PROJECT["dependencies"])
    offered = asked.union(*(names(extras[name]) for name in ("minilm", "postgresql", "s3")))
    offered |= {"pytest"}  # of the laws, which only tests load
    used = {COMES_WITH.get(name, name) for name in imported_distributions()}
    assert used - offered == set()
    assert asked - used == NOT_IMPORTED


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements}


def imported_distributions() -> set[str]:
    """Return what the modules of the product import, by the names that pip knows."""
    modules = {
        name
        for folder in ("workbench", "widgets")
        for path in (ROOT / folder).rglob("*.py")
        for name in imported_modules(ast.parse(path.read_text()))
    }
    known = packages_distributions()
    foreign = modules - sys.stdlib_module_names - {"workbench", "widgets"}
    return {known[name][0].lower().replace("_", "-") for name in foreign if name in known}


def imported_modules(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
