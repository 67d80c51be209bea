"""Commands for prompts: what there is, what differs, in from other tools and out to them."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.core.errors import SpecError
from workbench.terminal.table import print_table
from workbench.workspace import Workspace

Command = Callable[[argparse.Namespace], int]
_FORMATS = ("promptsource", "openprompt", "langfuse", "mlflow", "workbench")


def add_verbs(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of ``workbench prompts``."""
    verbs = parser.add_subparsers(metavar="VERB")

    def add(name: str, command: Command, help: str) -> argparse.ArgumentParser:
        leaf = verbs.add_parser(name, help=help, description=help)
        leaf.set_defaults(command=command)
        return leaf

    add("show", show_prompt, "what a version asks").add_argument("reference", metavar="REF")
    leaf = add("diff", diff_prompts, "what differs between two versions")
    leaf.add_argument("before", metavar="REF")
    leaf.add_argument("after", metavar="REF")
    leaf = add("import", import_prompts, "read prompts of another tool into versions")
    leaf.add_argument("file", metavar="FILE")
    leaf.add_argument("--format", choices=_FORMATS, help="whose it is (default: as it looks)")
    leaf.add_argument("--name", help="instead of the name in the file; with a number if several")
    leaf.add_argument("--answer", metavar="JSON",
                      help="which answers there are, where the file does not say, as in "
                      '{"kind": "yes_no"} (default: free text)')  # fmt: skip
    leaf = add("export", export_prompt, "write a version as a file of another tool")
    leaf.add_argument("reference", metavar="REF")
    leaf.add_argument("--format", choices=_FORMATS, default="workbench")
    leaf.add_argument("--output", metavar="FILE", help="(default: print it)")

    leaf = add("check", check_prompt, "is a version worse than the one before? 1 if it is")
    leaf.add_argument("reference", metavar="REF")
    leaf.add_argument("--against", metavar="REF", required=True, help="the version that counts now")
    leaf.add_argument("--dataset", metavar="REF", required=True, help="labelled rows")
    leaf.add_argument("--scorer", metavar="JSON", default='{"kind": "embedding"}',
                      help="what answers both (default: %(default)s)")  # fmt: skip
    leaf.add_argument("--metric", default="macro_recall",
                      choices=("macro_recall", "accuracy", "macro_f1"))  # fmt: skip
    leaf.add_argument("--alpha", type=float, default=0.05,
                      help="how often versions that are alike may be told apart")  # fmt: skip
    leaf.add_argument("--margin", type=float, default=0.0,
                      help="a drop up to this does not matter")  # fmt: skip


def list_prompts(_options: argparse.Namespace) -> int:
    """Print the newest prompt versions."""
    lines = [
        [a.reference, str(a.summary.get("answers", "")), ", ".join(a.summary.get("labels", [])),
         str(a.summary.get("content_hash", "")), str(a.summary.get("origin", ""))]
        for a in Workspace().artifacts("prompt")
    ]  # fmt: skip
    print_table(["prompt", "answer", "of", "asks", "comes from"], lines)
    return 0


def show_prompt(options: argparse.Namespace) -> int:
    """Print what a version asks."""
    print("\n".join(_lines(options.reference)))
    return 0


def diff_prompts(options: argparse.Namespace) -> int:
    """Print what differs between two versions, as a patch does; 1 if something does."""
    before, after = _lines(options.before), _lines(options.after)
    changed = list(difflib.unified_diff(before, after, options.before, options.after, lineterm=""))
    print("\n".join(changed) or "They ask the same.")
    return 1 if changed else 0


def _lines(reference: str) -> list[str]:
    from workbench.prompts.version import load_prompt

    version = load_prompt(Workspace().artifact(reference, "prompt"))
    lines = []
    for message in version.messages:
        lines += [f"{message.role}:", *(f"  {line}" for line in message.content.splitlines())]
    for title, part in (
        ("answer", version.verbaliser), ("examples", version.examples),
        ("decoding", version.decoding),
    ):  # fmt: skip
        if part is not None:
            told = json.dumps(part.model_dump(mode="json"), indent=2, ensure_ascii=False)
            lines += [f"{title}:", *(f"  {line}" for line in told.splitlines())]
    return lines


def import_prompts(options: argparse.Namespace) -> int:
    """Make a version of each prompt in a file; 1 if one could not become one."""
    from workbench.prompts.exchange import read_prompts
    from workbench.prompts.version import PromptVersion
    from workbench.prompts.write import PromptSpec

    answer = None
    if options.answer:
        given = _json(options.answer, "--answer")
        answer = PromptVersion.parse({"verbaliser": given}).verbaliser
    found = read_prompts(Path(options.file), options.format, answer)
    workspace = Workspace()
    for number, (name, version, problem) in enumerate(found, 1):
        if version is None:
            print(f"{name}: {problem}", file=sys.stderr)
            continue
        own = options.name or name
        if options.name and len(found) > 1:
            own = f"{options.name}-{number}"
        made = workspace.do(PromptSpec.parse({**version.model_dump(mode="json"), "name": own}))
        print(f"{made.reference}  {name}")
    num_failed = sum(version is None for _, version, _ in found)
    if num_failed:
        print(f"{num_failed} of {len(found)} prompts were not read", file=sys.stderr)
    return 1 if num_failed else 0


def export_prompt(options: argparse.Namespace) -> int:
    """Write a version as a file of another tool."""
    from workbench.prompts.exchange import write_prompt
    from workbench.prompts.version import load_prompt

    artifact = Workspace().artifact(options.reference, "prompt")
    text = write_prompt(artifact.name, load_prompt(artifact), options.format)
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def check_prompt(options: argparse.Namespace) -> int:
    """Judge a version against the one before it; 1 if it is worse."""
    from workbench.prompts import gate
    from workbench.prompts.label import LabelSpec

    scorer = _json(options.scorer, "--scorer")
    spec = LabelSpec.parse({"dataset": options.dataset, "scorer": scorer})
    verdict = gate.check_prompt(
        Workspace(), options.reference, options.against, spec.dataset, spec.scorer,
        metric=options.metric, alpha=options.alpha, margin=options.margin,
    )  # fmt: skip
    print(verdict.told())
    return 0 if verdict.passes else 1


def _json(text: str, flag: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SpecError(f"{flag} is no JSON: {error}", where=flag) from error
