"""Commands that keep a workspace tidy: delete, pin, alias, gc, quota, backup, restore."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from workbench.core.paths import home_expanded
from workbench.core.sizes import format_bytes
from workbench.terminal.table import print_table
from workbench.workspace import Workspace

Add = Callable[..., argparse.ArgumentParser]
_DAYS = 30.0


def add_commands(add: Add) -> None:
    """Add gc, quota, backup and restore to the command tree."""
    gc = add("gc", clear_away, "clear away what nobody needs: old versions, files of dead attempts")
    gc.add_argument("--dry-run", action="store_true", help="only say what would go")
    gc.add_argument("--keep-days", type=float, default=_DAYS, metavar="N",
                    help=f"keep versions and failed runs' parts that are younger ({_DAYS:g})"
                    )  # fmt: skip
    quota = add("quota", list_quotas, "show or set how much room a project's artifacts may take")
    verbs = quota.add_subparsers(metavar="VERB")
    leaf = verbs.add_parser("set", help="limit a project")
    leaf.add_argument("project", metavar="PROJECT")
    leaf.add_argument("size", metavar="SIZE", help="for example 20GB, 500MB")
    leaf.set_defaults(command=set_quota)
    leaf = verbs.add_parser("unset", help="lift a project's limit")
    leaf.add_argument("project", metavar="PROJECT")
    leaf.set_defaults(command=set_quota, size=None)
    backup = add("backup", back_up, "save the workspace; it may go on working meanwhile")
    backup.add_argument("target", metavar="FILE_OR_FOLDER", help="a folder (only what is new is "
                        "copied, each time) or a file that ends with .tar")  # fmt: skip
    restore = add("restore", restore_from, "make a workspace from a backup, every file verified")
    restore.add_argument("source", metavar="FROM", help="what workbench backup has written")
    restore.add_argument("target", metavar="TO_WORKSPACE", help="a folder, empty or not there yet")


def add_artifact_verbs(parser: argparse.ArgumentParser) -> None:
    """Add what can be done with one artifact."""
    verbs = parser.add_subparsers(metavar="VERB")

    def add(verb: str, command: Callable[[argparse.Namespace], int], help: str) -> Any:
        leaf = verbs.add_parser(verb, help=help, description=help)
        leaf.set_defaults(command=command)
        return leaf

    leaf = add("delete", delete, "delete a version that nothing depends on")
    leaf.add_argument("reference", metavar="REF", help="name@version or name@alias")
    leaf.add_argument("--with-descendants", action="store_true",
                      help="also delete all that was made from it")  # fmt: skip
    leaf.add_argument("--dry-run", action="store_true", help="only say what would go")
    leaf.add_argument("--reason", default="", help="why; kept with its tombstone")
    for verb, help in (("pin", "keep a version whatever else is cleared away"),
                       ("unpin", "take a pin away")):  # fmt: skip
        add(verb, pin, help).add_argument("reference", metavar="REF")
        verbs.choices[verb].set_defaults(verb=verb)
    leaf = add("alias", alias, "give a version another name: alias REF NAME")
    leaf.add_argument("reference", metavar="REF")
    leaf.add_argument("alias", metavar="NAME")
    leaf = add("unalias", unalias, "take an alias away")
    leaf.add_argument("reference", metavar="NAME@ALIAS")
    leaf = add("record", show_record, "show one record of a data set, and where it came from")
    leaf.add_argument("reference", metavar="REF")
    leaf.add_argument("record_id", metavar="ID")
    leaf.add_argument("--original", action="store_true",
                      help="fetch it from its source again, and write that")  # fmt: skip
    leaf.add_argument("--allow-host", action="append", default=[], metavar="HOST",
                      help="a private host that pages may be fetched from")  # fmt: skip
    leaf = add("deleted", list_deleted, "say what was deleted, by whom and why")
    leaf.add_argument("name", nargs="?", help="only of this name")


def show_record(options: argparse.Namespace) -> int:
    """Print a record as JSON, or write its original."""
    from workbench.data.records import find_record
    from workbench.data.sources.fetch import fetch_again

    record = find_record(Workspace().artifact(options.reference), options.record_id)
    if options.original:
        sys.stdout.buffer.write(fetch_again(record, allowed_hosts=options.allow_host))
        return 0
    for column in ("provenance", "extra"):
        if record.get(column):
            record[column] = json.loads(record[column])
    print(json.dumps(record, indent=1, ensure_ascii=False, default=str))
    return 0


def delete(options: argparse.Namespace) -> int:
    """Delete a version, or say what would go."""
    done = Workspace().delete(
        options.reference,
        kind=options.kind,
        with_descendants=options.with_descendants,
        dry_run=options.dry_run,
        reason=options.reason,
    )
    lines = [[g["kind"], g["reference"], format_bytes(g["num_bytes"])] for g in done["goes"]]
    print_table(["kind", "would go" if options.dry_run else "deleted", "size"], lines)
    print(f"{len(lines)} in all, {format_bytes(done['num_bytes'])}")
    in_the_way = [
        *(f"needed: {text}" for text in done.get("blockers", [])),
        *(f"made from it: {text}" for text in done.get("descendants", [])),
    ]
    if in_the_way:
        print("It would be refused as long as there is:", *in_the_way, sep="\n  ")
    if done.get("descendants"):
        print("--with-descendants deletes what was made from it too.")
    return 1 if in_the_way else 0


def pin(options: argparse.Namespace) -> int:
    """Pin or unpin a version."""
    workspace = Workspace()
    change = workspace.pin if options.verb == "pin" else workspace.unpin
    print(f"{change(options.reference, kind=options.kind)} is {options.verb}ned")
    return 0


def alias(options: argparse.Namespace) -> int:
    """Point an alias at a version."""
    found = Workspace().alias(options.reference, options.alias, kind=options.kind)
    print(f"{found.name}@{options.alias} is {found.reference}")
    return 0


def unalias(options: argparse.Namespace) -> int:
    """Take an alias away."""
    found = Workspace().unalias(options.reference, kind=options.kind)
    print(f"{options.reference} was {found.reference}")
    return 0


def list_deleted(options: argparse.Namespace) -> int:
    """Print the tombstones."""
    lines = [
        [
            g["kind"],
            g["reference"],
            format_bytes(g["num_bytes"]),
            f"{datetime.fromtimestamp(g['deleted_at']):%Y-%m-%d %H:%M}",
            g["deleted_by"],
            g["reason"],
        ]
        for g in Workspace().deleted(options.name)
    ]
    if lines:
        print_table(["kind", "artifact", "size", "deleted", "by", "why"], lines)
    else:
        print(f"No version{f' of {options.name}' if options.name else ''} was ever deleted")
    return 0


def clear_away(options: argparse.Namespace) -> int:
    """Clear away, and print what went and how much."""
    gone = Workspace().gc(keep_days=options.keep_days, dry_run=options.dry_run)
    if not gone:
        print(f"There is nothing that nobody needs and that is older than {options.keep_days:g} "
              "days. The newest version of each name, aliased, deployed and pinned ones, and what "
              "they were made from always stay.")  # fmt: skip
        return 0
    lines = [[g["what"], g["name"], format_bytes(g["num_bytes"]), g["why"]] for g in gone]
    print_table(["what", "would go" if options.dry_run else "gone", "size", "why"], lines)
    print(f"{len(gone)} in all, {format_bytes(sum(g['num_bytes'] for g in gone))}")
    return 0


def list_quotas(_options: argparse.Namespace) -> int:
    """Print what each project takes and may take."""
    _print_quotas(Workspace().quotas())
    return 0


def set_quota(options: argparse.Namespace) -> int:
    """Set or lift a limit."""
    _print_quotas([Workspace().set_quota(options.project, options.size)])
    return 0


def _print_quotas(quotas: list[dict[str, Any]]) -> None:
    lines = [
        [
            q["project"],
            str(q["num_artifacts"]),
            format_bytes(q["num_bytes"]),
            "none" if q["limit"] is None else format_bytes(q["limit"]),
            f"{q['num_bytes'] / q['limit']:.0%}" if q["limit"] else "",
        ]
        for q in quotas
    ]
    print_table(["project", "artifacts", "used", "limit", ""], lines)


def back_up(options: argparse.Namespace) -> int:
    """Save the workspace."""
    done = Workspace().backup(options.target, _tell)
    size = format_bytes(done["num_bytes_copied"])
    print(f"{done['target']}: {_num(done['num_artifacts'], 'artifact')}; {done['num_copied']} of "
          f"them new ({size}), verified as they were copied")  # fmt: skip
    return 0


def restore_from(options: argparse.Namespace) -> int:
    """Make a workspace of a backup."""
    from workbench.daemon.restore import restore_backup

    done = restore_backup(home_expanded(options.source), home_expanded(options.target),
                          _tell)  # fmt: skip
    print(f"{done['target']}: {_num(done['num_artifacts'], 'artifact')}, each verified. To go on "
          f"there ({_num(done['num_unfinished_runs'], 'unfinished run')}): "
          f"workbench --workspace {shlex.quote(done['target'])} up")  # fmt: skip
    return 0


def _num(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _tell(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} artifacts", end="\n" if done == total else "", file=sys.stderr)
