"""What each command does: ask the workspace, print for people."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.core.daemon_process import running_daemon
from workbench.core.errors import SpecError, StageError, error_from_json
from workbench.core.registry import load_stage, stage_names
from workbench.core.sizes import format_bytes
from workbench.core.spec import Spec
from workbench.core.workers import recorded_workers
from workbench.pipeline.user_stage import shown_stage
from workbench.runs import Run
from workbench.terminal.follow import describe, follow, progress_text
from workbench.terminal.table import print_table
from workbench.workspace import Workspace, default_root

Command = Callable[[argparse.Namespace], int]


def version() -> str:
    """Return what ``--version`` prints."""
    return f"workbench {__version__}"


def list_stages(options: argparse.Namespace) -> int:
    """Print the installed stages; complain about one that is not."""
    if options.stage:
        load_stage(options.stage)
    print_table(["stage", "what it does"], [[name, _stage_help(name)] for name in stage_names()])
    return 0


def _stage_help(name: str) -> str:
    """Return what a stage does; one broken package must not hide the other stages."""
    try:
        return load_stage(name).help
    except StageError as error:
        return error.what


def run_stage(name: str, flags: list[str]) -> int:
    """Run one stage from flags derived from its Spec, and follow it."""
    from workbench.cli.flags import parse_flags

    spec, how = parse_flags(load_stage(name), flags)
    if how["workspace"]:
        os.environ["WORKBENCH_WORKSPACE"] = how["workspace"]
    run = Workspace().submit(spec, priority=how["priority"], workers=how["workers"])
    print(run.run_id, flush=True)
    if how["detach"]:
        return 0
    return _finish(follow(run))


def _finish(run: Run) -> int:
    record = run.record()
    if record["error"] is not None:
        raise error_from_json(record["error"])
    for output, artifact in (run.outputs() if record["state"] == "succeeded" else {}).items():
        print(f"{output}: {artifact.reference}  {artifact.path}")
    return 0 if record["state"] == "succeeded" else 1


def list_runs(options: argparse.Namespace) -> int:
    """Print the newest runs."""
    records = Workspace().run_records(options.limit)
    if options.json:
        print(json.dumps(records))
        return 0
    print_table(
        ["run", "stage", "state", "began", "took", "rows", "made"],
        [_run_line(record) for record in records],
    )
    return 0


def _run_line(record: dict[str, Any]) -> list[str]:
    rows = record["rows"]
    began = record["started_at"]
    ended = record["ended_at"] or time.time()
    state = "cached" if record["cached"] else record["state"]
    if record["state"] == "running" and record["progress"]:
        state = progress_text(record["progress"])
    return [
        record["run_id"],
        ("  " if record["parent_run_id"] else "") + shown_stage(record),
        state,
        datetime.fromtimestamp(began).strftime("%m-%d %H:%M:%S") if began else "",
        f"{ended - began:.1f} s" if began else "",
        f"{rows['read']:,} → {rows['written']:,}" if rows else "",
        ", ".join(record["outputs"].values()) or (record["error"] or {}).get("what", ""),
    ]


def act_on_run(options: argparse.Namespace) -> int:
    """Show a run, or pause, resume, cancel or re-prioritise it."""
    run = Workspace().run(options.run_id)
    if options.verb == "show":
        print(json.dumps(run.record(), indent=1, ensure_ascii=False))
    elif options.verb == "logs":
        _print_logs(run, options.follow)
    elif options.verb == "priority":
        run.prioritise(options.priority)
    else:
        {"pause": run.pause, "resume": run.resume, "cancel": run.cancel}[options.verb]()
        print(f"{run.run_id} is {run.state}")
    return 0


def show_profile(options: argparse.Namespace) -> int:
    """Print where a training's time and memory went."""
    from workbench.train.profile import rows_of

    profile = Workspace().run(options.run_id).profile(options.page)
    print_table(["where", "how much"], rows_of(profile))
    if options.page:
        print(f"with advice: {options.page}")
    return 0


def show_dashboard(options: argparse.Namespace) -> int:
    """Serve a search's study in optuna-dashboard until interrupted."""
    with Workspace().run(options.run_id).dashboard(options.port) as dashboard:
        print(f"{dashboard.url}\nopen it in a browser of this machine; interrupt (Ctrl+C) to end",
              flush=True)  # fmt: skip
        with suppress(KeyboardInterrupt):
            dashboard.wait()
    return 0


def _print_logs(run: Run, stay: bool) -> None:
    seen = 0
    while events := run.events(after=seen):
        for event in events:
            seen = event["seq"]
            if text := describe(event):
                print(f"{datetime.fromtimestamp(event['time']):%H:%M:%S}  {text}")
    if stay:
        follow(run)


def list_artifacts(options: argparse.Namespace) -> int:
    """Print the newest artifacts."""
    artifacts = Workspace().artifacts(options.kind)
    lines = [
        [a.kind, a.reference, format_bytes(a.num_bytes), _facts(a.summary), a.project, a.made_by]
        for a in artifacts
    ]
    print_table(["kind", "artifact", "size", "", "project", "made by"], lines)
    return 0


def _facts(summary: dict[str, Any]) -> str:
    plain = {k: v for k, v in summary.items() if isinstance(v, int | float | str)}
    return ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in plain.items())[
        :60
    ]


def list_deployments(options: argparse.Namespace) -> int:
    """Print what is served, or take one down."""
    workspace = Workspace()
    if options.stop:
        workspace.client.delete(f"/deployments/{options.stop}")
    lines = [[d["name"], d["state"], d["model"], d["url"]] for d in workspace.deployments()]
    print_table(["deployment", "state", "model", "where"], lines)
    return 0


def start_daemon(_options: argparse.Namespace) -> int:
    """Start the daemon and wait until its pool can work."""
    workspace = Workspace()
    while (status := workspace.status())["pool"] == "starting":
        time.sleep(0.1)
    print(f"{workspace.root}: {status['slots_alive']} slots, daemon process {status['pid']}")
    return 0 if status["pool"] == "running" else 1


def stop_daemon(_options: argparse.Namespace) -> int:
    """Stop the daemon in an orderly way, if there is one."""
    print("stopped" if Workspace().stop() else "no daemon is running")
    return 0


def show_status(_options: argparse.Namespace) -> int:
    """Print what the daemon is doing, without starting one."""
    if running_daemon(default_root()) is None:
        print(f"{default_root()}: no daemon is running (workbench up starts one)")
        return 0
    for key, value in Workspace().status().items():
        print(f"{key.replace('_', ' '):16} {value}")
    return 0


def share_pool(options: argparse.Namespace) -> int:
    """Print how the pool is shared, after setting it for one project or user."""
    workspace = Workspace()
    if options.name and options.drop:
        workspace.drop_share(options.name)
    elif options.name:
        workspace.set_share(options.name, weight=options.weight, most_slots=options.most)
    lines = [
        [one["name"], f"{one['weight']:g}",
         "any number" if one["most_slots"] is None else str(one["most_slots"])]
        for one in workspace.shares()
    ]  # fmt: skip
    print_table(["project or user", "weight", "slots at most"], lines)
    return 0


def list_providers(_options: argparse.Namespace) -> int:
    """Print where a pool's hosts may come from, and where those of this one do."""
    from workbench.pool.providers.registry import load_provider, provider_names, read_pool

    spec = read_pool(default_root())
    lines = [
        [name, "in use" if load_provider(name) is type(spec) else "", _help_of(load_provider(name))]
        for name in provider_names()
    ]
    print_table(["provider", "", "what the hosts are"], lines)
    return 0


def use_pool(name: str, flags: list[str]) -> int:
    """Choose where the pool's hosts come from."""
    from workbench.cli.flags import parse_spec_flags
    from workbench.pool.providers.registry import load_provider

    provider = load_provider(name)
    spec = parse_spec_flags(f"workbench pool use {name}", _help_of(provider), provider, flags)
    was_running = Workspace().use_pool(spec)
    print(f"{default_root()}: the pool's hosts come from {name} from now on")
    if was_running:
        print("the daemon was stopped; unfinished runs go on with the next: workbench up")
    return 0


def _help_of(provider: type[Spec]) -> str:
    return " ".join((provider.__doc__ or "").split("\n\n")[0].split())


def show_pool(_options: argparse.Namespace) -> int:
    """Print the slots and who holds them, then who waits and why."""
    found = Workspace().pool()
    slots = [[one["slot"], one["host"], _holder(one)] for one in found["slots"]]
    print_table(["slot", "host", "run"], slots)
    if found["hosts_coming"]:
        print(f"{found['hosts_coming']} more hosts were asked for")
    for trouble in found["troubles"]:
        print(trouble)
    if found["waiting"]:
        print()
        lines = [
            [str(one["place"]), one["run_id"], one["stage"], str(one["priority"]),
             str(recorded_workers(one)), one["submitted_by"], one["reason"]]
            for one in found["waiting"]
        ]  # fmt: skip
        print_table(["#", "run", "stage", "priority", "workers", "by", "why it waits"], lines)
    return 0


def _holder(slot: dict[str, Any]) -> str:
    """Say what a slot is doing."""
    if not slot["alive"]:
        return "starting"
    note = " (is drained: what it has moves)" if slot["draining"] else ""
    return f"{slot['run_id'] or 'free'}{note}"


def show_forecast(options: argparse.Namespace) -> int:
    """Print when each run would start and end, now or with another number of slots."""
    found = Workspace().forecast(options.slots)
    lines = [
        [one["run_id"], one["stage"], f"{one['starts_in']:.0f} s", f"{one['ends_in']:.0f} s",
         "no run of this stage has ended yet" if one["is_guess"] else ""]
        for one in found
    ]  # fmt: skip
    print_table(["run", "stage", "starts in", "ends in", ""], lines)
    return 0


def list_pipelines(_options: argparse.Namespace) -> int:
    """Print the shipped pipelines."""
    from workbench.pipeline.files import shipped_pipelines

    for path in shipped_pipelines():
        print(f"{path.stem:12} {path}")
    return 0


def run_pipeline(options: argparse.Namespace) -> int:
    """Run a pipeline file with parameters and follow it."""
    from workbench.pipeline.files import load_pipeline, read_parameters

    given = read_parameters(Path(options.parameters)) if options.parameters else {}
    given |= {name: _yaml_value(name, text) for name, text in options.parameter}
    spec = load_pipeline(options.file, given)
    run = Workspace().submit(spec)
    print(run.run_id, flush=True)
    return _finish(follow(run))


def _yaml_value(name: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"-p {name}: {text!r} is no YAML value", where=name,
                        next_step="Quote text that holds : or #.") from error  # fmt: skip


def rescore(options: argparse.Namespace) -> int:
    """Recompute a report's figures from its predictions and compare."""
    from workbench.tasks.evidence import rescore as recompute

    found = recompute(Workspace().artifact(options.reference, "report"))
    print(json.dumps(found, indent=1))
    return 0 if found["equal"] else 1


def demo(options: argparse.Namespace) -> int:
    """Run the main job on the shipped sample, or on what the parameters name."""
    from workbench.demo.run import run_demo

    code: int = run_demo(options.parameters, as_json=options.json, stream=sys.stdout)
    return code
