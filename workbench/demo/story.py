"""What came of a pipeline run, gathered from its artifacts: the figures, and nothing new."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.data.records import partitions
from workbench.runs import Run
from workbench.serve.caller import Caller
from workbench.workspace import Workspace

_LIVE_REQUESTS = 50
_KINDS = {"baseline": "TF-IDF + logistic regression", "prompt": "label sentences"}
_ORDER = ("baseline", "prompt", "teacher", "student")
_METRIC_WORDS = {"macro_recall": "macro-recall", "accuracy": "accuracy", "macro_f1": "macro-F1"}


@dataclass(frozen=True)
class Story:
    """The main job's result, ready to be told in a table, a page or JSON."""

    seconds: float
    steps: list[dict[str, Any]]
    dropped: dict[str, int]  # rule -> rows
    subsets: dict[str, int]  # subset -> rows
    evaluation: dict[str, Any]  # report.json of the evaluation
    timing: dict[str, Any]  # its timing.json
    served: dict[str, Any]
    monitor: dict[str, Any]  # the verdict of the monitor
    examples: list[dict[str, Any]]  # rows before and after cleaning

    @property
    def metric_words(self) -> str:
        """The deciding figure's name for people."""
        return _METRIC_WORDS[self.evaluation["metric"]]

    @property
    def systems(self) -> list[dict[str, Any]]:
        """Each system's figures, as in the evaluation's report."""
        rank = {name: place for place, name in enumerate(_ORDER)}
        return sorted(self.evaluation["systems"], key=lambda s: rank.get(s["name"], len(rank)))

    def milliseconds(self, system: str) -> float | None:
        """Return the median time of a system for one text on one thread."""
        return self._timed(system, "milliseconds_per_text")

    def speedup(self, system: str) -> float | None:
        """Return how many times faster than the teacher's best float32 runtime a system is."""
        found = self.timing.get("speedup_vs_best_fp32", {}).get(system)
        return None if found is None else float(found)

    def step_rows(self) -> list[list[str]]:
        """Return the table of steps: name, rows, what happened to them, seconds."""
        return [
            [
                step["name"],
                _rows_words(step["rows"]),
                self._remark(step["name"]),
                "cached" if step["cached"] else f"{step['seconds']:.1f}",
            ]
            for step in self.steps
        ]

    def system_rows(self) -> list[list[str]]:
        """Return the table of systems: figure, interval, size, time."""
        return [
            [
                f"{system['name']}: {_KINDS.get(system['name'], system['kind'])}",
                f"{system['value']:.3f}",
                f"{system['low']:.3f} to {system['high']:.3f}",
                _or_dash(system["megabytes"], ".1f"),
                _or_dash(self.milliseconds(system["name"]), ".2f"),
            ]
            for system in self.systems
        ]

    def closing_lines(self) -> list[tuple[str, str]]:
        """Return what stands below the tables: the student's gain, where it is served, drift."""
        served, why = self.served, " ".join(self.monitor["why"])
        answered = f"{served['requests']} requests, {served['errors']} errors"
        drift = "drift found" if self.monitor["drift"] else "no drift found."
        lines = [
            ("Served", f"{served['url']} answers as {served['model']}: {answered}"),
            ("Monitor", f"{drift}{': ' + why if why else ''} Action: {self.monitor['action']}."),
        ]
        speedup = self.speedup("student")
        if speedup is not None:
            gain = f"{speedup:.1f} times as fast as the teacher's best float32 runtime"
            lines.insert(0, ("Student", gain))
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable summary that ``workbench demo --json`` prints."""
        systems = {system["name"]: system for system in self.systems}
        return {
            "seconds": round(self.seconds, 2),
            "stages": [
                {
                    "name": step["name"],
                    "seconds": step["seconds"],
                    "cached": step["cached"],
                    "rows_in": (step["rows"] or {}).get("read"),
                    "rows_out": (step["rows"] or {}).get("written"),
                }
                for step in self.steps
            ],
            "quality": {
                name: {
                    "metric": self.evaluation["metric"],
                    **{key: system[key] for key in ("value", "low", "high")},
                }
                for name, system in systems.items()
            },
            "student": {
                "megabytes": systems["student"]["megabytes"],
                "milliseconds_per_text": self.milliseconds("student"),
                "speedup_vs_best_fp32": self.speedup("student"),
            },
            "served": {key: self.served[key] for key in ("requests", "errors", "url", "model")},
            "monitor": {key: self.monitor[key] for key in ("drift", "why", "action")},
        }

    def _timed(self, system: str, key: str) -> float | None:
        found = self.timing.get("systems", {}).get(system, {}).get(key)
        return None if found is None else float(found)

    def _remark(self, step: str) -> str:
        if step == "clean":
            return _counted(self.dropped)
        return _counted(self.subsets) if step == "split" else ""


def tell(workspace: Workspace, run: Run, seconds: float) -> Story:
    """Gather the story of a finished run of the sentiment pipeline."""
    record = run.outputs()["record"]
    steps = json.loads((record.path / "pipeline.json").read_text())["steps"]
    made = {step["name"]: step["outputs"] for step in steps}

    def open_(step: str, output: str, kind: str) -> Artifact:
        return workspace.artifact(made[step][output], kind)

    evaluation = open_("evaluate", "report", "report")
    monitor = open_("monitor", "report", "report")
    clean = open_("clean", "dataset", "dataset")
    timing = evaluation.path / "timing.json"
    live = _texts(open_("score", "dataset", "dataset"))
    return Story(
        seconds=seconds,
        steps=steps,
        dropped=clean.summary["dropped"],
        subsets={
            name: workspace.artifact(reference, "dataset").summary["rows"]
            for name, reference in made["split"].items()
            if name != "report"
        },
        evaluation=json.loads((evaluation.path / "report.json").read_text()),
        timing=json.loads(timing.read_text()) if timing.exists() else {},
        served=_ask_live(workspace, made["quantise"]["model"], live[:_LIVE_REQUESTS]),
        monitor=json.loads((monitor.path / "report.json").read_text())["verdict"],
        examples=clean.summary.get("examples", []),
    )


def _ask_live(workspace: Workspace, model: str, texts: Sequence[str]) -> dict[str, Any]:
    """Send texts to the deployment that serves this model and count the answers."""
    deployment = next(d for d in workspace.deployments() if d["model"] == model)
    with Caller(deployment["url"]) as caller:
        statuses = [caller.predict(text).status for text in texts]
    return {
        "name": deployment["name"],
        "url": deployment["url"],
        "model": deployment["model"],
        "requests": len(statuses),
        "errors": sum(status != 200 for status in statuses),
    }


def _texts(dataset: Artifact) -> list[str]:
    first = pq.read_table(partitions(dataset)[0], columns=["text"])
    texts: list[str] = first["text"].to_pylist()
    return texts


def _rows_words(rows: dict[str, int] | None) -> str:
    return f"{rows['read']:,} → {rows['written']:,}" if rows else ""


def _counted(counts: dict[str, int], most: int = 5) -> str:
    """Write the largest counts out; how many more there are is said, not shown."""
    largest = sorted((item for item in counts.items() if item[1]), key=lambda item: -item[1])
    shown = [f"{name.replace('_', ' ')} {n:,}" for name, n in largest[:most]]
    more = len(largest) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
