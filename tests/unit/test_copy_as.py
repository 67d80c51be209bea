"""Copied texts read back as the Spec they came from."""

from __future__ import annotations

import ast
import shlex
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from workbench.cli.flags import parse_flags
from workbench.core.context import Outputs, RunContext
from workbench.core.copy_as import (
    as_command,
    as_papermill,
    as_python,
    given_values,
    python_expression,
    stage_name,
)
from workbench.core.registry import stage
from workbench.core.spec import DatasetRef, Spec, option


class CsvSource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["csv"] = "csv"
    path: str
    delimiter: str = ","


class TableSource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["table"] = "table"
    url: str
    rate: float = 1.0


Source = Annotated[CsvSource | TableSource, Field(discriminator="kind")]


class MixedCaseSpec(Spec):
    """Every sort of field a form and a flag must carry."""

    dataset: DatasetRef = option(title="Data", help="What it reads.")
    epochs: int = option(3, title="Epochs", help="Passes.", ge=1, le=100)
    learning_rate: float = option(5e-5, title="Learning rate", help="Peak.", gt=0)
    balanced: bool = option(False, title="Balanced", help="Weight classes.")
    note: str = option("", title="Note", help="Free text.")
    limit: int | None = option(10, title="Limit", help="Most rows.")
    precision: Literal["float32", "bf16"] = option("float32", title="Precision", help="Numbers.")
    words: list[str] = option([], title="Words", help="Words to drop.")
    sources: list[Source] = option([], title="Sources", help="Where rows come from.")
    weights: dict[str, float] = option({}, title="Weights", help="Weight of a label.")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["2", "True", "None", "null", "1e-5", "-x", "--flag", "a b", "it's", '"q"', "$HOME", "`id`",
     "排队", "a\\b", "inf", "", "#x", "y: z", "<img src=x onerror=alert(1)>"]
)  # fmt: skip
NUMBER = st.floats(min_value=1e-300, max_value=1e300, allow_nan=False)
SOURCE = st.builds(CsvSource, path=TEXT, delimiter=st.sampled_from([",", ";"])) | st.builds(
    TableSource, url=TEXT, rate=NUMBER
)
SPECS = st.builds(
    MixedCaseSpec,
    dataset=st.sampled_from(["comments@latest", "weibo@9f3c1a2b44d0"]),
    epochs=st.integers(1, 100),
    learning_rate=NUMBER,
    balanced=st.booleans(),
    note=TEXT,
    limit=st.none() | st.integers(-5, 5),
    precision=st.sampled_from(["float32", "bf16"]),
    words=st.lists(TEXT, max_size=3),
    sources=st.lists(SOURCE, max_size=2),
    weights=st.dictionaries(TEXT, NUMBER, max_size=2),
)
RUNNING = {
    "workers": st.integers(1, 8) | st.sampled_from(["2..8", "1..3", "2.."]),
    "priority": st.integers(-100, 100),
}


@given(spec=SPECS, **RUNNING)
def test_the_python_text_evaluates_to_an_equal_spec(
    spec: MixedCaseSpec, workers: int | str, priority: int
) -> None:
    tree = ast.parse(as_python(spec, workers=workers, priority=priority))
    call = tree.body[-1].value  # type: ignore[attr-defined]
    names = {"MixedCaseSpec": MixedCaseSpec, "float": float}
    assert eval(compile(ast.Expression(call.args[0]), "copied", "eval"), names) == spec
    options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert {"workers": 1, "priority": 0, **options} == {"workers": workers, "priority": priority}


class NoOutputs(Outputs):
    """What the stage below would make."""


@stage(title="Mixed case")
def mixed_case(spec: MixedCaseSpec, run: RunContext) -> NoOutputs:
    """Take every sort of field."""
    return NoOutputs()


@given(spec=SPECS, **RUNNING)
def test_the_command_line_reads_the_copied_command_as_the_same_spec(
    spec: MixedCaseSpec, workers: int | str, priority: int
) -> None:
    words = shlex.split(as_command(spec, workers=workers, priority=priority))
    assert words[:3] == ["workbench", "run", "mixed_case"]
    read, how = parse_flags(mixed_case.stage, words[3:])  # type: ignore[attr-defined]
    assert read == spec
    assert (how["workers"], how["priority"]) == (workers, priority)


def read_papermill(text: str) -> dict[str, Any]:
    from papermill.cli import _resolve_type

    words = shlex.split(text)[3:]
    values: dict[str, Any] = {}
    while words:
        flag = words.pop(0)
        if flag == "-y":
            values.update(yaml.safe_load(words.pop(0)))
            continue
        name, value = words.pop(0), words.pop(0)
        values[name] = _resolve_type(value) if flag == "-p" else value
    return values


@given(spec=SPECS, **RUNNING)
def test_papermill_reads_the_same_parameters(
    spec: MixedCaseSpec, workers: int | str, priority: int
) -> None:
    values = read_papermill(as_papermill(spec, workers=workers, priority=priority))
    assert values.pop("workers", 1) == workers
    assert values.pop("priority", 0) == priority
    assert MixedCaseSpec.parse(values) == spec


def test_only_decisions_are_told() -> None:
    spec = MixedCaseSpec(
        dataset="comments", epochs=2, sources=[CsvSource(path="a.csv")], note="it's fine"
    )
    assert given_values(spec) == {
        "dataset": "comments@latest",
        "epochs": 2,
        "note": "it's fine",
        "sources": [{"kind": "csv", "path": "a.csv"}],
    }
    assert as_command(MixedCaseSpec(dataset="comments", epochs=2), priority=10) == (
        "workbench run mixed_case --dataset comments@latest --epochs 2 --priority 10"
    )
    assert as_papermill(MixedCaseSpec(dataset="comments", epochs=2)) == (
        "papermill notebooks/mixed_case.ipynb out.ipynb -p dataset comments@latest -p epochs 2"
    )


@pytest.mark.parametrize(
    ("module", "first"),
    [
        ("workbench.train.train", "from workbench import MixedCaseSpec, Workspace"),
        ("__main__", "from workbench import Workspace"),
        ("team.rules", "from workbench import Workspace\nfrom team.rules import MixedCaseSpec"),
    ],
)
def test_the_python_text_imports_what_it_names(
    monkeypatch: pytest.MonkeyPatch, module: str, first: str
) -> None:
    monkeypatch.setattr(MixedCaseSpec, "__module__", module)
    text = as_python(MixedCaseSpec(dataset="comments"), workers=2)
    assert text == (
        f'{first}\n\nrun = Workspace().submit(MixedCaseSpec(dataset="comments@latest"), workers=2)'
    )


def test_a_long_spec_takes_a_line_a_field() -> None:
    spec = MixedCaseSpec(dataset="comments", note="x" * 60, words=["a", "b"])
    assert python_expression(MixedCaseSpec, given_values(spec)).splitlines() == [
        "MixedCaseSpec(",
        '    dataset="comments@latest",',
        f'    note="{"x" * 60}",',
        '    words=["a", "b"],',
        ")",
    ]


def test_a_stage_is_named_by_its_spec() -> None:
    assert stage_name(MixedCaseSpec) == "mixed_case"
