"""The command line does all that the Python face does, and tells what it was wrongly asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, wait_until
from workbench_example_stages import CountSpec, FailSpec, NothingSpec

from workbench import __version__
from workbench.cli import main
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records


@pytest.fixture
def here(workspace: LiveWorkspace, monkeypatch: pytest.MonkeyPatch) -> LiveWorkspace:
    """Make the shared workspace the one that commands without --workspace use."""
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(workspace.root))
    return workspace


def shell(*words: str, root: Path, **kwargs: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a shell would."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("workbench")), *words],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "WORKBENCH_WORKSPACE": str(root), **kwargs},
    )  # fmt: skip


# -- run ------------------------------------------------------------------------------------------


def test_run_follows_the_run_and_prints_what_it_made(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "count", "--parts", "3", "--tag", "from the shell"]) == 0
    printed = capsys.readouterr()
    run_id, made = printed.out.split("\n")[:2]
    record = here.run(run_id).record()
    assert record["spec"] == CountSpec(parts=3, tag="from the shell").model_dump()
    assert made.startswith(f"numbers: {record['outputs']['numbers']}  {here.root}")
    assert f"{run_id}  running" in printed.err
    assert f"{run_id}  succeeded" in printed.err


def test_run_as_a_process_keeps_results_on_stdout_and_the_rest_on_stderr(
    here: LiveWorkspace,
) -> None:
    done = shell("run", "count", "--parts=2", root=here.root)
    assert done.returncode == 0, done.stderr
    run_id, made, *rest = done.stdout.splitlines()
    assert rest == []
    assert made.startswith("numbers: numbers@")
    assert f"{run_id}  succeeded" in done.stderr
    assert "\x1b" not in done.stderr


def test_run_detached_returns_at_once_and_the_run_goes_on(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "count", "--detach", "--priority", "3", "--tag", "detached"]) == 0
    run = here.run(capsys.readouterr().out.strip())
    assert run.record()["priority"] == 3
    assert run.wait(60).state == "succeeded"


def test_run_of_a_failing_stage_ends_with_1_and_says_why(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "fail", "--how", "data"]) == 1
    printed = capsys.readouterr().err
    assert "data error: The table is not there" in printed
    assert "where: sqlite:///x.db" in printed
    assert "next:  Name one." in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    "words",
    [["--workspace", "ROOT", "run", "nothing"], ["--workspace=ROOT", "run", "nothing"],
     ["run", "nothing", "--workspace", "ROOT"]],
)  # fmt: skip
def test_the_workspace_may_be_given_before_or_after_the_command(
    workspace: LiveWorkspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    monkeypatch.setenv("WORKBENCH_WORKSPACE", "/nowhere/at/all")
    assert main([word.replace("ROOT", str(workspace.root)) for word in words]) == 0
    run_id = capsys.readouterr().out.split()[0]
    assert workspace.run(run_id).state == "succeeded"


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["run", "nothin"], ["There is no stage 'nothin'", "Did you mean 'nothing'?"]),
        (["run", "count", "--part", "3"], ["count has no flag '--part'", "'parts'"]),
        (["run", "count", "--parts", "0"], ["CountSpec.parts", "greater than or equal to 1"]),
        (["run", "count", "--parts", "few"], ["CountSpec.parts", "Parts: Durable parts."]),
        (["runs", "show", "r-none"], ["There is no run 'r-none'"]),
        (["runs", "pause", "r-none"], ["There is no run 'r-none'"]),
        (["runs", "priority", "r-none", "7"], ["There is no run 'r-none'"]),
        (["deployments", "--stop", "none"], ["There is no deployment 'none'"]),
    ],
)
def test_what_is_wrongly_asked_ends_with_2_and_is_told(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str], words: list[str], printed: list[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert all(text in told.err for text in printed), told.err


@pytest.mark.parametrize(
    "words",
    [["rnus"], ["runs", "stop", "r1"], [], ["run", "count", "--priority", "high"],
     ["artifacts", "--kind", "picture"]],
)  # fmt: skip
def test_what_is_no_command_ends_with_2(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: workbench" in capsys.readouterr().err


def test_run_without_a_stage_lists_them(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run"]) == 0
    listed = capsys.readouterr().out
    assert "count" in listed
    assert "Write one number a part, each part durable." in listed


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"workbench {__version__}\n"


# -- runs -----------------------------------------------------------------------------------------


def test_a_run_is_paused_resumed_and_cancelled_from_the_shell(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = here.submit(CountSpec(tag="by hand", parts=200, seconds=0.1))
    wait_until(lambda: run.state == "running", "it runs", 60)
    assert main(["runs", "pause", run.run_id]) == 0
    assert capsys.readouterr().out.startswith(f"{run.run_id} is paus")
    wait_until(lambda: run.state == "paused", "it is paused", 60)
    assert main(["runs", "resume", run.run_id]) == 0
    wait_until(lambda: run.state == "running", "it runs again", 60)
    assert main(["runs", "priority", run.run_id, "7"]) == 0
    assert run.record()["priority"] == 7
    assert main(["runs", "cancel", run.run_id]) == 0
    assert run.wait(60).state == "cancelled"
    assert main(["runs", "pause", run.run_id]) == 2
    assert "Cannot pause a run that is cancelled" in capsys.readouterr().err


def test_logs_tell_the_story_of_a_run(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = here.submit(FailSpec(how="python", tag="logs")).wait(60)
    assert main(["runs", "logs", run.run_id]) == 0
    printed = capsys.readouterr().out
    story = ["waiting", "running", "about to fail how=python", "stage error: ZeroDivisionError"]
    positions = [printed.index(text) for text in story]
    assert positions == sorted(positions)


def test_logs_followed_end_with_the_run(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = here.submit(CountSpec(tag="followed", parts=10, seconds=0.1))
    assert main(["runs", "logs", run.run_id, "--follow"]) == 0
    assert run.state == "succeeded"
    assert "succeeded" in "".join(capsys.readouterr())


def test_show_prints_everything_known_as_json(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = here.submit(NothingSpec(tag="shown")).wait(60)
    assert main(["runs", "show", run.run_id]) == 0
    assert json.loads(capsys.readouterr().out) == run.record()


def test_runs_are_listed_newest_first(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [here.submit(NothingSpec(tag=f"listed {n}")).wait(60) for n in range(2)]
    assert main(["runs", "--limit", "2"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:3] == ["run", "stage", "state"]
    assert [line.split()[0] for line in table[2:]] == [run.run_id for run in reversed(runs)]
    assert main(["runs", "--limit", "2", "--json"]) == 0
    assert [r["run_id"] for r in json.loads(capsys.readouterr().out)] == [
        run.run_id for run in reversed(runs)
    ]


def test_artifacts_are_listed(here: LiveWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    made = here.do(NothingSpec(tag="artifact of the list"))
    assert main(["artifacts", "--kind", "report"]) == 0
    assert made.reference in capsys.readouterr().out


def test_a_reader_that_leaves_early_is_no_error(here: LiveWorkspace) -> None:
    workbench = Path(sys.executable).with_name("workbench")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{workbench}' runs --limit 1000 | true"],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "WORKBENCH_WORKSPACE": str(here.root)},
    )  # fmt: skip
    assert done.stderr == ""


# -- the daemon -----------------------------------------------------------------------------------


def test_status_and_down_start_no_daemon(tmp_path: Path) -> None:
    for command, told in (("status", "no daemon is running (workbench up"), ("down", "no daemon")):
        done = shell(command, root=tmp_path / "new")
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
    assert not (tmp_path / "new").exists()


def test_up_status_down_and_down_again(start_workspace: StartWorkspace) -> None:
    own = start_workspace(slots=1)
    own.down()
    up = shell("up", root=own.root)
    assert up.returncode == 0, up.stderr
    assert up.stdout.startswith(f"{own.root}: 1 slots, daemon process {own.daemon().pid}")
    status = shell("status", root=own.root).stdout
    assert {"pool", "running"} <= set(status.split())
    down = shell("down", root=own.root)
    assert (down.returncode, down.stdout) == (0, "stopped\n")
    assert own.processes() == []
    assert shell("down", root=own.root).stdout == "no daemon is running\n"


def test_a_daemon_that_cannot_start_is_told_in_words(tmp_path: Path) -> None:
    done = shell("up", root=tmp_path, WORKBENCH_SLOTS="none")
    assert done.returncode == 1
    assert "resource error: WORKBENCH_SLOTS='none' is no number of slots" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_pool_is_chosen_from_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(tmp_path / "workspace"))
    assert main(["pool", "use"]) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "in use" in line]
    assert told.startswith("local")
    assert main(["pool", "use", "ssh", "--machines", "[gpu1, gpu2]", "--slots", "2"]) == 0
    kept = (tmp_path / "workspace" / "pool.yaml").read_text()
    assert kept == "provider: ssh\nmachines:\n- gpu1\n- gpu2\nslots: 2\n"
    assert main(["pool", "use", "ssh", "--machine", "[gpu1]"]) == 2
    assert "Did you mean" in capsys.readouterr().err
    assert main(["pool", "use", "shh"]) == 2
    assert main(["pool", "use", "local"]) == 0
    assert (tmp_path / "workspace" / "pool.yaml").read_text() == "provider: local\n"


# -- records --------------------------------------------------------------------------------------


def test_a_record_is_shown_with_its_origin_and_fetched_again(
    here: LiveWorkspace, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    lines = ['{"text": "one",  "stars": 5}', '{"text": "zw\u00f6lf"}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = {"kind": "jsonl", "name": "mine", "path": str(tmp_path / "rows.jsonl")}
    made = here.do(IntegrateSpec.parse({"name": "of-a-file", "sources": [source]}))["dataset"]
    ids = read_records(here.artifact(made.reference))["id"].to_pylist()
    capfdbinary.readouterr()
    assert main(["artifacts", "record", "of-a-file@latest", ids[0]]) == 0
    told = json.loads(capfdbinary.readouterr().out)
    assert (told["text"], told["extra"]) == ("one", {"stars": 5})
    assert told["provenance"]["uri"].endswith("rows.jsonl")
    assert main(["artifacts", "record", "of-a-file@latest", ids[1], "--original"]) == 0
    assert capfdbinary.readouterr().out == lines[1].encode()
    assert main(["artifacts", "record", "of-a-file@latest", "nobody"]) == 1
    assert b"has no record 'nobody'" in capfdbinary.readouterr().err
