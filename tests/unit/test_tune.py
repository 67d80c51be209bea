"""Searching: the space on a Spec's fields, rungs, and studies that outlive their search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import SpecError
from workbench.train.train import TrainSpec
from workbench.tune.options import TuneSpec
from workbench.tune.rungs import Rungs, bracket_of
from workbench.tune.space import Choice, Range, Space
from workbench.tune.study import JOURNAL, Output, Study, row_of

BASE = {"dataset": "rows@latest"}


def space_of(**asked: Any) -> Space:
    return Space(TrainSpec, BASE, asked)


# --- the space -------------------------------------------------------------------------------


def test_a_field_alone_is_searched_within_its_own_bounds() -> None:
    space = space_of(learning_rate=None, precision=None, exact=None, warmup_share=None)
    assert space.dimensions["learning_rate"] == Range(low=1e-5, high=1e-3, log=True)
    assert space.dimensions["precision"] == Choice(choices=["float32", "bf16", "fp16", "fp8"])
    assert space.dimensions["exact"] == Choice(choices=[False, True])
    assert space.dimensions["warmup_share"] == Range(low=0, high=0.3)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"learning_rat": None}, "no field 'learning_rat'"),
        ({"learning_rate": {"low": 1e-3, "high": 1e-5}}, "holds nothing"),
        ({"learning_rate": {"low": 0, "high": 1e-3, "log": True}}, "begins above 0"),
        ({"learning_rate": {"low": 0.1, "high": 3.0}}, "holds 3.0, which is refused"),
        ({"precision": ["float32", "fp4"]}, "holds 'fp4', which is refused"),
        ({"precision": []}, "choices"),
        ({"epochs": {"low": 1.5, "high": 3}}, "1.5 is none"),
        ({"dataset": None}, "no bounds of its own"),
        ({}, "is empty"),
        ({"epochs": {"low": 1, "high": 3, "when": {"precison": ["bf16"]}}}, "is no field"),
        ({"epochs": {"low": 1, "high": 3, "when": {"batch_size": [8]}},
          "batch_size": {"choices": [8, 16], "when": {"epochs": [1]}}}, "in a circle"),
        ({"ways": {"choices": [2, 4], "when": {"strategy": ["fsdp+tensor"]}},
          "strategy": ["ddp", "tensor"]}, "is never asked"),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_searched_is_named(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        space_of(**asked)
    with pytest.raises(SpecError, match=said):
        TuneSpec.parse({"parameters": BASE, "space": asked})


def test_what_depends_on_another_field_is_asked_only_there() -> None:
    space = space_of(
        ways={"choices": [2, 4], "when": {"strategy": ["tensor"]}}, strategy=["ddp", "tensor"]
    )
    assert list(space.dimensions) == ["strategy", "ways"]
    assert list(space.grid()) == [
        {"strategy": "ddp"}, {"strategy": "tensor", "ways": 2}, {"strategy": "tensor", "ways": 4},
    ]  # fmt: skip
    fixed = space_of(ways={"choices": [2], "when": {"strategy": ["tensor"]}}, epochs=[1])
    assert list(fixed.grid()) == [{"epochs": 1}]  # the strategy is auto, as it is by default


def test_a_grid_has_the_points_that_people_expect() -> None:
    space = space_of(
        learning_rate={"low": 1e-5, "high": 1e-3, "log": True}, epochs={"low": 1, "high": 4},
        warmup_share={"low": 0.0, "high": 0.2, "step": 0.1},
    )  # fmt: skip
    assert space.points("epochs") == [1, 2, 3, 4]
    assert space.points("warmup_share") == pytest.approx([0.0, 0.1, 0.2])
    assert space.points("learning_rate") == pytest.approx([1e-5, 10**-4.5, 1e-4, 10**-3.5, 1e-3])


# --- rungs -----------------------------------------------------------------------------------


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40), st.integers(2, 4))
def test_one_in_so_many_may_pass_a_rung_and_they_are_the_best(
    values: list[float], reduction: int
) -> None:
    rungs = Rungs(1, reduction)
    for trial, value in enumerate(values):
        assert rungs.reach(trial, 1, value) == 1
        assert rungs.reach(trial, 1, value) is None  # once
    passing = [trial for trial in range(len(values)) if rungs.may_pass(trial, 1)]
    assert len(passing) == len(values) // reduction
    worst = min((values[trial] for trial in passing), default=float("inf"))
    assert all(values[t] <= worst for t in range(len(values)) if t not in passing)


def test_rungs_lie_further_and_further_apart() -> None:
    rungs = Rungs(2, 3)
    assert [step for step in range(30) if rungs.reach(0, step, 0.5)] == [2, 6, 18]


def test_a_rung_that_a_curve_steps_over_is_reached_by_its_next_point() -> None:
    rungs = Rungs(1, 3)
    reached = {step: rungs.reach(0, step, step / 10) for step in range(0, 40, 4)}
    assert {step: rung for step, rung in reached.items() if rung} == {4: 3, 12: 9, 28: 27}
    for trial in (1, 2):
        rungs.reach(trial, 1, 0.45)
    assert not rungs.may_pass(0, 1), "at its first point it had 0.4"
    assert rungs.may_pass(1, 1)


@given(st.integers(1, 4), st.integers(2, 4))
def test_each_bracket_has_its_share_of_trials(num_brackets: int, reduction: int) -> None:
    count = sum(reduction**number for number in range(num_brackets))
    brackets = [bracket_of(trial, num_brackets, reduction) for trial in range(count)]
    assert [brackets.count(b) for b in range(num_brackets)] == [
        reduction ** (num_brackets - 1 - b) for b in range(num_brackets)
    ]


# --- studies ---------------------------------------------------------------------------------

SPACE = {"learning_rate": None, "epochs": {"low": 1, "high": 8}, "precision": None,
         "ways": {"choices": [2, 3], "when": {"precision": ["bf16"]}}}  # fmt: skip


def open_study(folder: Path, **changes: Any) -> Study:
    spec = TuneSpec.parse({"parameters": BASE, "space": SPACE, "trials": 30, **changes})
    return Study(folder, spec, spec.open_space(BASE))


def goodness(values: dict[str, Any]) -> float:
    return float(-abs(values["epochs"] - 5) - 1000 * abs(values["learning_rate"] - 1e-4))


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_a_trial_that_was_half_asked_for_when_its_search_was_killed_is_asked_for_again(
    tmp_path: Path, sampler: str
) -> None:
    calm = open_study(tmp_path, sampler=sampler)
    first = calm.values_of(calm.ask("r-search"))
    (tmp_path / "killed").mkdir()
    killed = open_study(tmp_path / "killed", sampler=sampler)
    killed._study.ask()  # and then it was dead
    again = open_study(tmp_path / "killed", sampler=sampler, trials=1)
    assert again.has_more()
    trial = again.ask("r-search")
    assert (trial.number, again.values_of(trial)) == (0, first)
    assert again.run_of(trial) == calm.run_of(calm.trials()[0])
    assert not again.has_more()


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "cmaes", "nsga2", "grid"])
def test_a_sampler_chooses_within_the_space_and_alike_after_a_restart(
    tmp_path: Path, sampler: str
) -> None:
    def tried(folder: Path, restarts: set[int]) -> list[dict[str, Any]]:
        folder.mkdir()
        study = open_study(folder, sampler=sampler)
        found = []
        for number in range(14):
            if number in restarts:
                study = open_study(folder, sampler=sampler)
            trial = study.ask("r-search")
            values = study.values_of(trial)
            assert ("ways" in values) == (values["precision"] == "bf16")
            assert 1 <= values["epochs"] <= 8
            assert 1e-5 <= values["learning_rate"] <= 1e-3 * (1 + 1e-9)
            study.complete(trial.number, [goodness(values)], {})
            found.append(values)
        return found

    once = tried(tmp_path / "once", set())
    assert tried(tmp_path / "again", {3, 7, 8}) == once
    assert len({json.dumps(values) for values in once}) > 5


def test_a_restarted_study_has_its_trials_and_the_ids_of_their_runs(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    first, second = study.ask("r-search"), study.ask("r-search")
    study.report(first.number, {1: 0.5})
    study.rest(second.number, 3)
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code": 4, "worker_')  # the power went
    again = open_study(tmp_path)
    assert [trial.number for trial in again.open_trials()] == [0, 1]
    assert [again.run_of(trial) for trial in again.trials()] == [
        study.run_of(first), study.run_of(second)
    ]  # fmt: skip
    assert again.trials()[0].intermediate_values == {1: 0.5}
    assert again.rests_at(1) == 3
    made = {"model": Output("model", "m@1", True)}
    again.complete(0, [0.75], made)
    assert open_study(tmp_path).outputs_of(again.best()[0]) == made


def test_values_that_do_not_go_together_are_refused_and_others_chosen(tmp_path: Path) -> None:
    spec = TuneSpec.parse({
        "parameters": BASE, "space": {"exact": None, "strategy": ["ddp", "fsdp"]},
        "sampler": "random", "trials": 30,
    })  # fmt: skip
    study = Study(tmp_path, spec, spec.open_space(BASE))
    chosen = [study.values_of(study.ask("r-search")) for _ in range(8)]
    assert {"exact": True, "strategy": "fsdp"} not in chosen
    refused = [trial for trial in study.trials() if trial.state.name == "FAIL"]
    assert refused
    assert "only the strategy ddp" in refused[0].user_attrs["refused"]


def test_the_best_of_several_objectives_are_the_compromises(tmp_path: Path) -> None:
    study = open_study(
        tmp_path,
        objectives=[{"metric": "macro_recall"}, {"metric": "megabytes", "direction": "minimize"}],
    )
    for values in ([0.7, 90.0], [0.6, 20.0], [0.65, 95.0]):
        study.complete(study.ask("r-search").number, values, {})
    assert [trial.number for trial in study.best()] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pruner": "asha", "objectives": [{"metric": "a"}, {"metric": "b"}]}, "midway"),
        ({"sampler": "gp", "objectives": [{"metric": "a"}, {"metric": "b"}]}, "one objective"),
        ({"stage": "trian"}, "no stage 'trian'"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        TuneSpec.parse({"parameters": BASE, "space": {"epochs": None}, **changes})


# --- what trials read, and points that do not go together ----------------------------------------


def test_what_trials_read_is_named_so_that_it_is_pinned_and_kept() -> None:
    spec = TuneSpec.parse({
        "parameters": {**BASE, "validation": "check@latest", "model": "base@latest"},
        "space": {"epochs": [1, 2], "model": {"choices": ["base@latest", "minilm"]}},
    })  # fmt: skip
    assert set(spec.references()) == {
        ("dataset", "rows@latest"), ("dataset", "check@latest"), ("model", "base@latest"),
    }  # fmt: skip
    pinned = spec.map_references(lambda kind, reference: f"{reference.partition('@')[0]}@{kind}")
    assert pinned.parameters == {
        "dataset": "rows@dataset", "validation": "check@dataset", "model": "base@model",
    }  # fmt: skip
    assert pinned.space == {"epochs": [1, 2], "model": {"choices": ["base@model", "minilm"]}}
    assert TuneSpec.parse(pinned.model_dump(mode="json")) == pinned


def test_points_of_a_grid_that_do_not_go_together_are_left_out(tmp_path: Path) -> None:
    space = {"strategy": ["fsdp", "ddp"], "exact": [True, False]}  # the first is refused
    spec = TuneSpec.parse({"parameters": BASE, "space": space, "sampler": "grid"})
    study = Study(tmp_path, spec, spec.open_space(BASE))
    asked = []
    while study.has_more() and (trial := study.ask("r-search")) is not None:
        asked.append(study.values_of(trial))
    assert asked == [
        {"strategy": "fsdp", "exact": False}, {"strategy": "ddp", "exact": True},
        {"strategy": "ddp", "exact": False},
    ]  # fmt: skip
    assert [row_of(trial)["state"] for trial in study.trials()].count("refused") == 1


def test_refused_values_are_no_trials(tmp_path: Path) -> None:
    space = {"strategy": ["fsdp", "ddp"], "exact": [True, False]}
    spec = TuneSpec.parse({
        "parameters": BASE, "space": space, "sampler": "random", "trials": 20, "seed": 3,
    })  # fmt: skip
    study = Study(tmp_path, spec, spec.open_space(BASE))
    num_asked = 0
    while study.has_more():
        trial = study.ask("r-search")
        assert trial is not None
        study.complete(trial.number, [0.5], {})
        num_asked += 1
    assert num_asked == 20 < len(study.trials())


def test_a_grid_without_end_is_refused_before_anything_begins() -> None:
    real = ("learning_rate", "warmup_share", "weight_decay")
    wide = {name: {"low": 0.01, "high": 0.1} for name in real} | {
        name: {"low": 16, "high": 35} for name in ("batch_size", "seed", "max_tokens")
    }  # fmt: skip
    with pytest.raises(SpecError, match="more than 100,000 points"):
        TuneSpec.parse({"parameters": BASE, "space": wide, "sampler": "grid"})
    TuneSpec.parse({"parameters": BASE, "space": wide, "sampler": "random"})


def test_a_space_whose_values_never_go_together_is_named() -> None:
    spec = TuneSpec.parse({
        "parameters": BASE, "space": {"strategy": ["fsdp", "tensor"], "exact": [True]},
    })  # fmt: skip
    with pytest.raises(SpecError, match="exact"):
        spec.open_space(BASE).example()
