"""What the documents say is so: links, files, commands, code, and tables taken from the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from project_documents import (
    DOCUMENTS,
    ROOT,
    Document,
    check_commands,
    check_python,
    install,
    parsed,
)

from workbench.catalog.database import open_database
from workbench.daemon.api import make_app
from workbench.daemon.service import Service
from workbench.daemon.settings import Settings
from workbench.data.integrate import IntegrateSpec
from workbench.pipeline.files import load_pipeline, read_parameters
from workbench.queue.healing import RULES
from workbench.queue.states import RunEvent, RunState, is_possible, next_state

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ARCHITECTURE = Document(ROOT / "docs/architecture.md")
OPERATE = Document(ROOT / "docs/guides/operate-a-workspace.md")
DECISIONS = ROOT / "docs/decisions"
READMES = [Document(ROOT / "README.md"), Document(ROOT / "README.zh.md")]
EVERY = [Document(path) for path in DOCUMENTS]
PACKAGES = [document for document in EVERY if document.is_package()]


def _name(value: object) -> str:
    return str(value.path.relative_to(ROOT)) if isinstance(value, Document) else ""


every_document = pytest.mark.parametrize("document", EVERY, ids=_name)


@every_document
def test_every_link_leads_to_a_file_and_a_heading(document: Document) -> None:
    for link in document.links():
        path, _, anchor = link.partition("#")
        target = (document.path.parent / path) if path else document.path
        assert target.exists(), link
        assert not anchor or anchor in Document(target).anchors(), link


@every_document
def test_every_file_that_is_named_is_there(document: Document) -> None:
    assert [path for path in document.paths() if not any(ROOT.glob(path))] == []


@every_document
def test_every_command_is_understood_by_its_program(document: Document, tmp_path: Path) -> None:
    install(document, tmp_path)
    if document.is_package():  # its commands may name what it installs
        _python(tmp_path, "-c", _CHECK_COMMANDS, str(document.path))
    else:
        check_commands(document, tmp_path)


_CHECK_COMMANDS = (
    "import sys; from pathlib import Path; from project_documents import Document, check_commands; "
    "check_commands(Document(Path(sys.argv[1])), Path.cwd())"
)


@every_document
def test_python_names_only_what_there_is(document: Document) -> None:
    for block in document.blocks("python"):
        check_python(block)


@every_document
def test_sources_and_pipelines_in_documents_are_accepted(
    document: Document, tmp_path: Path
) -> None:
    for number, block in enumerate(document.blocks("json", "yaml")):
        values = parsed(block)
        path = tmp_path / f"{number}.yaml"
        path.write_text(block.text)
        if block.language == "json":
            IntegrateSpec.parse(values)
        elif "steps" in values:
            load_pipeline(path, {})
        else:
            load_pipeline("sentiment", read_parameters(path))


# -- code that others are told to write -----------------------------------------------------------


@pytest.mark.parametrize("document", PACKAGES, ids=_name)
def test_code_to_be_copied_works_once_it_is_installed(document: Document, tmp_path: Path) -> None:
    files = install(document, tmp_path)
    tests = [name for name in files if name.startswith("test_")]
    if tests:
        _python(tmp_path, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *tests)
    for script in (name for name in files if name.startswith("make_")):
        _python(tmp_path, script)


def test_the_shortest_stage_source_and_view_work(tmp_path: Path) -> None:
    install(ARCHITECTURE, tmp_path)
    (tmp_path / "letters").mkdir()
    for number, text in enumerate(["b a b\nc", "b"]):
        (tmp_path / "letters" / f"{number}.txt").write_text(text)
    _python(tmp_path, "-c", _USE_EXTENSIONS)


_USE_EXTENSIONS = """
import json
from pathlib import Path
from workbench.core.laws import FolderRun
from workbench.core.registry import load_stage
from workbench.data.integrate import IntegrateSpec
from workbench.core.views import load_view

letters = {"kind": "documents", "name": "letters", "path": "letters/*.txt"}
dataset = FolderRun(Path("run")).run(IntegrateSpec.parse({"sources": [letters]}))["dataset"]
spec = load_stage("words").spec.parse({"dataset": dataset.reference, "most": 1})
report = FolderRun(Path("words"), {dataset.reference: dataset}).run(spec)["report"]
assert json.loads((report.path / "words.json").read_text()) == [["b", 3]]
assert load_view("lengths")(dataset).record() == "<p>2 texts, middle length 7</p>"
"""


def _python(folder: Path, *arguments: str) -> None:
    """Run Python in a folder whose files are as good as installed."""
    path = os.pathsep.join([str(folder), str(ROOT / "tests"), str(ROOT)])
    variables = {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]


# -- tables that repeat the code ------------------------------------------------------------------


def test_the_layers_are_those_that_imports_are_held_to() -> None:
    (text,) = [b.text for b in ARCHITECTURE.blocks("text") if "\ncli " in b.text]
    told = [line.split()[0] for line in text.splitlines()]
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    assert told == [name for layer in layers for name in layer.split(" : ")]  # on one level


def test_the_table_of_states_is_that_of_the_queue() -> None:
    rows = ARCHITECTURE.table("state", *(event.value for event in RunEvent))
    told = {state: dict(zip(RunEvent, cells, strict=True)) for state, *cells in rows}
    real = {
        state.value: {
            e: next_state(state, e).value if is_possible(state, e) else "" for e in RunEvent
        }
        for state in RunState
    }
    assert told == real


def test_the_table_of_remedies_is_that_of_the_queue() -> None:
    told = {row[0].partition(" (")[0]: row[2] for row in ARCHITECTURE.table("cause", "remedy")}
    real = {cause: "never" if rule.rests else f"{rule.most}th" for cause, rule in RULES.items()}
    assert told == real


def test_the_table_of_routes_is_that_of_the_daemon(tmp_path: Path) -> None:
    told = {row[0].strip("`") for row in ARCHITECTURE.table("route")}
    database = open_database(tmp_path)
    app = make_app(Service(tmp_path, database, Settings()), "token")
    database.close()
    routes: list[Any] = list(app.routes)
    assert told == {
        f"{verb} {re.sub(':[a-z]+', '', route.path)}"
        for route in routes
        for verb in route.methods - {"HEAD"}
    }


def test_every_environment_variable_is_told() -> None:
    sources = [p for folder in ("workbench", "widgets") for p in (ROOT / folder).rglob("*.py")]
    used = {v for p in sources for v in re.findall(r"WORKBENCH_[A-Z_]+", p.read_text())}
    assert {row[0].strip("`") for row in OPERATE.table("variable")} == used


@pytest.mark.parametrize("readme", READMES, ids=_name)
def test_a_readme_tells_every_stage(readme: Document) -> None:
    table = next(t for t in readme.tables() if "`integrate`" in t[1][0])
    told = [name for row in table[1:] for name in re.findall(r"`(\w+)`", row[0])]
    assert told == list(PROJECT["project"]["entry-points"]["workbench.stages"])


def test_both_readmes_have_the_same_sections_commands_and_tables() -> None:
    english, chinese = READMES
    assert chinese.headings() == english.headings()
    assert [len(t) for t in chinese.tables()] == [len(t) for t in english.tables()]
    for language in ("sh", "python"):
        assert [_without_comments(b.text) for b in chinese.blocks(language)] == [
            _without_comments(b.text) for b in english.blocks(language)
        ]


def _without_comments(text: str) -> list[str]:
    return [re.sub(r"\s*# .*", "", line) for line in text.splitlines()]


def test_every_decision_is_in_the_index() -> None:
    records = {path.name for path in DECISIONS.glob("[0-9]*.md")}
    assert set(Document(DECISIONS / "README.md").links()) == records


def test_every_decision_says_context_decision_rejected_and_consequence() -> None:
    for path in DECISIONS.glob("[0-9]*.md"):
        parts = re.findall(r"^\*\*(\w+)\.\*\*", path.read_text(), re.MULTILINE)
        assert parts == ["Context", "Decision", "Rejected", "Consequence"], path.name


def test_every_dependency_has_its_reason() -> None:
    table = Document(DECISIONS / "0011-dependencies.md").table("package")
    requirements = PROJECT["project"]["dependencies"]
    assert [row[0] for row in table] == [re.split(r"[\[<>=]", text)[0] for text in requirements]
