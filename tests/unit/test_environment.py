"""environment.yml asks for what pyproject.toml asks for."""

from __future__ import annotations

import tomllib
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
