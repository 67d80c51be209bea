"""The studio as plain values: the rail of stages, recent runs, and what a target means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from widgets.run_model import look_of
from widgets.wording import clock_time, count, duration
from workbench.pipeline.user_stage import shown_stage

# In the order in which the work is done; what is not here is the team's own.
_RAIL = {
    "Data": ("integrate", "clean", "split", "sample", "transform", "label", "undo"),
    "Model": (
        "import_model",
        "train",
        "pretrain",
        "tune",
        "distil",
        "prune",
        "quantise",
        "combine",
        "ensemble",
    ),
    "Live": ("evaluate", "deploy", "score", "monitor"),
    "Notebooks": ("notebook", "pipeline"),
}
_OTHERS = "Yours"


@dataclass(frozen=True)
class RailStage:
    """One stage of the rail; ``problem`` says why it cannot be loaded, if so."""

    name: str
    title: str = ""
    help: str = ""
    problem: str = ""


def present_rail(
    stages: Iterable[RailStage], runs: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the stages by group, each with how its newest run stands."""
    newest: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        newest.setdefault(shown_stage(run), run)
    known = {stage.name: _rail_entry(stage, newest.get(stage.name)) for stage in stages}
    groups = {
        title: [known.pop(name) for name in names if name in known]
        for title, names in _RAIL.items()
    }
    groups[_OTHERS] = list(known.values())
    return [{"title": title, "stages": entries} for title, entries in groups.items() if entries]


def _rail_entry(stage: RailStage, run: Mapping[str, Any] | None) -> dict[str, str]:
    glyph, word = ("warn", "") if stage.problem else ("", "")
    if run is not None:
        glyph, word = look_of(run)[0], run["state"] if not run["cached"] else "cached"
    return {
        "name": stage.name,
        "title": stage.title or stage.name.replace("_", " ").capitalize(),
        "help": stage.help,
        "problem": stage.problem,
        "glyph": glyph,
        "word": word,
    }


def present_runs(records: Iterable[Mapping[str, Any]], now: float) -> list[dict[str, str]]:
    """Return the table of recent runs, newest first."""
    return [_present_record(record, now) for record in records]


def _present_record(record: Mapping[str, Any], now: float) -> dict[str, str]:
    glyph, _, _ = look_of(record)
    rows = record.get("rows")
    return {
        "run_id": record["run_id"],
        "stage": shown_stage(record),
        "glyph": glyph,
        "word": "cached"
        if record["cached"] and record["state"] == "succeeded"
        else record["state"],
        "when": _when(record, now),
        "rows": f"{count(rows['read'])} → {count(rows['written'])}" if rows else "",
    }


def _when(record: Mapping[str, Any], now: float) -> str:
    started, ended = record.get("started_at"), record.get("ended_at")
    if ended is not None:
        taken = f", took {duration(ended - started)}" if started is not None else ""
        return f"{clock_time(ended)}{taken}"
    if started is not None:
        return f"since {duration(now - started)}"
    return f"submitted {clock_time(record['submitted_at'])}"


_SOURCE_KINDS = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".html": "html", ".htm": "html", ".txt": "lines",
    ".db": "sql", ".sqlite": "sql", ".sqlite3": "sql",
}  # fmt: skip
_COMPRESSED = {".gz", ".bz2", ".xz", ".zst"}


def source_kind(path: str) -> str:
    """Return the kind of source for a path or glob, told by its suffix; lines if none fits."""
    suffixes = PurePosixPath(path).suffixes
    while suffixes and suffixes[-1].lower() in _COMPRESSED:
        suffixes.pop()
    return _SOURCE_KINDS.get(suffixes[-1].lower(), "lines") if suffixes else "lines"


def looks_like_path(target: str) -> bool:
    """Whether a target names files: a slash, a wildcard, or a suffix that a source reads."""
    if any(sign in target for sign in "/*?\\") or target.startswith((".", "~")):
        return True
    suffixes = [suffix.lower() for suffix in PurePosixPath(target).suffixes]
    return any(suffix in _SOURCE_KINDS for suffix in suffixes)
