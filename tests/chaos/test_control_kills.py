"""Daemon and agent are killed, or stopped, while work is done: it goes on, or is healed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest
from killing import is_gone, kill_agent, kill_daemon
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from tiny_training import sentences, write_encoder
from workbench_example_stages import CountSpec, NestSpec, PatchworkSpec, SpreadSpec

from workbench.data.integrate import IntegrateSpec
from workbench.pipeline.notebook import NotebookSpec
from workbench.runs import Run
from workbench.train.train import TrainSpec

pytestmark = pytest.mark.slow


def submit_count(own: LiveWorkspace, folder: Path, parts: int = 30) -> tuple[Run, Path]:
    """Submit a run that takes its time; return once it is in its middle."""
    diary = folder / "diary"
    run = own.submit(CountSpec(tag="disturbed", parts=parts, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary_lines(diary)) >= 3, "it is in the middle", 60)
    return run, diary


def stop_for_good(process: psutil.Process) -> None:
    """Stop a process; see that somebody replaces it."""
    process.suspend()
    wait_until(lambda: is_gone(process), f"{process} is ended", 30)


@pytest.mark.parametrize("end", [psutil.Process.kill, stop_for_good], ids=["killed", "stopped"])
def test_an_attempt_does_not_notice_the_end_of_its_daemon(
    start_workspace: StartWorkspace, tmp_path: Path, end: Callable[[psutil.Process], None]
) -> None:
    own = start_workspace(slots=2)
    run, diary = submit_count(own, tmp_path, parts=80)
    worker = own.workers()[0]
    end(own.daemon())
    assert run.wait(60).state == "succeeded"
    assert run.record()["term"] == 1
    assert diary_lines(diary) == [str(number) for number in range(80)], "each part once"
    wait_until(lambda: is_gone(worker), "its process has ended")
    assert own.status()["slots_alive"] == 2


def test_training_goes_on_without_a_step_lost_when_its_daemon_is_killed_again_and_again(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    rows = "".join(f"{text},{label}\n" for text, label in sentences(200))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    source = {"kind": "csv", "name": "rows", "path": str(tmp_path / "rows.csv"),
              "text_column": "text", "label_column": "label"}  # fmt: skip
    own.do(IntegrateSpec.parse({"name": "rows", "sources": [source]}))
    run = own.submit(
        TrainSpec(
            dataset="rows", model=str(write_encoder(tmp_path / "encoder")), epochs=40,
            batch_size=16, learning_rate=3e-3, max_tokens=24, precision="float32",
            checkpoint_seconds=3600,
        ),
        workers=2,
    )  # fmt: skip

    def steps() -> list[int]:
        events = [event["payload"] for event in run.events()]
        return [payload["step"] for payload in events if payload.get("name") == "loss"]

    for _ in range(3):
        wait_until(steps, "it trains", 60)
        seen = len(steps())
        kill_daemon(own)
        wait_until(lambda seen=seen: len(steps()) > seen, "control is back", 30)
    assert run.wait(120).state == "succeeded"
    assert run.record()["term"] == 1
    assert steps() == list(range(len(steps()))), "no step is lost, none done twice"


def test_nobody_needs_to_ask_for_a_daemon_that_was_killed(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1)
    run, diary = submit_count(own, tmp_path, parts=40)
    first = own.daemon()
    # Who looks is the file system alone: a client would start a daemon itself.
    first.kill()
    wait_until(lambda: len(diary_lines(diary)) == 40, "the run goes on to its end", 60)
    wait_until(lambda: len(own.processes()) >= 3, "the agent has started the next daemon", 30)
    assert own.daemon().pid != first.pid
    assert run.wait(30).state == "succeeded"


def test_a_run_whose_agent_is_killed_goes_on_from_its_last_part(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    run, diary = submit_count(own, tmp_path)
    kill_agent(own)
    assert run.wait(60).state == "succeeded"
    assert run.record()["term"] == 2
    assert len(diary_lines(diary)) <= 30 + 1
    assert "worker died" in str(run.events())
    wait_until(lambda: own.status()["slots_alive"] == 2, "both slots are back", 30)


def test_an_agent_that_somebody_stops_is_replaced_within_seconds(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    run, _ = submit_count(own, tmp_path, parts=100)
    agent = own.agent()
    begun = time.monotonic()
    agent.suspend()
    wait_until(lambda: is_gone(agent), "it is ended", 15)
    wait_until(lambda: run.record()["term"] == 2, "the run is started again", 15)
    assert time.monotonic() - begun < 15, "a busy machine takes its time; minutes it does not"
    assert run.wait(60).state == "succeeded"


def test_a_killed_zygote_costs_what_it_had_forked_and_no_more(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    run, diary = submit_count(own, tmp_path)
    agent = own.agent()
    own.named("wb-zygote")[0].kill()
    assert run.wait(60).state == "succeeded"
    assert (run.record()["term"], own.agent().pid) == (2, agent.pid)
    assert len(diary_lines(diary)) <= 30 + 1


def test_helpers_go_on_when_the_daemon_is_killed(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2)
    diary = tmp_path / "diary"
    run = own.submit(SpreadSpec(parts=80, seconds=0.1, diary=str(diary)), workers=2)
    wait_until(lambda: own.named("wb-helper"), "a helper works", 60)
    wait_until(lambda: len(diary_lines(diary)) > 10, "parts are made", 60)
    (helper,) = own.named("wb-helper")
    kill_daemon(own)
    before = len(diary_lines(diary))
    wait_until(lambda: own.status()["slots_busy"], "the next daemon has found them")
    wait_until(lambda: len(diary_lines(diary)) > before + 10, "parts are made", 60)
    assert not is_gone(helper), "it was not taken for somebody nobody wants"
    assert run.wait(60).state == "succeeded"
    assert run.record()["term"] == 1
    wait_until(lambda: is_gone(helper), "helpers end with their leader")


def test_coordinators_go_on_when_the_daemon_is_killed(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1)
    diary = tmp_path / "diary"
    run = own.submit(NestSpec(depth=1, parts=30, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary_lines(diary)) >= 3, "the innermost is in the middle", 60)
    kill_daemon(own)
    assert run.wait(60).state == "succeeded"
    assert {record["term"] for record in own.run_records()} == {1}
    assert diary_lines(diary) == [str(number) for number in range(30)]


def test_a_notebooks_kernel_ends_with_its_run_even_one_that_is_stopped(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1)
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import time; time.sleep(600)")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(book, tmp_path / "long.ipynb")
    run = own.submit(NotebookSpec(notebook=str(tmp_path / "long.ipynb")))
    wait_until(lambda: own.named("wb-kernel"), "its kernel is there", 60)
    (kernel,) = own.named("wb-kernel")
    kernel.suspend()
    own.coordinators()[0].kill()
    wait_until(lambda: is_gone(kernel), "the kernel has ended", 10)
    run.cancel()
    run.wait(60)


def test_a_run_that_is_paused_while_the_daemon_is_replaced_pauses(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1)
    run, diary = submit_count(own, tmp_path)
    kill_daemon(own)
    run.pause()
    wait_until(lambda: run.state == "paused", "it is paused", 30)
    wait_until(lambda: own.workers() == [], "its process has ended", 30)
    seen = len(diary_lines(diary))
    run.resume()
    assert run.wait(60).state == "succeeded"
    assert (run.record()["term"], len(diary_lines(diary)), seen < 30) == (2, 30, True)


def test_without_its_workspace_an_agent_ends(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1)
    agent, daemon = own.agent(), own.daemon()
    own.root.rename(tmp_path / "elsewhere")
    daemon.kill()
    wait_until(lambda: is_gone(agent), "it has ended", 30)
    assert not own.root.exists()


def test_a_client_ends_a_daemon_that_stands_still_where_nobody_else_does(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1)
    run, _ = submit_count(own, tmp_path, parts=60)
    daemon, agent = own.daemon(), own.agent()
    daemon.suspend()
    agent.kill()  # who would have seen it
    begun = time.monotonic()
    assert own.status()["pid"] != daemon.pid
    assert time.monotonic() - begun < 60
    assert run.wait(60).state == "succeeded"


def test_a_daemon_does_not_live_where_its_client_did(
    start_workspace: StartWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    own = start_workspace(slots=1)
    monkeypatch.chdir(tmp_path)
    gone.rmdir()
    notebook = NotebookSpec(
        notebook="split", parameters={"dataset": own.do(PatchworkSpec()).reference}
    )
    assert own.submit(notebook).wait(120).state == "succeeded"
