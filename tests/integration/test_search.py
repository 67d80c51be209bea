"""Searches whose trials are runs: what they find, what they keep, and that nothing stops them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from gangs import integrate_rows
from killing import kill_daemon
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from tiny_training import write_encoder
from workbench_example_stages import ClimbSpec

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, SpecError
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.models.predictor import load_predictor
from workbench.runs import Run
from workbench.tune.options import TuneSpec

pytestmark = pytest.mark.slow

SPACE = {"height": None, "slope": {"low": 1, "high": 12}}


def spec_of(**changes: Any) -> TuneSpec:
    values = {
        "stage": "climb", "space": SPACE, "objectives": [{"metric": "reached"}], "trials": 8,
        "parameters": {"seconds": 0.0}, "sampler": "random", "at_once": 2, "name": "climbs",
    }  # fmt: skip
    return TuneSpec.parse({**values, **changes})


def rows_of(study: Artifact) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((study.path / "trials.json").read_text())
    return rows


def trials_of(own: LiveWorkspace, run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = own.client.get("/runs", parent=run.run_id, limit=200)
    return found


def test_a_search_finds_the_best_and_keeps_what_it_has_made(workspace: LiveWorkspace) -> None:
    run = workspace.submit(spec_of(seed=1)).wait(120)
    assert run.state == "succeeded"
    made = run.outputs()
    rows = rows_of(made["study"])
    assert [row["state"] for row in rows] == ["complete"] * 8
    best = max(rows, key=lambda row: row["values"][0])
    assert made["study"].summary["best_trial"] == best["trial"]
    assert made["study"].summary["best_parameters"] == best["parameters"]
    told = (made["best_report"].path / "height.txt").read_text().split()
    assert told == [repr(best["parameters"]["height"]), str(best["parameters"]["slope"])]
    assert made["best_report"].name == "climbs-report"
    for row in rows:  # of the others nothing is left
        (reference,) = row["outputs"].values()
        if row is best:
            assert workspace.client.get(f"/artifacts/{reference}")["summary"]["height"]
        else:
            with pytest.raises(SpecError):
                workspace.client.get(f"/artifacts/{reference}")
    curve = [e["payload"] for e in run.events() if e["kind"] == "metric"]
    assert sorted(point["step"] for point in curve) == list(range(8))
    assert "report.html" in {path.name for path in made["study"].path.iterdir()}


def test_what_others_have_made_is_never_deleted(workspace: LiveWorkspace) -> None:
    mine = workspace.do(ClimbSpec(height=0.1, slope=5, steps=2, seconds=0.0))
    parameters = {"seconds": 0.0, "steps": 2, "slope": 5}
    spec = spec_of(space={"height": [0.1, 0.9]}, sampler="grid", parameters=parameters)
    rows = rows_of(workspace.submit(spec).wait(120).outputs()["study"])
    assert [row["outputs"]["report"] == mine.reference for row in rows] == [True, False]
    assert workspace.client.get(f"/artifacts/{mine.reference}")["summary"]["height"] == 0.1


def test_a_search_by_several_objectives_keeps_the_compromises(workspace: LiveWorkspace) -> None:
    objectives = [{"metric": "height"}, {"metric": "cost", "direction": "minimize"}]
    made = workspace.submit(spec_of(objectives=objectives, sampler="nsga2")).wait(120).outputs()
    rows = rows_of(made["study"])

    def is_beaten(row: dict[str, Any]) -> bool:
        height, cost = row["values"]
        return any(
            h >= height and c <= cost and (h, c) != (height, cost)
            for h, c in (other["values"] for other in rows)
        )

    for row in rows:
        (reference,) = row["outputs"].values()
        if is_beaten(row):
            with pytest.raises(SpecError):
                workspace.client.get(f"/artifacts/{reference}")
        else:
            workspace.client.get(f"/artifacts/{reference}")


def test_trials_that_are_not_among_the_best_rest_and_lose_no_step(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    diary = tmp_path / "diary"
    parameters = {"seconds": 0.15, "steps": 9, "diary": str(diary)}
    run = own.submit(spec_of(pruner="asha", trials=9, parameters=parameters)).wait(180)
    assert run.state == "succeeded"
    study = run.outputs()["study"]
    states = Counter(row["state"] for row in rows_of(study))
    assert states["complete"] >= 1
    assert states["complete"] + states["pruned"] == 9
    lines = diary_lines(diary)
    assert len(lines) == len(set(lines)), "a step was done twice"
    assert len(lines) < 9 * 9 * 0.7, "nobody was stopped early"
    assert all(record["state"] in ("succeeded", "cancelled") for record in trials_of(own, run))
    told = [e["payload"]["message"] for e in run.events() if e["kind"] == "log"]
    assert any("it goes on" in message for message in told)


@pytest.mark.parametrize("pruner", ["none", "asha"])
def test_a_search_outlives_the_death_of_everything(
    start_workspace: StartWorkspace, tmp_path: Path, pruner: str
) -> None:
    own = start_workspace(slots=2)
    diary = tmp_path / "diary"
    parameters = {"seconds": 0.1, "steps": 9, "diary": str(diary)}
    run = own.submit(spec_of(trials=8, pruner=pruner, parameters=parameters))

    def num_ended() -> int:
        return sum(record["ended_at"] is not None for record in trials_of(own, run))

    wait_until(lambda: len(diary_lines(diary)) >= 6, "trials work", 60)
    own.coordinators()[0].kill()
    wait_until(lambda: run.record()["term"] == 2, "the search was started again", 60)
    wait_until(lambda: len(diary_lines(diary)) >= 12, "trials go on", 60)
    kill_daemon(own)
    wait_until(lambda: len(diary_lines(diary)) >= 18, "trials go on", 60)
    own.workers()[0].kill()
    assert run.wait(180).state == "succeeded"
    rows = rows_of(run.outputs()["study"])
    assert [row["trial"] for row in rows] == list(range(8))
    assert all(row["state"] in ("complete", "pruned") for row in rows)
    assert len(trials_of(own, run)) == 8, "a trial was asked for twice"
    assert num_ended() == 8


def test_a_search_that_is_paused_goes_on(start_workspace: StartWorkspace, tmp_path: Path) -> None:
    own = start_workspace(slots=2)
    diary = tmp_path / "diary"
    parameters = {"seconds": 0.1, "diary": str(diary)}
    run = own.submit(spec_of(trials=6, pruner="asha", parameters=parameters))
    wait_until(lambda: len(diary_lines(diary)) >= 6, "trials work", 60)
    run.pause()
    wait_until(lambda: run.record()["state"] == "paused", "it is paused", 30)
    wait_until(lambda: not own.workers(), "no slot is held", 30)
    run.resume()
    assert run.wait(120).state == "succeeded"
    lines = diary_lines(diary)
    assert len(lines) == len(set(lines)), "a step was done twice"


def test_trials_that_fail_are_told_and_the_others_count(workspace: LiveWorkspace) -> None:
    space = {"slope": [13, 5, 6]}
    run = workspace.submit(spec_of(space=space, sampler="grid", trials=10)).wait(120)
    rows = rows_of(run.outputs()["study"])
    assert [row["state"] for row in rows] == ["fail", "complete", "complete"]
    only = workspace.submit(spec_of(space={"slope": [13], "height": [0.1, 0.2, 0.3]},
                                    sampler="grid"))  # fmt: skip
    with pytest.raises(DataError, match="Thirteen is bad luck"):
        only.wait(120).outputs()


def test_a_figure_that_the_runs_do_not_have_is_named(workspace: LiveWorkspace) -> None:
    run = workspace.submit(spec_of(objectives=[{"metric": "macro_recal"}], seed=9))
    with pytest.raises(SpecError, match="no figure 'macro_recal'") as caught:
        run.wait(120).outputs()
    assert "reached" in caught.value.next_step


def test_the_training_of_a_classifier_is_tuned(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    integrate_rows(own, tmp_path)
    spec = TuneSpec.parse({
        "parameters": {"dataset": "rows", "validation": "rows", "batch_size": 16,
                       "model": str(write_encoder(tmp_path / "encoder")), "max_tokens": 24,
                       "precision": "float32", "epochs": 3},
        "space": {"learning_rate": {"low": 1e-6, "high": 5e-3, "log": True}},
        "trials": 4, "pruner": "asha", "at_once": 2, "name": "tuned",
    })  # fmt: skip
    made = own.submit(spec).wait(180).outputs()
    assert made["study"].summary["macro_recall"] > 0.8
    assert made["study"].summary["best_parameters"]["learning_rate"] > 1e-4
    assert load_predictor(made["best_model"].path).labels == ["negative", "positive"]


def test_a_search_may_be_killed_as_often_as_it_makes_progress(
    fresh_workspace: LiveWorkspace,
) -> None:
    own = fresh_workspace
    run = own.submit(spec_of(trials=8, parameters={"seconds": 0.3}, at_once=1, seed=4))

    def num_over() -> int:
        return sum(e["kind"] == "metric" for e in run.journal())

    for number in range(6):
        wait_until(lambda number=number: num_over() > number, "another trial has ended", 60)
        for process in own.coordinators():
            process.kill()
    assert run.wait(120).state == "succeeded"
    assert run.record()["term"] > 5
    assert [row["state"] for row in rows_of(run.outputs()["study"])] == ["complete"] * 8


@pytest.mark.parametrize("pruner", ["none", "asha"])
def test_equal_trials_share_a_run_and_its_result(workspace: LiveWorkspace, pruner: str) -> None:
    space = {"height": [0.25, 0.25, 0.75, 0.75, 0.25, 0.5]}
    parameters = {"seconds": 0.02, "slope": 4, "steps": 9 if pruner == "asha" else 8}
    run = workspace.submit(
        spec_of(space=space, parameters=parameters, sampler="grid", at_once=6, pruner=pruner)
    ).wait(120)
    assert run.state == "succeeded", run.record()
    rows = rows_of(run.outputs()["study"])
    assert len({row["run_id"] for row in rows}) == 6
    assert len(trials_of(workspace, run)) <= 4, "one run for equal values, or one answered for it"
    states = {(row["parameters"]["height"], row["state"]) for row in rows}
    assert (0.75, "complete") in states
    assert len(states) == 3, "equal ones ended alike"


def test_a_trial_whose_figure_is_no_number_fails_alone(workspace: LiveWorkspace) -> None:
    run = workspace.submit(spec_of(space={"slope": [5, 14, 6]}, sampler="grid", at_once=1)).wait(60)
    rows = rows_of(run.outputs()["study"])
    assert [row["state"] for row in rows] == ["complete", "fail", "complete"]
    told = [e["payload"].get("message", "") for e in run.events() if e["kind"] == "log"]
    assert any("Trial 1 failed: Its reached is no number" in message for message in told)


@pytest.mark.parametrize("pruner", ["hyperband", "median", "wilcoxon"])
def test_each_way_to_stop_early_stops_the_bad_and_not_the_best(
    workspace: LiveWorkspace, pruner: str
) -> None:
    heights = [0.9, 0.5, 0.8, 0.3, 0.05, 0.04, 0.03, 0.02, 0.01, 0.015]
    run = workspace.submit(
        spec_of(
            space={"height": heights}, sampler="grid", at_once=2, pruner=pruner, trials=10,
            parameters={"seconds": 0.12, "slope": 6, "steps": 9, "diary": pruner},
        )
    ).wait(180)  # fmt: skip
    assert run.state == "succeeded", run.record()
    by_height = {
        row["parameters"]["height"]: row["state"] for row in rows_of(run.outputs()["study"])
    }
    assert by_height[0.9] == "complete"
    assert "pruned" in by_height.values()
    assert by_height[0.01] == "pruned" or pruner == "hyperband"


@pytest.mark.parametrize("limit", ["hours", "cpu_hours"])
def test_no_trial_begins_once_the_budget_is_used_up(workspace: LiveWorkspace, limit: str) -> None:
    run = workspace.submit(
        spec_of(trials=50, at_once=1, parameters={"seconds": 0.05}, seed=21, **{limit: 2 / 3600})
    ).wait(120)
    rows = rows_of(run.outputs()["study"])
    assert 1 <= len(rows) < 25
    assert all(row["state"] == "complete" for row in rows)


def test_as_many_of_the_best_are_kept_as_are_asked_for(workspace: LiveWorkspace) -> None:
    run = workspace.submit(spec_of(keep=3, seed=31)).wait(120)
    rows = sorted(rows_of(run.outputs()["study"]), key=lambda row: -row["values"][0])
    for place, row in enumerate(rows):
        (reference,) = row["outputs"].values()
        if place < 3:
            workspace.client.get(f"/artifacts/{reference}")
        else:
            with pytest.raises(SpecError):
                workspace.client.get(f"/artifacts/{reference}")


def test_what_each_source_gives_is_a_search_over_what_is_left_out(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    integrate_rows(own, tmp_path)
    for name, share in (("good", "0.5"), ("harm", "0.5")):
        rows = read_records(own.artifact("rows@latest")).to_pylist()
        swapped = {"positive": "negative", "negative": "positive"}
        lines = [
            json.dumps({"text": row["text"],
                        "label": swapped[row["label"]] if name == "harm" else row["label"]})
            for row in rows[: int(float(share) * len(rows))]
        ]  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        source = {"kind": "jsonl", "name": name, "path": str(tmp_path / f"{name}.jsonl"),
                  "label_column": "label"}  # fmt: skip
        own.do(IntegrateSpec.parse({"name": name, "sources": [source]}))
    plain = {"positive": "positive", "negative": "negative"}
    sources = [
        {"dataset": "good@latest", "labels": plain},
        {"dataset": "harm@latest", "labels": plain, "weight": 3.0},
    ]
    spec = TuneSpec.parse({
        "parameters": {"dataset": "rows@latest", "validation": "rows@latest", "sources": sources,
                       "model": str(write_encoder(tmp_path / "encoder")), "max_tokens": 24,
                       "precision": "float32", "epochs": 3, "learning_rate": 3e-3},
        "space": {"leave_out": ["", "good", "harm"]}, "sampler": "grid", "name": "sources",
    })  # fmt: skip
    rows = rows_of(own.submit(spec).wait(180).outputs()["study"])
    reached = {row["parameters"]["leave_out"]: row["values"][0] for row in rows}
    assert set(reached) == {"", "good", "harm"}
    assert reached["harm"] > max(reached[""], reached["good"]) + 0.1, "its labels are wrong"
