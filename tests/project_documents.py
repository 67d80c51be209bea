"""The project's documents as tests see them: their code blocks, commands, links and tables.

A code block whose first line is a comment with a file name (``# word_counts.py``) is that file; the
entry points of a document's TOML blocks and its Python files together make a package, which
``install`` puts into a folder as if pip had.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench.cli.flags import parse_flags, parse_spec_flags
from workbench.cli.main import _parser
from workbench.core.registry import load_stage, stage_names
from workbench.core.spec import RUN_OPTIONS
from workbench.pipeline.files import load_pipeline, read_parameters
from workbench.pool.providers.registry import load_provider

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROGRAMS = ("workbench", "papermill", "make", "python")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_NAMED = re.compile(r"# ([\w.-]+\.(?:py|yaml))\n")
_PATH = re.compile(r"(?:workbench|widgets|tests|docs|notebooks|tools|benchmarks|\.ci)/[\w./*-]*")
_PLACEHOLDER = re.compile(r"[A-Z]+")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str

    @property
    def file_name(self) -> str:
        """The file that the block is, empty if it is none."""
        named = _NAMED.match(self.text)
        return named[1] if named else ""


@dataclass(frozen=True)
class Document:
    """One Markdown file."""

    path: Path

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    def blocks(self, *languages: str) -> list[Block]:
        """Return the fenced blocks in these languages."""
        found = (Block(language, text) for language, text in _BLOCK.findall(self.text))
        return [block for block in found if block.language in languages]

    def prose(self) -> str:
        """Return the text without fenced blocks."""
        return _BLOCK.sub("", self.text)

    def inline_code(self) -> list[str]:
        """Return every piece of code within the prose."""
        return _CODE.findall(self.prose())

    def links(self) -> list[str]:
        """Return the targets of all links that stay within the project."""
        prose = _CODE.sub("", self.prose())
        return [target for target in _LINK.findall(prose) if "://" not in target]

    def anchors(self) -> set[str]:
        """Return the anchors of the headings, as GitHub forms them."""
        headings = re.findall(r"^#+ (.+)$", self.prose(), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}

    def headings(self) -> list[int]:
        """Return the levels of the headings, in order."""
        return [len(marks) for marks in re.findall(r"^(#+) ", self.prose(), re.MULTILINE)]

    def tables(self) -> list[list[list[str]]]:
        """Return every table as rows of cells; the first row is the header."""
        runs = re.findall(r"(?:^\|.*\|\n)+", self.prose(), re.MULTILINE)
        return [
            [
                [cell.strip() for cell in row.strip("|").split("|")]
                for row in lines
                if "--|" not in row
            ]
            for lines in (table.splitlines() for table in runs)
        ]

    def table(self, *header: str) -> list[list[str]]:
        """Return the rows of the table whose header begins with these cells."""
        (found,) = [t for t in self.tables() if tuple(t[0][: len(header)]) == header]
        return found[1:]

    def commands(self) -> list[list[str]]:
        """Return every command of our programs, in blocks and in the prose, as words."""
        lines = [line for block in self.blocks("sh") for line in block.text.splitlines()]
        split = [shlex.split(line, comments=True) for line in [*lines, *self._inline_commands()]]
        return [words for words in split if words and words[0] in PROGRAMS and len(words) > 1]

    def paths(self) -> list[str]:
        """Return what names a file or folder of the project, in prose and in Python blocks."""
        literals = (
            node.value
            for block in self.blocks("python")
            for node in ast.walk(ast.parse(block.text))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        return [text for text in [*self.inline_code(), *literals] if _PATH.fullmatch(text)]

    def is_package(self) -> bool:
        """Whether the document's blocks make an installable package."""
        return bool(self.blocks("toml"))

    def _inline_commands(self) -> Iterator[str]:
        for code in self.inline_code():
            if code.split(" ")[0] in PROGRAMS and "..." not in code:
                yield code


def install(document: Document, folder: Path) -> list[str]:
    """Write the document's files, and its entry points as an installed package; name the files."""
    named = [block for block in document.blocks("python", "yaml") if block.file_name]
    for block in named:
        (folder / block.file_name).write_text(block.text, encoding="utf-8")
    if document.is_package():
        about = folder / f"{document.path.stem.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {about.stem}\nVersion: 1.0\n"
        )
        (about / "entry_points.txt").write_text("\n".join(_entry_points(document)))
    return [block.file_name for block in named]


def _entry_points(document: Document) -> Iterator[str]:
    for block in document.blocks("toml"):
        for group, entries in tomllib.loads(block.text)["project"]["entry-points"].items():
            yield f"[{group}]"
            yield from (f"{name} = {value}" for name, value in entries.items())


def check_commands(document: Document, files: Path) -> None:
    """Have every command of a document read by the program it is for.

    Raises:
        WorkbenchError, SystemExit, AssertionError: it would be refused; a note names it.
    """
    for words in document.commands():
        try:
            _CHECKS[words[0]](words[1:], files)
        except (Exception, SystemExit) as error:
            error.add_note(f"in {document.path.relative_to(ROOT)}: {shlex.join(words)}")
            raise


def _check_workbench(words: list[str], files: Path) -> None:
    while words[0] in ("--workspace", "--project"):
        words = words[2:]
    if words[0] == "run" and len(words) > 1:
        _check_run(words[1], words[2:])
        return
    if words[:2] == ["pool", "use"] and len(words) > 2:
        _check_provider(words[2], words[3:])
        return
    options = _parser().parse_args(words)
    given = getattr(options, "parameters", None)
    if hasattr(options, "parameter"):
        values = {name: yaml.safe_load(text) for name, text in options.parameter}
        load_pipeline(options.file, (read_parameters(files / given) if given else {}) | values)
    elif given and not _PLACEHOLDER.fullmatch(given):
        load_pipeline("sentiment", read_parameters(files / given))


def _check_run(stage: str, flags: list[str]) -> None:
    if _PLACEHOLDER.fullmatch(stage):
        return
    definition = load_stage(stage)
    if flags and flags != ["--help"]:
        parse_flags(definition, flags)


def _check_provider(name: str, flags: list[str]) -> None:
    if not _PLACEHOLDER.fullmatch(name) and flags != ["--help"]:
        parse_spec_flags(f"workbench pool use {name}", "", load_provider(name), flags)


def _check_papermill(words: list[str], _files: Path) -> None:
    notebook, _out, *parameters = words
    assert not notebook.startswith("notebooks/") or (ROOT / notebook).is_file(), notebook
    spec = load_stage(Path(notebook).stem).spec
    assert parameters[::3] == ["-p"] * (len(parameters) // 3)
    values = zip(parameters[1::3], map(yaml.safe_load, parameters[2::3]), strict=True)
    spec.parse({name: value for name, value in values if name not in RUN_OPTIONS})


def _check_make(words: list[str], _files: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets


def _check_python(words: list[str], _files: Path) -> None:
    if words[0] == "-m" and words[1].startswith("workbench"):
        assert importlib.util.find_spec(words[1]) is not None
    elif words[0] != "-m":
        assert (ROOT / words[0]).is_file()


_CHECKS = {
    "workbench": _check_workbench,
    "papermill": _check_papermill,
    "make": _check_make,
    "python": _check_python,
}


def check_python(block: Block) -> None:
    """Check that what a block imports of ours is there, and that its Specs have these fields.

    Raises:
        AssertionError, ImportError, AttributeError: they do not.
    """
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workbench"):
            module = importlib.import_module(node.module or "")
            assert [a.name for a in node.names if not hasattr(module, a.name)] == []
        if isinstance(node, ast.Call):
            _check_call(node)


def _check_call(call: ast.Call) -> None:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    stage = name.removesuffix("Spec").lower() if name.endswith("Spec") else ""
    if name == "form" and call.args:
        stage = ast.literal_eval(call.args[0])
    if stage in stage_names():
        fields = {*load_stage(stage).spec.model_fields, *RUN_OPTIONS}
        assert {keyword.arg for keyword in call.keywords} <= fields


def parsed(block: Block) -> Any:
    """Return the values of a JSON or YAML block."""
    return json.loads(block.text) if block.language == "json" else yaml.safe_load(block.text)
