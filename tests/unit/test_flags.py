"""Flags are derived from a Spec: each of its shapes can be given, and what is wrong is told."""

from __future__ import annotations

import shlex
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli.flags import parse_flags
from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.copy_as import as_command
from workbench.core.errors import SpecError
from workbench.core.registry import Stage, load_stage, stage, stage_names
from workbench.core.spec import RUN_OPTIONS, DatasetRef, LocalPath, Spec, option


class ShapesSpec(Spec):
    text: str = option("", title="Text", help="Any text.")
    maybe_text: str | None = option(None, title="Maybe", help="Text or nothing.")
    number_or_text: int | str = option(0, title="Either", help="A number or a word.")
    count: int = option(1, title="Count", help="How many.", unit="rows", ge=0)
    learning_rate: float = option(1e-4, title="Rate", help="100 % of it.", ge=0)
    is_strict: bool = option(False, title="Strict", help="Yes or no.")
    switch: Literal["on", "off", "1"] = option("off", title="Switch", help="Words YAML takes.")
    names: list[str] = option([], title="Names", help="Some names.")
    weights: dict[str, float] = option({}, title="Weights", help="By name.")
    dataset: DatasetRef = option("rows@latest", title="Data", help="What is read.")
    path: LocalPath = option("", title="Path", help="A file.")


class ShapesOutputs(Outputs):
    report: Draft


@stage(title="Shapes")
def shapes(spec: ShapesSpec, run: RunContext) -> ShapesOutputs:
    """Take a Spec with a field of each shape."""
    return ShapesOutputs(report=run.save("report", "shapes"))


SHAPES: Stage = shapes.stage  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        ("--text 5", "text", "5"),
        ("--text null", "text", "null"),
        ("--text ''", "text", ""),
        ("--text '\"quoted\"'", "text", '"quoted"'),
        ("--text=--dashes", "text", "--dashes"),
        ("--maybe-text 2024", "maybe_text", "2024"),
        ("--maybe-text 2024-01-01", "maybe_text", "2024-01-01"),
        ("--maybe-text yes", "maybe_text", "yes"),
        ("--maybe-text null", "maybe_text", None),
        ("--maybe-text '\"null\"'", "maybe_text", "null"),
        ("--maybe-text 'a # b'", "maybe_text", "a # b"),
        ("--number-or-text 7", "number_or_text", 7),
        ("--number-or-text seven", "number_or_text", "seven"),
        ("--count 3", "count", 3),
        ("--learning-rate 1e-3", "learning_rate", 0.001),
        ("--learning-rate 1", "learning_rate", 1.0),
        ("--is-strict yes", "is_strict", True),
        ("--is-strict false", "is_strict", False),
        ("--switch on", "switch", "on"),
        ("--switch 1", "switch", "1"),
        ("--names '[a, b]'", "names", ["a", "b"]),
        ("--names '[\"a\"]'", "names", ["a"]),
        ("--weights '{\"a\": 0.5}'", "weights", {"a": 0.5}),
        ("--weights '{a: 1}'", "weights", {"a": 1.0}),
        ("--dataset rows", "dataset", "rows@latest"),
        ("--path /a/b", "path", "/a/b"),
    ],
)
def test_a_flag_gives_the_value_that_is_meant(flags: str, name: str, value: Any) -> None:
    spec, _ = parse_flags(SHAPES, shlex.split(flags))
    assert getattr(spec, name) == value
    assert type(getattr(spec, name)) is type(value)


def test_how_it_runs_is_kept_apart_from_what_it_does() -> None:
    spec, how = parse_flags(
        SHAPES, ["--priority", "5", "--workers", "2", "--workspace", "/w", "--detach"]
    )
    assert spec == ShapesSpec()
    assert how == {"priority": 5, "workers": 2, "workspace": "/w", "detach": True}


@pytest.mark.parametrize(
    ("text", "workers"), [("3", 3), ("2..8", "2..8"), ("..8", "1..8"), ("2..", "2.."), ("3..3", 3)]
)
def test_workers_are_a_number_or_a_range(text: str, workers: int | str) -> None:
    _, how = parse_flags(SHAPES, ["--workers", text])
    assert how["workers"] == workers


def test_without_flags_all_defaults_hold() -> None:
    spec, how = parse_flags(SHAPES, [])
    assert spec == ShapesSpec()
    assert how == {"priority": 0, "workers": 1, "workspace": None, "detach": False}


@pytest.mark.parametrize(
    ("flags", "what", "next_step"),
    [
        (["--learning-rat", "1"], "shapes has no flag '--learning-rat'", "'learning-rate'"),
        (["--learning_rate", "1"], "shapes has no flag '--learning_rate'", "'learning-rate'"),
        (["--prioritty", "1"], "shapes has no flag '--prioritty'", "'priority'"),
        (["--detac"], "shapes has no flag '--detac'", "'detach'"),
        (["--workers", "8..2"], "'8..2' workers end below where they begin", "2..8 is meant"),
        (["--workers", "two"], "'two' is no number of workers", "a range such as 2..8"),
        (["stray"], "shapes has no flag 'stray'", ""),
        (["--count", "-1"], "ShapesSpec.count", "Count: How many."),
        (["--count", "many"], "ShapesSpec.count", "Count: How many."),
        (["--switch", "left"], "ShapesSpec.switch", "Switch"),
        (["--names", "[a"], "--names: cannot read '[a'", "single quotes"),
        (["--weights", "[1]"], "ShapesSpec.weights", "Weights"),
        (["--dataset", "a/b"], "'a/b' is not an artifact reference", "Data"),
    ],
)
def test_what_is_wrong_is_told_with_the_nearest_right_thing(
    flags: list[str], what: str, next_step: str
) -> None:
    with pytest.raises(SpecError) as caught:
        parse_flags(SHAPES, flags)
    assert what in caught.value.what
    assert next_step in caught.value.next_step


def test_help_shows_every_field_with_its_unit_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_flags(SHAPES, ["--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Take a Spec with a field of each shape." in shown
    assert "--count NUMBER How many. [rows, default 1]" in shown
    assert "100 % of it. [default 0.0001]" in shown
    assert "--detach" in shown


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    st.builds(
        ShapesSpec,
        text=TEXTS,
        maybe_text=st.none() | TEXTS,
        number_or_text=st.integers() | TEXTS,
        count=st.integers(0, 10**9),
        learning_rate=st.floats(0, 1e12),
        is_strict=st.booleans(),
        switch=st.sampled_from(["on", "off", "1"]),
        names=st.lists(TEXTS, max_size=3),
        weights=st.dictionaries(TEXTS, st.floats(-1e9, 1e9), max_size=2),
    )
)
def test_a_copied_command_gives_the_same_spec_back(spec: ShapesSpec) -> None:
    words = shlex.split(as_command(spec))
    assert words[:3] == ["workbench", "run", "shapes"]
    assert parse_flags(SHAPES, words[3:])[0] == spec


@pytest.mark.parametrize("name", stage_names())
def test_every_shipped_stage_has_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_flags(load_stage(name), ["--help"])
    assert ended.value.code == 0
    assert "--priority" in capsys.readouterr().out


def test_a_field_of_a_spec_comes_before_a_run_option_of_its_name() -> None:
    spec, how = parse_flags(load_stage("notebook"), ["--notebook", "train", "--workers", "2..4"])
    assert spec.model_dump()["workers"] == "2..4"
    assert how["workers"] == RUN_OPTIONS["workers"].default
