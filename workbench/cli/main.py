"""The command tree. Flags of a stage are derived from its Spec, never written here."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from workbench.cli import commands, keeping, prompts
from workbench.core.errors import RunCancelled, WorkbenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (1 failed, 2 wrongly asked)."""
    words = _take_settings(list(sys.argv[1:] if arguments is None else arguments))
    try:
        if words[:1] == ["run"] and len(words) > 1 and not words[1].startswith("-"):
            return commands.run_stage(words[1], words[2:])
        if words[:2] == ["pool", "use"] and len(words) > 2 and not words[2].startswith("-"):
            return commands.use_pool(words[2], words[3:])
        options = _parser().parse_args(words)
        code: int = options.command(options)
    except WorkbenchError as error:
        print(f"{error.family} error: {error}", file=sys.stderr)
        return 2 if error.family == "spec" else 1
    except RunCancelled as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong, and Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


_SETTINGS = {"--workspace": "WORKBENCH_WORKSPACE", "--project": "WORKBENCH_PROJECT"}


def _take_settings(words: list[str]) -> list[str]:
    """Heed settings before the command, also before those that read their own flags."""
    while words:
        setting, equals, value = words[0].partition("=")
        if setting not in _SETTINGS or not (equals or words[1:]):
            break
        os.environ[_SETTINGS[setting]] = value if equals else words[1]
        words = words[1:] if equals else words[2:]
    return words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workbench", description="From raw text to a small, fast, monitored model."
    )
    parser.add_argument("--version", action="version", version=commands.version())
    parser.add_argument("--workspace", help="folder of the workspace (default: "
                        "$WORKBENCH_WORKSPACE, else ~/.workbench)")  # fmt: skip
    parser.add_argument("--project", help="whose quota it counts against (default: "
                        "$WORKBENCH_PROJECT, else default)")  # fmt: skip
    tree = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: commands.Command, help: str) -> argparse.ArgumentParser:
        leaf = tree.add_parser(name, help=help, description=help)
        leaf.set_defaults(command=command)
        return leaf

    run = add("run", commands.list_stages, "run one stage: workbench run STAGE --help")
    run.add_argument("stage", nargs="?", help="name of the stage; without one they are listed")
    _add_runs(add("runs", commands.list_runs, "list runs, or act on one"))
    artifacts = add("artifacts", commands.list_artifacts, "list what was made, or act on one")
    artifacts.add_argument("--kind", choices=("dataset", "prompt", "model", "report", "study"))
    keeping.add_artifact_verbs(artifacts)
    prompts.add_verbs(add("prompts", prompts.list_prompts, "list prompts, or act on one"))
    add("deployments", commands.list_deployments, "list what is served").add_argument(
        "--stop", metavar="NAME", help="take this one down"
    )
    add("up", commands.start_daemon, "start the workspace's daemon")
    add("down", commands.stop_daemon, "stop the daemon; unfinished runs go on after the next up")
    add("status", commands.show_status, "say what the daemon is doing")
    _add_pool(add("pool", commands.show_pool, "say who holds the slots, and who waits and why"))
    _add_pipeline(add("pipeline", commands.list_pipelines, "run a pipeline of notebooks"))
    rescore = add("rescore", commands.rescore, "recompute a report's figures from its predictions")
    rescore.add_argument("reference", help="an evaluation report, such as evaluation@latest")
    keeping.add_commands(add)
    demo = add("demo", commands.demo, "run the main job on the shipped sample")
    demo.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    demo.add_argument("--parameters", metavar="FILE", help="YAML of parameters for the pipeline")
    return parser


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    verbs = parser.add_subparsers(metavar="VERB")
    for verb, help in (
        ("show", "everything known of a run"),
        ("logs", "the run's journal"),
        ("pause", "stop at the next safe point"),
        ("resume", "go on (also after a failure)"),
        ("cancel", "stop for good"),
    ):
        leaf = verbs.add_parser(verb, help=help, description=help)
        leaf.add_argument("run_id", metavar="ID")
        leaf.set_defaults(command=commands.act_on_run, verb=verb)
        if verb == "logs":
            leaf.add_argument("--follow", action="store_true", help="stay until the run is over")
    help = "where a training's time and memory went"
    leaf = verbs.add_parser("profile", help=help, description=help)
    leaf.add_argument("run_id", metavar="ID")
    leaf.add_argument("--page", metavar="FILE", help="write it as HTML, with advice")
    leaf.set_defaults(command=commands.show_profile)
    help = "a search's study in optuna-dashboard, live, until interrupted"
    leaf = verbs.add_parser("dashboard", help=help, description=help)
    leaf.add_argument("run_id", metavar="ID")
    leaf.add_argument("--port", type=int, default=0, help="any free one when 0")
    leaf.set_defaults(command=commands.show_dashboard)
    leaf = verbs.add_parser("priority", help="make a run more or less urgent")
    leaf.add_argument("run_id", metavar="ID")
    leaf.add_argument("priority", type=int, help="-100 to 100")
    leaf.set_defaults(command=commands.act_on_run, verb="priority")


def _add_pool(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB")
    help = "say when each run would start and end"
    leaf = verbs.add_parser("forecast", help=help, description=help)
    leaf.add_argument("--slots", type=int, metavar="NUMBER",
                      help="with so many slots (default: those of the pool)")  # fmt: skip
    leaf.set_defaults(command=commands.show_forecast)
    help = "show how projects and users share the pool, or set it for one"
    leaf = verbs.add_parser("share", help=help, description=help)
    leaf.add_argument("name", nargs="?", metavar="NAME", help="a project, or PROJECT/USER")
    leaf.add_argument("--weight", type=float, default=1.0, metavar="NUMBER",
                      help="twice as much is twice the slots, while others wait")  # fmt: skip
    leaf.add_argument("--most", type=int, metavar="SLOTS",
                      help="that it may hold at once (default: any number)")  # fmt: skip
    leaf.add_argument("--drop", action="store_true", help="as everybody again")
    leaf.set_defaults(command=commands.share_pool)
    help = "choose where the pool's hosts come from: workbench pool use PROVIDER --help"
    leaf = verbs.add_parser("use", help=help, description=help)
    leaf.add_argument("provider", nargs="?", help="without one they are listed")
    leaf.set_defaults(command=commands.list_providers)


def _add_pipeline(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB")
    leaf = verbs.add_parser("run", help="run a pipeline file")
    leaf.add_argument("file", help="a YAML file, or the name of a shipped pipeline")
    leaf.add_argument("-p", dest="parameter", nargs=2, action="append", default=[],
                      metavar=("NAME", "VALUE"), help="set a parameter (YAML value)")  # fmt: skip
    leaf.add_argument("--parameters", metavar="FILE", help="YAML file of parameters")
    leaf.set_defaults(command=commands.run_pipeline)


if __name__ == "__main__":
    sys.exit(main())
