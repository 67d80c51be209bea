"""Keeping a live workspace tidy, from Python and from the shell: delete, gc, quota, backup."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace, StartWorkspace, wait_until
from tiny_classifier import build_model
from workbench_example_stages import AdoptSpec, CountSpec, NestSpec, NothingSpec

from workbench.cli import main
from workbench.core.client import Client
from workbench.core.errors import ResourceError, SpecError, WorkbenchError
from workbench.workspace import Workspace


@pytest.fixture
def here(workspace: LiveWorkspace, monkeypatch: pytest.MonkeyPatch) -> LiveWorkspace:
    """Make the shared workspace the one that commands without --workspace use."""
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(workspace.root))
    return workspace


# -- deleting -------------------------------------------------------------------------------------


def test_a_result_is_deleted_and_made_again_by_submitting_its_spec(
    workspace: LiveWorkspace,
) -> None:
    spec = CountSpec(parts=2, tag="deleted and made again")
    made = workspace.do(spec)
    foretold = workspace.delete(made.reference, dry_run=True)
    assert [gone["reference"] for gone in foretold["goes"]] == [made.reference]
    assert made.path.is_dir()
    done = workspace.delete(made.reference, reason="a test")
    assert (done["num_bytes"], made.path.exists()) == (made.num_bytes, False)
    with pytest.raises(SpecError, match="was deleted on"):
        workspace.artifact(made.reference)
    (grave,) = [g for g in workspace.deleted("numbers") if g["version"] == made.version]
    assert (grave["reason"], grave["made_by"]) == ("a test", made.made_by)
    run = workspace.submit(spec).wait(60)
    assert not run.record()["cached"]
    again = run.outputs().numbers
    assert again.reference == made.reference
    again.verify()


def test_what_a_run_reads_cannot_be_deleted_under_it(
    workspace: LiveWorkspace, tmp_path: Path
) -> None:
    model = workspace.do(AdoptSpec(folder=str(build_model(tmp_path / "model").path), name="held"))
    workspace.client.put("/deployments/held", {"model": model.reference})
    with pytest.raises(SpecError, match="1 thing depends on it") as caught:
        workspace.delete(model.reference)
    assert caught.value.where == f"needed: {model.reference} by deployment held"
    assert "workbench deployments --stop held" in caught.value.next_step
    workspace.client.delete("/deployments/held")
    workspace.delete(model.reference)
    assert [a.reference for a in workspace.artifacts("model") if a.name == "held"] == []


def test_artifacts_are_kept_tidy_from_the_shell(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    made = here.do(CountSpec(parts=1, tag="from the shell"))
    assert main(["artifacts", "pin", made.reference]) == 0
    assert capsys.readouterr().out == f"{made.reference} is pinned\n"
    assert main(["artifacts", "alias", made.reference, "gold"]) == 0
    assert capsys.readouterr().out == f"numbers@gold is {made.reference}\n"
    assert main(["artifacts", "delete", "numbers@gold", "--dry-run"]) == 1
    told = capsys.readouterr().out
    assert "would go" in told
    assert f"needed: {made.reference} by a pin" in told
    assert main(["artifacts", "delete", made.reference]) == 2
    refused = capsys.readouterr().err
    assert "2 things depend on it" in refused
    assert f"{made.reference} by alias numbers@gold" in refused
    assert main(["artifacts", "unalias", "numbers@gold"]) == 0
    assert main(["artifacts", "unpin", made.reference]) == 0
    capsys.readouterr()
    assert main(["artifacts", "delete", made.reference, "--reason", "tidy up"]) == 0
    assert "1 in all, " in capsys.readouterr().out
    assert main(["artifacts", "deleted", "numbers"]) == 0
    assert f"{made.version}" in (told := capsys.readouterr().out)
    assert "tidy up" in told
    assert main(["artifacts", "delete", "numbers@gold"]) == 2
    assert "There is no" in capsys.readouterr().err
    assert main(["artifacts", "--kind", "dataset"]) == 0
    assert made.version not in capsys.readouterr().out


def test_gc_prints_what_would_go_and_what_went(
    fresh_workspace: LiveWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    here = fresh_workspace
    old, new = (here.do(NothingSpec(tag=f"superseded {n}")) for n in range(2))
    orphan = here.root / "artifacts" / "report" / "nothing" / ("0" * 12)
    orphan.mkdir()
    (orphan / "file").write_bytes(bytes(5_000))
    assert main(["gc", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"report/nothing/{'0' * 12}" in told
    assert "5 kB" in told
    assert old.reference not in told, "it is young"
    assert orphan.is_dir()
    assert main(["gc", "--keep-days", "0"]) == 0
    told = capsys.readouterr().out
    assert old.reference in told
    assert not orphan.exists()
    assert here.artifact("nothing@latest") == new
    assert main(["gc", "--keep-days", "-1"]) == 2
    assert "keep_days=-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("route", "body"),
    [("/gc", {"dry_run": True}), ("/gc", {"keep_days": "x", "dry_run": True}),
     ("/gc", {"keep_days": 1}), ("/snapshot", {}), ("/snapshot", {"name": "../../x"})],
)  # fmt: skip
def test_requests_that_make_no_sense_are_refused(
    workspace: LiveWorkspace, route: str, body: dict[str, object]
) -> None:
    with pytest.raises(SpecError):
        workspace.client.post(route, body)


# -- quotas ---------------------------------------------------------------------------------------


def test_a_run_over_its_quota_fails_keeps_its_parts_and_is_resumed_when_there_is_room(
    workspace: LiveWorkspace,
) -> None:
    small = Workspace(workspace.root, project="small")
    workspace.set_quota("small", "3kB")
    first = small.do(CountSpec(parts=1, tag="x" * 2_000))
    assert first.project == "small"
    run = small.submit(CountSpec(parts=4, tag="y" * 2_000)).wait(60)
    assert run.state == "failed"
    with pytest.raises(
        ResourceError, match=r"'small' has no room for .* more: 2 kB of 3 kB"
    ) as caught:
        run.outputs()
    assert f"{first.reference} (2 kB)" in caught.value.where
    assert "workbench quota set small SIZE" in caught.value.next_step
    refused = workspace.root / "artifacts" / "dataset" / "numbers"
    known = {artifact.version for artifact in workspace.artifacts("dataset")}
    assert {path.name for path in refused.iterdir()} <= known, "what was refused takes no room"
    workspace.delete(first.reference)
    assert run.resume().wait(60).state == "succeeded"
    done = [e["payload"]["key"] for e in run.events() if e["kind"] == "checkpoint"]
    assert done == [f"part-{n:03d}" for n in range(4)], "no part was made twice"
    (use,) = [q for q in workspace.quotas() if q["project"] == "small"]
    assert (use["num_artifacts"], use["limit"]) == (1, 3_000)


def test_a_project_that_is_full_is_told_so_before_its_run_begins(
    workspace: LiveWorkspace, tmp_path: Path
) -> None:
    full = Workspace(workspace.root, project="full")
    workspace.set_quota("full", 0)
    diary = tmp_path / "diary"
    run = full.submit(CountSpec(parts=1, tag="never", diary=str(diary))).wait(60)
    with pytest.raises(ResourceError, match="'full' is used up"):
        run.outputs()
    assert not diary.exists(), "nothing was begun"
    workspace.set_quota("full", None)
    assert run.resume().wait(60).state == "succeeded"


def test_the_children_of_a_run_belong_to_its_project(workspace: LiveWorkspace) -> None:
    team = Workspace(workspace.root, project="team")
    run = team.submit(NestSpec(depth=1, parts=1, seconds=0)).wait(60)
    (child,) = team.run_records(parent=run.run_id)
    (grandchild,) = team.run_records(parent=child["run_id"])
    assert {run.record()["project"], child["project"], grandchild["project"]} == {"team"}


def test_quotas_are_set_and_shown_from_the_shell(
    here: LiveWorkspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_PROJECT", "default")  # what --project sets ends with the test
    assert main(["quota", "set", "shell", "20GB"]) == 0
    assert "20 GB" in capsys.readouterr().out
    assert main(["--project", "shell", "run", "fill", "--parts", "1"]) == 0
    capsys.readouterr()
    assert main(["quota"]) == 0
    (line,) = [ln for ln in capsys.readouterr().out.splitlines() if ln.startswith("shell")]
    assert line.split()[1] == "1"
    assert main(["quota", "unset", "shell"]) == 0
    assert "none" in capsys.readouterr().out
    assert main(["quota", "set", "shell", "much"]) == 2
    assert "'much' is no size" in capsys.readouterr().err


# -- backup and restore ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_workspace_is_saved_while_it_works_and_goes_on_where_it_was_elsewhere(
    start_workspace: StartWorkspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = start_workspace(slots=1)
    done = own.do(CountSpec(parts=3, tag="before"))
    run = own.submit(CountSpec(parts=16, seconds=0.1, tag="at work"))
    queued = own.submit(CountSpec(parts=2, tag="behind it"))
    wait_until(lambda: len([e for e in run.events() if e["kind"] == "checkpoint"]) > 3, "it works")
    assert main(["backup", str(tmp_path / "backup")]) == 0
    assert "1 artifact; 1 of them new" in capsys.readouterr().out
    whole = run.wait(60).outputs().numbers.version
    own.down()
    anew = LiveWorkspace(tmp_path / "anew")
    assert main(["restore", str(tmp_path / "backup"), str(anew.root)]) == 0
    assert "2 unfinished runs" in capsys.readouterr().out
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(anew.root))
    try:
        anew.up()
        restored = anew.run(run.run_id).wait(60)
        assert restored.outputs().numbers.version == whole
        keys = [e["payload"]["key"] for e in restored.events() if e["kind"] == "checkpoint"]
        assert keys == [f"part-{n:03d}" for n in range(16)], "saved parts are not made again"
        assert anew.run(queued.run_id).wait(60).state == "succeeded"
        assert anew.submit(CountSpec(parts=3, tag="before")).record()["cached"]
        anew.artifact(done.reference).verify()
        assert main(["restore", str(tmp_path / "backup"), str(anew.root)]) == 2
        assert "not empty" in capsys.readouterr().err
    finally:
        anew.down()


# -- kills ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_daemon_killed_while_it_deletes_leaves_each_artifact_whole_or_gone(
    start_workspace: StartWorkspace,
) -> None:
    own = start_workspace(slots=1)
    num_cut_short = 0
    for number in range(3):
        made = [own.do(CountSpec(parts=1, seconds=0, tag=f"{number}-{n}")) for n in range(5)]
        daemon, client = own.daemon(), own.direct_client()
        routes = [f"/artifacts/{a.reference}?kind=dataset&by=test" for a in made]

        answered = threading.Semaphore(0)

        def delete_all(
            client: Client = client,
            routes: list[str] = routes,
            answered: threading.Semaphore = answered,
        ) -> None:
            with suppress(WorkbenchError):  # the daemon is gone
                for route in routes:
                    client.delete(route)
                    answered.release()

        deleting = threading.Thread(target=delete_all)
        deleting.start()
        for _ in range(number + 1):
            assert answered.acquire(timeout=30)
        time.sleep(0.003 * number)  # somewhere within the deletion after that
        daemon.kill()
        deleting.join()
        own.up()
        known = own.artifacts("dataset")
        for artifact in known:
            artifact.verify()
        left = {artifact.version for artifact in known}
        sealed = {path.name for path in (own.root / "artifacts" / "dataset").glob("*/*")}
        assert sealed == left
        num_cut_short += 0 < len(left.intersection(a.version for a in made)) < len(made)
    print(f"{num_cut_short} of 3 kills were between the first and the last of five deletions")
    assert num_cut_short > 0
