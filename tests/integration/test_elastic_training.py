"""A training that grows and shrinks while it works, and does not know afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from gangs import integrate_rows
from live_workspace import LiveWorkspace, StartWorkspace, wait_until
from tiny_training import write_encoder
from workbench_example_stages import CountSpec

from workbench.cli.main import main
from workbench.core.errors import SpecError
from workbench.runs import Run
from workbench.train.train import TrainSpec

pytestmark = pytest.mark.slow


def spec_of(encoder: Path, **changes: object) -> TrainSpec:
    values = {
        "dataset": "rows", "model": str(encoder), "epochs": 70, "batch_size": 18,
        "learning_rate": 1e-3, "max_tokens": 24, "precision": "float32", "virtual_ranks": 3,
        "checkpoint_seconds": 3600,
    }  # fmt: skip
    return TrainSpec.parse({**values, **changes})


def worlds(run: Run) -> list[int]:
    """Return the number of workers in each attempt that has begun to train."""
    return [e["payload"]["world"] for e in run.events() if "world" in e["payload"]]


def losses(run: Run) -> dict[int, float]:
    points = (e["payload"] for e in run.events() if e["payload"].get("name") == "loss")
    return {point["step"]: point["value"] for point in points}


def hold_a_slot(own: LiveWorkspace, tag: str) -> Run:
    return own.submit(CountSpec(tag=tag, parts=100_000))


def test_a_training_that_is_resized_again_and_again_ends_with_the_same_bits(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=3)
    integrate_rows(own, tmp_path)
    encoder = write_encoder(tmp_path / "encoder")
    first = hold_a_slot(own, "first")
    wait_until(lambda: first.record()["state"] == "running", "a slot is held")
    run = own.submit(spec_of(encoder, exact=True), workers="1..8")
    wait_until(lambda: len(losses(run)) > 5, "it trains on two", 60)
    second = hold_a_slot(own, "second")
    wait_until(lambda: second.record()["state"] == "running", "a slot was given up", 20)
    wait_until(lambda: len(worlds(run)) == 2, "it trains on one", 20)
    for other in (first, second):
        other.cancel()
    wait_until(lambda: len(worlds(run)) == 3, "it has grown to three", 60)
    third = hold_a_slot(own, "third")
    wait_until(lambda: third.record()["state"] == "running", "a slot was given up", 20)
    assert run.wait(180).state == "succeeded"
    third.cancel()
    assert worlds(run) == [2, 1, 3, 2]
    told = [e["payload"]["message"] for e in run.events() if e["kind"] == "log"]
    assert told[0] == "There is work for 3 workers at most: 1..8 became 1..3"
    assert f"The run gives workers to run {second.run_id}" in told
    assert "The run grows to 3 workers" in told
    calm = own.submit(spec_of(encoder, exact=True, checkpoint_seconds=3000), workers=1).wait(180)
    assert worlds(calm) == [1]
    assert losses(calm) == losses(run)
    assert calm.outputs().model.version == run.outputs().model.version


def test_a_training_tells_where_its_time_went_in_the_terminal_and_as_a_page(
    workspace: LiveWorkspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(workspace.root))
    integrate_rows(workspace, tmp_path)
    encoder = write_encoder(tmp_path / "encoder")
    run = workspace.submit(spec_of(encoder, epochs=2)).wait(120)
    page = tmp_path / "profile.html"
    assert main(["runs", "profile", run.run_id, "--page", str(page)]) == 0
    told = capsys.readouterr().out
    assert "forward" in told
    assert "Tokens a second".lower() in told
    assert "Profile" in page.read_text()
    with pytest.raises(SpecError, match="has told no profile"):
        workspace.submit(CountSpec(tag="no training", parts=1)).wait(60).profile()
